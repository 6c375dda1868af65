"""What the ensemble says about one image."""

from __future__ import annotations

from dataclasses import dataclass

from cv_folds.arrays import FloatArray


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the ensemble says about one image."""

    label: str
    """The most probable class."""
    probabilities: FloatArray
    """(n_classes,) summing to 1."""
    classes: tuple[str, ...]
    """Class names in the order of `probabilities`."""
    mutual_information: float
    """Disagreement of the members in nats: 0 when all say the same, at most ``log(n_classes)``."""
    vote_entropy: float
    """How divided the members' votes for the most probable class are, in nats: 0 when all vote for the same."""
    distance: float | None
    """How far the image is from the training images, in the members' features or in colours and texture, whichever is
    farther: in standard deviations of the logarithms of the distances of images like those of the training, whose mean
    is 0. None when the bundle does not tell."""
    prediction_set: tuple[str, ...]
    """The classes that cannot be ruled out, in column order; calibrated on cross-fitted predictions."""
    warning: str | None
    """What few lesions of the training data have: a larger distance, or more disagreement; None when there is nothing
    to warn of. An image without a warning may still be of something that no member has seen."""

    @property
    def spread(self) -> float:
        """The disagreement of the members: `mutual_information`."""
        return self.mutual_information
