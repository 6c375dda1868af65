"""What the entries of ``manifest.json`` hold."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ensemble.conformal import PredictionSets
from ensemble.settings import CalibratorName, CombinerName, SetMethod

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)
"""Of every part of a manifest: another entry, type or number is damage."""

_Channels: TypeAlias = tuple[float, float, float]
_Positive: TypeAlias = Annotated[float, Field(gt=0)]


class Preprocessing(BaseModel):
    """From an image to what the members take."""

    model_config = STRICT

    decoder: str
    """`cv_folds.images.DECODER` of the version that trained the members."""
    image_size: int = Field(ge=1)
    """Side of the square in pixels."""
    mean: _Channels
    """Channel means for pixels scaled to 0..1, in RGB order, for members that have none of their own."""
    std: tuple[_Positive, _Positive, _Positive]
    """Channel standard deviations, likewise."""
    held_out_spins: int = Field(default=0, ge=0, le=64)
    """Random flips and turns over which the outputs were averaged that scores, combiner, calibrator and sets come from;
    0 for images as they are."""


class StoredNormalisation(BaseModel):
    """How one member's pixels are normalised."""

    model_config = STRICT

    mean: _Channels
    """Channel means for pixels scaled to 0..1, in RGB order."""
    std: tuple[_Positive, _Positive, _Positive]
    """Channel standard deviations for pixels scaled to 0..1, in RGB order."""


class StoredGauge(BaseModel):
    """How far an image lies from those that a member was trained on, in one kind of features."""

    model_config = STRICT

    file: str
    """Name of a file inside the bundle: the distribution of the features over training images."""
    mean: float
    """Of the logarithms of the distances of images that the member had not seen."""
    deviation: float = Field(gt=0)
    """Their standard deviation."""


class StoredGauges(BaseModel):
    """How far an image lies from those that a member was trained on."""

    model_config = STRICT

    features: StoredGauge
    """In what the member's logits are made of."""
    appearance: StoredGauge
    """In colours and texture."""


class Member(BaseModel):
    """One trained model."""

    model_config = STRICT

    backbone: str = Field(pattern=r"^(timm:)?\w+(\.\w+)?$")
    """Name in the backbone registry."""
    fold: int = Field(ge=0)
    """The fold that it was trained without."""
    file: str
    """Name of the weights file inside the bundle."""
    gauges: StoredGauges | None = None
    """From an image to its distance from the training images; null when the run did not store them."""
    normalisation: StoredNormalisation | None = None
    """Of its own training images; null for that of the preprocessing."""

    def files(self) -> tuple[str, ...]:
        """Return the names of its files."""
        gauges = () if self.gauges is None else (self.gauges.features, self.gauges.appearance)
        return tuple(stored.file for stored in (self, *gauges))


class StoredCombiner(BaseModel):
    """The fitted combiner."""

    model_config = STRICT

    name: CombinerName
    """Key of `ensemble.combiners.COMBINERS`."""
    backbones: tuple[str, ...] = Field(min_length=1)
    """The order in which it takes the members' logits."""
    parameters: dict[str, Any]
    """What `Combiner.parameters` returned."""


class StoredPrior(BaseModel):
    """The class shares that logits are adjusted from and to."""

    model_config = STRICT

    shown: tuple[float, ...]
    """Shares that training showed, in column order."""
    natural: tuple[float, ...]
    """Shares that are restored."""

    @model_validator(mode="after")
    def _shares(self) -> StoredPrior:
        if not (_are_shares(self.shown) and _are_shares(self.natural)):
            raise ValueError("shares must be above 0 and sum to 1")
        return self


class StoredCalibrator(BaseModel):
    """The fitted calibrator."""

    model_config = STRICT

    name: CalibratorName
    """Key of `ensemble.calibration.registry.CALIBRATORS`."""
    parameters: dict[str, Any]
    """What `Calibrator.parameters` returned."""


class StoredDecisions(BaseModel):
    """What the decision rules need."""

    model_config = STRICT

    natural: tuple[float, ...]
    """Share of each class where decisions are made, in column order."""
    costs: tuple[tuple[float, ...], ...] | None
    """Cost of each decision (column) for each true class (row); null without such a matrix."""

    @model_validator(mode="after")
    def _usable(self) -> StoredDecisions:
        if not _are_shares(self.natural):
            raise ValueError("shares must be above 0 and sum to 1")
        if self.costs is not None and not all(cost >= 0 for row in self.costs for cost in row):
            raise ValueError("costs must not be negative")
        return self


def _are_shares(values: tuple[float, ...]) -> bool:
    return all(value > 0 for value in values) and abs(sum(values) - 1) < 1e-6


class StoredSets(BaseModel):
    """The rule for prediction sets."""

    model_config = STRICT

    method: SetMethod
    """See `ensemble.conformal`."""
    coverage: float = Field(gt=0, lt=1)
    """Share of images, each lesion counting once, whose set shall hold the true class."""
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    """Largest ``1 - probability`` of each class in the set, in column order."""

    @classmethod
    def of(cls, sets: PredictionSets) -> StoredSets:
        """Return what is stored of a rule."""
        return cls(method=sets.method, coverage=sets.coverage, thresholds=sets.thresholds)

    def rule(self) -> PredictionSets:
        """Return the rule."""
        return PredictionSets(method=self.method, coverage=self.coverage, thresholds=self.thresholds)


class StoredLimit(BaseModel):
    """What few lesions of the training data exceed."""

    model_config = STRICT

    value: float
    """The largest value that calls for no warning."""
    beyond: float = Field(gt=0, lt=1)
    """Expected share of such lesions beyond it."""


class StoredOutliers(BaseModel):
    """When an image is called unlike those of the training."""

    model_config = STRICT

    distance: StoredLimit | None
    """Of the distance of an image; null when no distances are known."""
    spread: StoredLimit | None
    """Of the members' spread within folds, in nats; null with one backbone."""


class TrainingData(BaseModel):
    """What the members were trained on."""

    model_config = STRICT

    name: str
    """Name of the data set."""
    fingerprint: str
    """Fingerprint of its ids, lesions, diagnoses and file sizes."""
    n_images: int = Field(ge=1)
    """Number of images."""
    n_lesions: int = Field(ge=1)
    """Number of lesions."""
    demo: bool
    """True for the generated demo set, whose scores say nothing about patients."""


class StoredScore(BaseModel):
    """A score of what is deployed."""

    model_config = STRICT

    name: str
    """As in ``metrics.json``."""
    title: str
    """What it is called."""
    value: float
    """Point estimate."""
    low: float | None
    """Lower end of its 95 % interval; null when undefined."""
    high: float | None
    """Upper end of its 95 % interval; null when undefined."""


class StoredHalf(BaseModel):
    """That the weights are stored with half their digits, and what it changes."""

    model_config = STRICT

    largest_difference: float = Field(ge=0)
    """Between a probability with these weights and with the full ones."""
    pictures: int = Field(ge=1)
    """Made-up pictures that it was measured on."""


class StoredOnnx(BaseModel):
    """The whole ensemble as one ONNX file."""

    model_config = STRICT

    file: str
    """Its name inside the bundle."""
    largest_difference: float = Field(ge=0)
    """Between a probability of the file, by onnxruntime, and of the predictor, on random images."""
