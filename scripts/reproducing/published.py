"""What five public projects describe and report, and how each of them is measured again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reported:
    """One score that a project reports."""

    metric: str
    """Name in `reports.confusion_metrics.ConfusionMetrics`."""
    words: str
    """What is reported, as it is; empty where the project names the metric but no value of it."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One project, or one version of it."""

    recipe: str
    """Name of the hamcv recipe that does what it describes."""
    reported: tuple[Reported, ...]
    """Its scores, each for every backbone of the recipe."""
    own_split: str
    """How it divides the images, in words; what it does not say is marked as assumed."""
    own: Mapping[str, Any]
    """The same as settings of a run."""
    eight_classes: bool = False
    """Whether it learns from class folders, with the classes of ISIC 2019 where the data have them."""


def _image_level(training: int, validation: int, test: int) -> dict[str, Any]:
    return {
        "protocol": "holdout",
        "split": [training, validation, test],
        "holdout": "image",
        "allow_leakage": True,
    }


_ACCURACY = "accuracy"

PUBLISHED = (
    Published(
        recipe="weighted-sampler",
        reported=(Reported(metric=_ACCURACY, words="0.75"), Reported(metric="macro_f1", words="0.66")),
        own_split="60:20:20, by image (that is assumed)",
        own=_image_level(60, 20, 20),
    ),
    Published(
        recipe="oversampled-pair",
        reported=(Reported(metric=_ACCURACY, words="about 0.90"), Reported(metric="weighted_f1", words="")),
        own_split="80:10:10, validation and test of lesions with a single image",
        own={"protocol": "holdout", "split": [80, 10, 10], "holdout": "single_image", "allow_leakage": False},
    ),
    Published(
        recipe="long-early-stop",
        reported=(Reported(metric="macro_f1", words="0.97"),),
        own_split="one image a lesion, near-duplicates not merged, 80:10:10 (the shares are assumed)",
        own={
            "protocol": "holdout",
            "split": [80, 10, 10],
            "holdout": "lesion",
            "allow_leakage": False,
            "audit.near_duplicates": False,
        },
    ),
    Published(
        recipe="three-phase",
        reported=(
            Reported(metric="macro_f1", words="0.70 (which mean of F1 is not said)"),
            Reported(metric="weighted_f1", words="0.70 (likewise)"),
        ),
        own_split="by image 80:10:10 (assumed)",
        own=_image_level(80, 10, 10),
    ),
    *(
        Published(
            recipe=recipe,
            reported=(Reported(metric=_ACCURACY, words=accuracy),),
            own_split="by image 80:10:10 (assumed)",
            own=_image_level(80, 10, 10),
            eight_classes=True,
        )
        for recipe, accuracy in (
            ("eight-class-sgd", "0.57"),
            ("eight-class-sgd-augmented", "0.69"),
            ("eight-class-sgd-oversampled", "0.59"),
            ("eight-class-sgd-selected", "0.715"),
        )
    ),
)

WITHOUT_LEAKAGE: Mapping[str, Any] = {
    "protocol": "leakage",
    "split": [60, 20, 20],
    "holdout": "lesion",
    "allow_leakage": False,
    "audit.near_duplicates": True,
}
"""Folds of lesions with merged near-duplicates, and beside them folds of images, whatever the recipe says."""
