"""What the texts about a run are written from: its files, its scores and its settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from reports.results import Evaluation
from reports.run_folder import RunFolder
from reports.run_settings import RunSettings, run_settings

_HAM10000 = re.compile(r"ham[-_ ]?10\.?000", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Study:
    """One run, as somebody who writes a paper about it needs it."""

    folder: RunFolder
    """What was run on what."""
    evaluation: Evaluation
    """What came out."""
    settings: RunSettings
    """How it was done."""

    @classmethod
    def of(cls, folder: RunFolder, evaluation: Evaluation) -> Study:
        """Return the study of a run."""
        return cls(folder=folder, evaluation=evaluation, settings=run_settings(folder.settings))

    @property
    def demo(self) -> bool:
        """Whether the images were drawn by the program."""
        return self.evaluation.demo or self.folder.record.data.demo

    @property
    def ham10000(self) -> bool:
        """Whether the data call themselves HAM10000."""
        return not self.demo and _HAM10000.search(self.folder.record.data.name) is not None

    @property
    def holdout(self) -> bool:
        """Whether there was one fixed division."""
        return self.folder.folds.holdout

    @property
    def leaks(self) -> bool:
        """Whether images of one lesion stand in several folds."""
        return self.folder.audit.allowed_leakage is not None

    @property
    def backbones(self) -> tuple[str, ...]:
        """Names of the backbones."""
        return tuple(name for name, scores in self.evaluation.models.items() if scores.kind == "backbone")

    @property
    def ensembles(self) -> tuple[str, ...]:
        """Names of the ensembles."""
        return tuple(name for name, scores in self.evaluation.models.items() if scores.kind == "ensemble")

    @property
    def n_groups(self) -> int:
        """Lesions, those that were merged counted once."""
        return len(np.unique(self.folder.folds.groups))
