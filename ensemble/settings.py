"""Settings of the ensembles."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

CombinerName: TypeAlias = Literal[
    "soft_vote", "log_vote", "weighted_vote", "greedy", "stack", "stack_meta", "stack_trees"
]
"""The keys of `ensemble.combiners.COMBINERS`."""


CalibratorName: TypeAlias = Literal["none", "temperature", "vector", "isotonic"]
"""The keys of `ensemble.calibration.registry.CALIBRATORS`."""


SetMethod: TypeAlias = Literal["lac", "class_conditional"]
"""One threshold for the prediction sets of all classes, or one for each."""


class EnsembleSettings(BaseModel):
    """How the members' outputs are combined."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    combiners: tuple[CombinerName, ...] = Field(default=get_args(CombinerName), min_length=1)
    """The ensembles that are scored, in the order of the reports."""
    deployed: CombinerName = "stack"
    """The one of `combiners` that the predictor uses."""
    penalties: tuple[float, ...] = Field(default=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2), min_length=1)
    """Candidates for scikit-learn's `C` of `stack` and `stack_meta`; smaller is a stronger penalty."""
    rare_level: int = Field(default=20, ge=1)
    """Sexes and body sites with fewer lesions than this are one level of `stack_meta`."""
    tree_rounds: int = Field(default=60, ge=1)
    """Most boosting rounds of `stack_trees`."""
    selection_rounds: int = Field(default=30, ge=1)
    """Most rounds of `greedy`."""
    inner_folds: int = Field(default=5, ge=2)
    """Most folds of the inner cross-validation that chooses penalties and numbers of rounds."""
    calibration: CalibratorName = "temperature"
    """How the probabilities of every model are calibrated."""
    calibration_penalties: tuple[float, ...] = Field(default=(1.0, 10.0, 100.0, 1000.0), min_length=1)
    """Candidates for the strength that draws `vector` calibration towards the identity; larger is stronger."""
    costs: str | None = None
    """A TOML file with the cost of every mistake, for the decision rule `costs`; ``none`` for no such rule."""
    coverage: float = Field(default=0.9, gt=0, lt=1)
    """Share of prediction sets that shall contain the true class."""
    prediction_sets: SetMethod = "lac"
    """Whether the sets cover lesions of all classes together (`lac`) or each class (`class_conditional`)."""
    outlier_share: float = Field(default=0.01, gt=0, lt=1)
    """Share of the training data's lesions that a warning would be given for, by distance and by spread each."""

    @field_validator("combiners")
    @classmethod
    def _named_once(cls, combiners: tuple[CombinerName, ...]) -> tuple[CombinerName, ...]:
        if len(set(combiners)) < len(combiners):
            raise ValueError("every combiner may be named once only")
        return combiners

    @field_validator("penalties", "calibration_penalties")
    @classmethod
    def _positive(cls, penalties: tuple[float, ...]) -> tuple[float, ...]:
        if not all(math.isfinite(penalty) and penalty > 0 for penalty in penalties):
            raise ValueError("penalties must be positive, finite numbers")
        return penalties

    @field_validator("costs")
    @classmethod
    def _absolute_file(cls, file: str | None) -> str | None:
        return None if file in (None, "none") else str(Path(file).expanduser().absolute())

    @model_validator(mode="after")
    def _deployed_is_scored(self) -> EnsembleSettings:
        if self.deployed not in self.combiners:
            raise ValueError(
                f'ensemble.deployed = "{self.deployed}" is none of ensemble.combiners ({", ".join(self.combiners)}); '
                f'name one of them, such as ensemble.deployed = "{self.combiners[0]}"'
            )
        return self

    def without_clinical(self) -> EnsembleSettings:
        """Return the settings for data without any age, sex or body site: `stack_meta` would be `stack` again.

        It stays where it is the deployed one.
        """
        kept = tuple(name for name in self.combiners if name != "stack_meta" or name == self.deployed)
        return self.model_copy(update={"combiners": kept})
