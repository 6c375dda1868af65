"""What a run folder keeps about how its probabilities were made (``ensemble.json``), for scoring them again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cv_folds.arrays import FloatArray, IntArray, frozen
from cv_folds.errors import DataError
from cv_folds.files import write_json
from ensemble.conformal import PredictionSets
from ensemble.crossfit import CrossFitted
from ensemble.decisions import DecisionRules, RuleName
from ensemble.manifest_parts import StoredSets
from ensemble.predictions import Predictions
from ensemble.settings import EnsembleSettings

ENSEMBLE_FILE = "ensemble.json"

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class FoldPrior(BaseModel):
    """The class shares that the rows of one fold were adjusted with."""

    model_config = _STRICT

    shown: tuple[float, ...]
    """In training."""
    natural: tuple[float, ...]
    """Among the rows that the models of this fold were fitted on."""


class EnsembleRecord(BaseModel):
    """``ensemble.json``, schema 2."""

    model_config = _STRICT

    # `schema` itself is taken by a method of pydantic's models.
    schema_version: Literal[2] = Field(default=2, alias="schema")
    """Version of this form."""
    classes: tuple[str, ...] = Field(min_length=1)
    """Class names in column order."""
    settings: EnsembleSettings
    """By which everything was combined. The file is removed before the first of the predictions is replaced and written
    after the last of them, so that it is always of those beside it."""
    priors: dict[int, FoldPrior]
    """Fold to its class shares."""
    costs: tuple[tuple[float, ...], ...] | None
    """Cost of each decision (column) for each true class (row); null without such a matrix."""
    prediction_sets: StoredSets | None
    """The predictor's, where the scored images had no part in it, as those of a test part; else null."""
    seconds: dict[str, float]
    """Model name to the processor time, of one core, of the fits behind its scores."""

    @classmethod
    def of(
        cls,
        classes: tuple[str, ...],
        settings: EnsembleSettings,
        scored: CrossFitted,
        costs: FloatArray | None,
        sets: PredictionSets | None,
    ) -> EnsembleRecord:
        """Return the record of a run; `sets` as for `prediction_sets`."""
        return cls(
            classes=classes,
            settings=settings,
            priors={
                fold: FoldPrior(shown=tuple(prior.shown.tolist()), natural=tuple(prior.natural.tolist()))
                for fold, prior in scored.priors.items()
            },
            costs=None if costs is None else tuple(tuple(row) for row in costs.tolist()),
            prediction_sets=None if sets is None else StoredSets.of(sets),
            seconds={name: round(seconds, 3) for name, seconds in scored.seconds.items()},
        )

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        write_json(path, self.model_dump(mode="json", by_alias=True))

    @classmethod
    def read(cls, path: Path) -> EnsembleRecord:
        """Read what `write` wrote; a missing or damaged file raises `DataError`."""
        mend = "`hamcv ensemble` on its folder writes it again"
        if not path.is_file():
            raise DataError(f"{path} is missing; {mend}")
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise DataError(
                f"{path} is damaged or of another version of hamcv: {where}: {first['msg']}; {mend}"
            ) from error

    def decide(self, predictions: Predictions) -> dict[str, dict[RuleName, IntArray]]:
        """Decide on a class for every row by every rule.

        Parameters
        ----------
        predictions : Predictions
            Of this run.

        Returns
        -------
        dict
            Model name to rule to (n,) column numbers. What a rule knows of class shares comes from the labels that the
            models of the fold were fitted on.

        Raises
        ------
        DataError
            When the record is not of these classes and folds.
        """
        folds = set(predictions.folds.tolist())
        if self.classes != predictions.classes or not folds <= self.priors.keys():
            raise DataError(f"{ENSEMBLE_FILE} is of other classes or folds than the predictions; combine them again")
        costs = None if self.costs is None else frozen(self.costs)
        decided: dict[str, dict[RuleName, IntArray]] = {}
        for model, probabilities in predictions.probabilities.items():
            decided[model] = {}
            for fold in folds:
                inside = predictions.folds == fold
                rules = DecisionRules(natural=frozen(self.priors[fold].natural), costs=costs)
                for rule in rules.names:
                    rows = decided[model].setdefault(rule, predictions.labels * 0)
                    rows[inside] = rules.decide(probabilities[inside], rule)
        return decided
