"""What can be set about training; every value is checked when the settings are made."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Monitor = Literal["refinement", "weighted_loss", "macro_f1", "balanced_accuracy", "last"]
"""By what the epoch is chosen."""

# The blur's kernel reaches three deviations far and must fit into the smallest image.
_ALLOWED_RANGES = {
    "blur_sigma": (0.01, 5.0),
    "sharpness_factor": (0.0, 10.0),
    "erasing_area": (0.001, 0.9),
    "erasing_ratio": (0.1, 10.0),
}


class AugmentationSettings(BaseModel):
    """Random changes of each training image, drawn anew every time it is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    horizontal_flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a left-right flip."""
    vertical_flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of an upside-down flip."""
    rotation: float = Field(default=180.0, ge=0, le=180)
    """Largest rotation in degrees, either way; dermatoscopic images have no upright."""
    zoom: float = Field(default=0.2, ge=0, lt=1)
    """The scale is drawn log-uniformly between 1 / (1 + zoom) and 1 + zoom."""
    shift: float = Field(default=0.05, ge=0, lt=1)
    """Largest translation as a share of the image side, either way along each axis."""
    brightness: float = Field(default=0.2, ge=0, lt=1)
    """The brightness factor is drawn uniformly between 1 - brightness and 1 + brightness."""
    contrast: float = Field(default=0.2, ge=0, lt=1)
    """The same for contrast, around the image's mean grey."""
    saturation: float = Field(default=0.2, ge=0, lt=1)
    """The same for saturation, around each pixel's grey."""
    hue: float = Field(default=0.0, ge=0, le=0.5)
    """Largest turn of the hue, either way, as a share of the colour circle (0: none)."""
    blur: float = Field(default=0.0, ge=0, le=1)
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Least and largest standard deviation of the blur in pixels of the scaled image, at most 5; drawn uniformly."""
    sharpness: float = Field(default=0.0, ge=0, le=1)
    """Probability of a change of sharpness."""
    sharpness_factor: tuple[float, float] = (1.0, 2.0)
    """Least and largest factor on the difference to the smoothed image: below 1 blurs, above 1 sharpens, at most 10;
    drawn uniformly."""
    erasing: float = Field(default=0.0, ge=0, le=1)
    """Probability that a rectangle is erased (Zhong et al., "Random erasing data augmentation", AAAI 2020)."""
    erasing_area: tuple[float, float] = (0.02, 0.4)
    """Least and largest area of the rectangle as a share of the image; drawn uniformly."""
    erasing_ratio: tuple[float, float] = (0.3, 3.3)
    """Least and largest height by width of the rectangle; drawn log-uniformly."""

    @field_validator("blur_sigma", "sharpness_factor", "erasing_area", "erasing_ratio")
    @classmethod
    def _is_a_range(cls, bounds: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        low, high = bounds
        least, most = _ALLOWED_RANGES[str(info.field_name)]
        if not least <= low <= high <= most:
            raise ValueError(f"give two numbers from {least:g} to {most:g}, the smaller first")
        return bounds


class PhaseSettings(BaseModel):
    """One part of a training. Phases follow each other; each starts from the last weights of the one before it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: int = Field(ge=1)
    """Most epochs of the phase; `patience` may end it sooner."""
    learning_rate: float = Field(gt=0, le=1)
    """Peak learning rate, whatever the weights started from; the schedule runs over the phase."""
    trained: Literal["all", "head"] | float = "all"
    """``all`` layers, the ``head`` that gives the logits, or the last share of the layers, above 0 and below 1. Layers
    are the modules that hold parameters of their own, in the order in which the network defines them; the share is
    rounded to whole layers, and the head is always trained."""
    batch_norm: Literal["train", "frozen"] = "train"
    """``train``: all batch normalisations use the statistics of the batch and update the running ones, in layers that
    are not trained too. ``frozen``: they use the running statistics, which stay, and their scale and shift stay."""

    @field_validator("trained", mode="before")
    @classmethod
    def _all_head_or_share(cls, trained: Any) -> Any:
        share = isinstance(trained, float) and 0 < trained < 1
        if trained not in ("all", "head") and not share:
            raise ValueError("must be all, head, or a share of the layers above 0 and below 1, such as 0.75")
        return trained


