"""What a comparison of runs gives: the types, and their JSON form (``compare.json``, schema 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reports.compared_run import ComparedRun
from reports.families import Family
from reports.levels import UnitScores
from reports.results import Comparison, Estimate, ModelScores
from reports.run_pairing import Mismatch
from reports.unpaired import Shared


@dataclass(frozen=True, kw_only=True)
class RightLesions:
    """How many lesions two runs have right, after the mean over the images of a lesion; what McNemar's test counts."""

    model: str
    """Label of a run."""
    against: str
    """Label of the other."""
    both: int
    """Lesions that both have right."""
    only_model: int
    """That only `model` has right."""
    only_against: int
    """That only `against` has right."""
    neither: int
    """That both have wrong."""

    def to_json(self) -> dict[str, str | int]:
        """Return the form used in ``compare.json``."""
        return {
            "model": self.model,
            "against": self.against,
            "both": self.both,
            "only_model": self.only_model,
            "only_against": self.only_against,
            "neither": self.neither,
        }


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Several runs and how they differ, computed once; pages, pictures and tables read from here."""

    classes: tuple[str, ...]
    """Class names in column order."""
    paired: bool
    """Whether the runs were compared image by image."""
    same_folds: bool
    """Whether the folds are the same, so that there are tests over folds."""
    demo: bool
    """True when images of a run are the generated demo set."""
    resamples: int
    """Lesion resamples behind every interval."""
    seed: int
    """Of the resamples."""
    runs: tuple[ComparedRun, ...]
    """As they were named; differences are of a later run minus an earlier one."""
    mismatches: tuple[Mismatch, ...]
    """In what data and folds differ from those of the first run; empty when they are the same."""
    shared: tuple[Shared, ...]
    """What two runs have in common, a pair each; empty when they were paired."""
    models: Mapping[str, ModelScores]
    """Label of a run to its scores."""
    levels: Mapping[str, UnitScores]
    """Label of a run to its further scores per image."""
    comparisons: tuple[Comparison, ...]
    """Differences of a later run and an earlier one, from resamples of lesions."""
    tests: tuple[Family, ...]
    """Further tests of differences."""
    right: tuple[RightLesions, ...]
    """Lesions right by pairs of runs; empty without pairs or without lesions."""
    settings: Mapping[str, tuple[Any, ...]]
    """Dotted name of every setting that is not the same in all runs to its values; None where it is not set."""

    @property
    def date(self) -> datetime:
        """When the last of the runs ended: the same runs give the same report."""
        return max(run.record.finished or run.record.started for run in self.runs)

    @property
    def over_folds(self) -> bool:
        """Whether the runs have folds, to be compared over where they are the same: a hold-out has none."""
        return any(family.unit == "fold" and not family.without_folds for family in self.tests)

    @property
    def malignant_auc(self) -> dict[str, Estimate]:
        """Label of a run to its area under the ROC curve of malignant against benign, per image."""
        return {label: scores.malignant["auc"] for label, scores in self.levels.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``compare.json``."""
        return {
            "schema": 1,
            "paired": self.paired,
            "same_folds": self.same_folds,
            "demo": self.demo,
            "classes": list(self.classes),
            "resamples": self.resamples,
            "seed": self.seed,
            "runs": [run.to_json() for run in self.runs],
            "different": [mismatch.to_json() for mismatch in self.mismatches],
            "shared": [found.to_json() for found in self.shared],
            "settings": {name: list(values) for name, values in self.settings.items()},
            "models": {
                label: scores.to_json()
                | {"malignant": {name: found.to_json() for name, found in self.levels[label].malignant.items()}}
                for label, scores in self.models.items()
            },
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
            "tests": [family.to_json() for family in self.tests],
            "lesions_right": [found.to_json() for found in self.right],
        }
