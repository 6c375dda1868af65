"""What can be set about training; every value is checked when the settings are made."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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


class TrainingSettings(BaseModel):
    """How each (backbone, fold) model is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    image_size: int = Field(default=224, ge=16, le=2048)
    """Side in pixels of the square that every image is scaled to."""
    epochs: int = Field(default=30, ge=1)
    """Most epochs; early stopping may end sooner."""
    patience: int = Field(default=8, ge=1)
    """Epochs without a better validation loss after which training stops."""
    batch_size: int = Field(default=64, ge=2)
    """Images a step."""
    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    """Peak learning rate of AdamW when the weights are pretrained."""
    learning_rate_from_scratch: float = Field(default=3e-3, gt=0, le=1)
    """Peak learning rate of AdamW with `weights = "none"`."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay; not applied to biases and normalisation layers."""
    schedule: Literal["one_cycle", "cosine"] = "one_cycle"
    """Course of the learning rate over all steps: rise and fall, or fall only."""
    warmup: float = Field(default=0.2, gt=0, lt=1)
    """Share of the steps in which `one_cycle` rises."""
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    """Share of each training target that is spread over all classes."""
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient of a step."""
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
    validation_parts: int = Field(default=8, ge=2, le=100)
    """One part in this many of the training folds, by lesion, serves early stopping."""
    batch_norm_momentum: float = Field(default=0.1, gt=0, le=1)
    """Momentum of the running statistics; some backbones ship with one too slow for a short training."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the forward and backward pass; `auto` takes bfloat16 where it was measured to be faster."""
    compile: bool = False
    """Compile the training step; takes a minute or more a backbone, then steps are faster."""
    augmentation: AugmentationSettings = AugmentationSettings()
    """Random changes of the training images."""

    @property
    def resampling_power(self) -> float:
        """An image of a class of n images is drawn with a weight of ``n ** -power``: 0 not at all, 1 evens all out."""
        match self.resampling:
            case "weighted":
                return self.resampling_exponent
            case "over" | "under":
                return 1.0
            case "none":
                return 0.0