class TrainingSettings(BaseModel):
    """How each (backbone, fold) model is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    image_size: int = Field(default=224, ge=16, le=2048)
    """Side in pixels of the square that every image is scaled to."""
    epochs: int = Field(default=30, ge=1)
    """Most epochs of a training without `phases`; early stopping may end sooner."""
    phases: tuple[PhaseSettings, ...] = ()
    """Parts of the training; none is one phase of `epochs` in which all layers are trained. Each begins with a fresh
    state of the optimiser; a moving average goes on."""
    monitor: Monitor = "refinement"
    """What the best epoch is best in, on the validation images: the least loss at the best temperature and the class
    shares of training (`refinement`), the least loss with all classes weighted alike (`weighted_loss`), the largest
    `macro_f1` or `balanced_accuracy`, or nothing: the `last` epoch is kept."""
    patience: int = Field(default=8, ge=1)
    """Epochs of a phase without a better one after which it ends; without effect where the last epoch is kept."""
    batch_size: int = Field(default=64, ge=2)
    """Images a step."""
    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    """Peak learning rate when the weights are pretrained, without `phases`."""
    learning_rate_from_scratch: float = Field(default=3e-3, gt=0, le=1)
    """Peak learning rate with `weights = "none"`, without `phases`."""
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    """AdamW, Adam, or stochastic gradient descent with `momentum`."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of `sgd`."""
    nesterov: bool = False
    """Nesterov's momentum in `sgd`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled from the gradient in `adamw`, added to it in `adam` and `sgd`, as in torch; not applied to biases and
    normalisation layers."""
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    """Course of the learning rate over all steps of a phase: rise and fall, fall only, or neither."""
    warmup: float = Field(default=0.2, gt=0, lt=1)
    """Share of the steps in which `one_cycle` rises."""
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    """What training makes small."""
    focal_gamma: float = Field(default=2.0, ge=0, le=10)
    """How much `focal` plays down what the network is sure of; 0 is cross-entropy."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` multiplies the loss of an image by n / (classes x class size), counted over the training rows of the
    fold; the weights of these rows average 1."""
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    """Share of each training target that is spread over all classes."""
    gradient_clip: float = Field(default=1.0, ge=0)
    """Largest norm of the gradient of a step; 0: no limit."""
    resampling: Literal["weighted", "over", "under", "none"] = "weighted"
    """How the training split is balanced: drawn with weights 1 / class size (with replacement), imbalanced-learn's
    random over-sampling or under-sampling, or not at all."""
    resampling_exponent: float = Field(default=1.0, gt=0, le=1)
    """Power of the class size in the weights of `weighted`: 1 shows all classes alike, near 0 as often as they are."""
    mixup: float = Field(default=0.0, ge=0, le=10)
    """Shape of the beta distribution from which mixup draws the share of a second image (0: no mixup)."""
    cutmix: float = Field(default=0.0, ge=0, le=10)
    """The same for the area that cutmix pastes from a second image; with both, each batch takes one by chance."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay a step of a moving average of the weights, which is kept where it validates better (0: no average)."""
    normalisation: Literal["imagenet", "data"] = "imagenet"
    """Channel means and deviations that pixels are normalised by: those that the ImageNet weights were trained with, or
    those of the images that the weights are fitted on, measured anew in every job."""
    validation_parts: int = Field(default=8, ge=2, le=100)
    """One part in this many of the training folds, by lesion, serves early stopping."""
    validation_spins: int = Field(default=0, ge=0, le=64)
    """How often each validation image is shown under random flips and turns by up to 180 degrees to choose the epoch;
    its probabilities are averaged (0: once, as it is)."""
    held_out_spins: int = Field(default=0, ge=0, le=64)
    """The same for the predictions that are scored and combined; the predictor averages over as many turns, unless told
    otherwise."""
    batch_norm_momentum: float = Field(default=0.1, gt=0, le=1)
    """Momentum of the running statistics; some backbones ship with one too slow for a short training."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the forward and backward pass; `auto` takes bfloat16 where it was measured to be faster. On a GPU
    `float32` leaves torch's usual rounding of convolutions (TensorFloat-32) to the training steps; predictions are not
    rounded."""
    compile: bool = False
    """Compile the training step; takes a minute or more a backbone, then steps are faster."""
    augmentation: AugmentationSettings = AugmentationSettings()
    """Random changes of the training images."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and (self.optimiser != "sgd" or self.momentum == 0):
            raise ValueError("training.nesterov goes with training.optimiser = sgd and a momentum above 0 only")
        return self

    def phases_of(self, *, from_scratch: bool) -> tuple[PhaseSettings, ...]:
        """Return the phases, at least one; `from_scratch` chooses the learning rate where none are set."""
        peak = self.learning_rate_from_scratch if from_scratch else self.learning_rate
        return self.phases or (PhaseSettings(epochs=self.epochs, learning_rate=peak),)

    @property
    def most_epochs(self) -> int:
        """Epochs of all phases, when none ends early."""
        return sum(phase.epochs for phase in self.phases) or self.epochs

    @property
    def balancing_power(self) -> float:
        """An image of a class of n images counts with a weight of ``n ** -power``: 0 as it is, 1 evens all out."""
        return self._resampling_power + (self.class_weights == "balanced")

    @property
    def _resampling_power(self) -> float:
        match self.resampling:
            case "weighted":
                return self.resampling_exponent
            case "over" | "under":
                return 1.0
            case "none":
                return 0.0
