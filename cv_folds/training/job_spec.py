"""What one training of a backbone is made of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cv_folds.images import DECODER
from cv_folds.splits import Folds
from cv_folds.training.record import job_folder, job_name
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.weights import WeightsFile

MADE_OF = {
    "data": ("data", ("fingerprint",)),
    "folds": ("folds or groups of images", ("folds", "groups", "holdout")),
    "weights": ("starting weights", ("weights",)),
    "settings": ("training settings", ("settings", "seed")),
    "decoder": ("decoding of the images (of another version of hamcv)", ("decoder",)),
}
"""What a job's result is made of: name to words for a person, and the parts of `JobSpec.digest`."""


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """All that a job needs; plain data, so that it can be sent to another process or machine."""

    run: Path
    """The run folder."""
    backbone: str
    """Name of the backbone."""
    fold: int
    """The fold that is held out, counted from 0."""
    folds: Folds
    """The outer folds."""
    pixels: Path
    """The decoded images, rows in the order of `folds`."""
    fingerprint: str
    """Of the dataset."""
    settings: TrainingSettings
    """How to train."""
    weights: WeightsFile | None
    """Where to start from; None for random weights."""
    seed: int
    """Seed of the whole run."""
    device: str
    """``cpu``, ``cuda`` or ``cuda:N``."""
    threads: int
    """CPU threads of this job."""
    second: int | None = None
    """Another fold that is held out too, with a larger number; None for none."""
    arm: str = ""
    """The folder below the run folder that holds the jobs of this division of the images; empty for the main one."""
    tensorboard: bool = False
    """Write TensorBoard event files into the job folder."""
    checkpoint_seconds: float = 600.0
    """Longest time within an epoch without a checkpoint; see `cv_folds.training.loop.Means`."""

    @property
    def folder(self) -> Path:
        """Where the job writes."""
        return job_folder(self.run / self.arm, self.backbone, self.fold, self.second)

    @property
    def name(self) -> str:
        """For messages."""
        return job_name(self.arm, self.backbone, self.fold, self.second)

    def digest(self) -> str:
        """Return a SHA-256 over everything that determines the result, but for the device."""
        return _sha256(self._parts())

    def made_of(self) -> dict[str, str]:
        """Return a SHA-256 of each of `MADE_OF`, to tell what differs from an earlier job of the same name."""
        parts = self._parts()
        return {name: _sha256({key: parts.get(key) for key in keys}) for name, (_, keys) in MADE_OF.items()}

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "backbone": self.backbone,
            "fold": self.fold,
            "folds": hashlib.sha256(self.folds.folds.tobytes()).hexdigest(),
            # The inner split depends on them too.
            "groups": hashlib.sha256("\n".join(self.folds.groups.tolist()).encode()).hexdigest(),
            "fingerprint": self.fingerprint,
            "decoder": DECODER,
            "settings": self.settings.model_dump(mode="json"),
            "weights": None if self.weights is None else self.weights.sha256,
            "seed": self.seed,
        }
        if self.folds.holdout:
            parts["holdout"] = True
        if self.second is not None:
            parts["second"] = self.second
        return parts


def _sha256(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
