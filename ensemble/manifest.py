"""What ``manifest.json`` of a bundle holds, schema 3."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field, model_validator

from cv_folds.training.pixels import Normalisation
from ensemble.manifest_parts import (
    STRICT,
    Member,
    Preprocessing,
    StoredCalibrator,
    StoredCombiner,
    StoredDecisions,
    StoredHalf,
    StoredOnnx,
    StoredOutliers,
    StoredPrior,
    StoredScore,
    StoredSets,
    TrainingData,
)

SCHEMA = 3
"""The schema that this version reads and writes."""

_Checksum: TypeAlias = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

_PLAIN_NAME = re.compile(r"\w[\w.-]*")
"""A file in the folder itself."""


class Manifest(BaseModel):
    """Everything about a bundle except the weights."""

    model_config = STRICT

    # `schema` itself is taken by a method of pydantic's models.
    schema_version: Literal[3] = Field(alias="schema")
    """Version of this form."""
    hamcv_version: str
    """The version that wrote the bundle."""
    classes: tuple[str, ...] = Field(min_length=1)
    """Class names in column order."""
    preprocessing: Preprocessing
    """From an image to what the members take."""
    members: tuple[Member, ...] = Field(min_length=1)
    """All trained models."""
    prior: StoredPrior
    """From the members' logits to those for the natural class shares."""
    combiner: StoredCombiner
    """From these to probabilities."""
    calibrator: StoredCalibrator
    """From probabilities to calibrated ones."""
    decisions: StoredDecisions
    """From probabilities to a class."""
    prediction_set: StoredSets
    """From probabilities to sets of classes."""
    outliers: StoredOutliers | None = None
    """From distance and spread to a warning; null in a bundle without limits for them."""
    training_data: TrainingData
    """What the members were trained on."""
    scores: tuple[StoredScore, ...]
    """Of what is deployed, on images that neither members nor combiner had seen."""
    caution: str | None = None
    """What a reader of the scores must know first."""
    half: StoredHalf | None = None
    """Null when the weights are stored as they were trained."""
    onnx: StoredOnnx | None = None
    """Null without such a file."""
    files: dict[str, _Checksum]
    """Name to SHA-256 of every file of the bundle but the manifest itself."""

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return len(self.members) // len(self.combiner.backbones)

    def member(self, backbone: str, fold: int) -> Member:
        """Return the member of a backbone and a fold."""
        return next(member for member in self.members if (member.backbone, member.fold) == (backbone, fold))

    def normalisation(self, member: Member) -> Normalisation:
        """Return how the pixels are normalised for a member."""
        own = self.preprocessing if member.normalisation is None else member.normalisation
        return Normalisation(mean=own.mean, std=own.std)

    def _by_class(self) -> Iterator[tuple[str, Sequence[object]]]:
        yield "prior.shown", self.prior.shown
        yield "prior.natural", self.prior.natural
        yield "prediction_set.thresholds", self.prediction_set.thresholds
        yield "decisions.natural", self.decisions.natural
        for row in (self.decisions.costs, *(self.decisions.costs or ())):
            if row is not None:
                yield "decisions.costs", row

    @model_validator(mode="after")
    def _files_of_the_folder(self) -> Manifest:
        weights = [file for member in self.members for file in member.files()]
        if len(set(weights)) < len(weights):
            raise ValueError("a file is named twice")
        named = [*weights, *([] if self.onnx is None else [self.onnx.file])]
        for name in {*named, *self.files}:
            if not _PLAIN_NAME.fullmatch(name):
                raise ValueError(f"{name!r} leads out of the folder; do not use this bundle")
        for name in weights:
            if not name.endswith(".safetensors"):
                raise ValueError(f"{name!r} is no safetensors file; do not use this bundle")
        if lacking := [name for name in named if name not in self.files]:
            raise ValueError(f"no checksum of {', '.join(lacking)} among files")
        return self

    @model_validator(mode="after")
    def _complete(self) -> Manifest:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class is named twice")
        for name, values in self._by_class():
            if len(values) != len(self.classes):
                raise ValueError(f"{name} holds {len(values)} values for {len(self.classes)} classes")
        with_gauges = sum(member.gauges is not None for member in self.members)
        with_limit = self.outliers is not None and self.outliers.distance is not None
        if with_gauges != (len(self.members) if with_limit else 0):
            raise ValueError("all members or none need gauges, and with them goes a limit for distances")
        present = [(member.backbone, member.fold) for member in self.members]
        wanted = {(backbone, fold) for backbone in self.combiner.backbones for fold in range(self.n_folds)}
        if set(present) != wanted or len(present) != len(wanted):
            raise ValueError(
                "every backbone of the combiner needs one member for every fold, and no other may be there"
            )
        return self
