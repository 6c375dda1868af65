"""The settings of a run as the types that own them, for what is written in words about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from cv_folds.training.settings import AugmentationSettings, TrainingSettings
from ensemble.settings import EnsembleSettings
from reports.settings import ReportSettings

Settings = TypeVar("Settings", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What ``config.toml`` says, as far as a text needs it."""

    protocol: str
    """``cv``, ``holdout`` or ``leakage``."""
    split: tuple[int, ...]
    """Per cent of the parts of a hold-out."""
    seed: int
    """Of everything random."""
    stratify: tuple[str, ...]
    """What is spread evenly over the folds beside the diagnosis."""
    folds_from_file: bool
    """Whether the folds were made elsewhere."""
    near_duplicates: bool
    """Whether near-duplicates under different lesion ids were looked for."""
    limit_lesions: int | None
    """About how many lesions were drawn from the data; None for all."""
    unit: str
    """``image`` for all images, ``lesion`` for one of each lesion."""
    holdout: str
    """What validation and test part are made of: ``lesion``, ``single_image`` or ``image``."""
    training: TrainingSettings
    """How each network was trained."""
    ensemble: EnsembleSettings
    """How they were combined."""
    report: ReportSettings
    """How they were scored."""


def run_settings(settings: Mapping[str, Any]) -> RunSettings:
    """Return settings from their dotted names and values; what an earlier version did not record has its default."""
    augmentation = _part(settings, "training.augmentation.", AugmentationSettings)
    training = _part(settings, "training.", TrainingSettings).model_copy(update={"augmentation": augmentation})
    return RunSettings(
        protocol=settings.get("protocol", "cv"),
        split=tuple(settings.get("split", (60, 20, 20))),
        seed=settings.get("seed", 0),
        stratify=tuple(settings.get("stratify", ())),
        folds_from_file="folds_file" in settings,
        near_duplicates=settings.get("audit.near_duplicates", True),
        limit_lesions=settings.get("limit_lesions"),
        unit=settings.get("unit", "image"),
        holdout=settings.get("holdout", "lesion"),
        training=training,
        ensemble=_part(settings, "ensemble.", EnsembleSettings),
        report=_part(settings, "report.", ReportSettings),
    )


def _part(settings: Mapping[str, Any], prefix: str, form: type[Settings]) -> Settings:
    # A later version may have more settings; its runs can be read all the same.
    return form.model_validate(
        {name: settings[prefix + name] for name in form.model_fields if prefix + name in settings}
    )
