"""Every setting of a run in one checked, frozen object."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cv_folds.data.readers import AUTO, FORMATS
from cv_folds.data.settings import ColumnSettings
from cv_folds.holdout import HoldoutKind
from cv_folds.near_duplicates.settings import AuditSettings
from cv_folds.strata import StratumColumn
from cv_folds.training.backbone_names import DEFAULT_BACKBONES, check_backbone_name
from cv_folds.training.settings import TrainingSettings
from ensemble.settings import EnsembleSettings
from reports.settings import ReportSettings

DEMO = "demo"
"""Value of `RunConfig.data` for the built-in demo set."""


class RunConfig(BaseModel):
    """What determines the results of a run; ``config.toml`` holds it resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recipe: str = "default"
    """Name of the recipe that the settings started from."""
    data: str = DEMO
    """Folder of the data, or ``demo``."""
    format: str = AUTO
    """Layout of the folder; ``auto`` looks at it."""
    columns: ColumnSettings = ColumnSettings()
    """Which columns a plain table, or a table of groups, has."""
    limit_lesions: int | None = Field(default=None, ge=1)
    """Work on a random subset of about this many lesions."""
    unit: Literal["image", "lesion"] = "image"
    """``image``: all images; ``lesion``: one of every lesion, the first by image id."""
    folds: int = Field(default=5, ge=2, le=100)
    """Number of cross-validation folds."""
    protocol: Literal["cv", "holdout", "leakage"] = "cv"
    """``cv``: lesion-grouped cross-validation; ``holdout``: one fixed division, by lesion too; ``leakage``:
    cross-validation on folds of lesions and again on folds of images, to see how much the split makes of a score."""
    split: tuple[int, int, int] = (60, 20, 20)
    """Per cent of the images in the training, validation and test part of a hold-out."""
    holdout: HoldoutKind = "lesion"
    """What validation and test part of a hold-out are made of: any lesions (``lesion``), only those with a single image
    (``single_image``), or images whatever lesion they show (``image``), which leaks and needs `allow_leakage`."""
    repeats: int = Field(default=1, ge=1, le=100)
    """Cross-validations on as many divisions; the first gives the scores, all of them the spread."""
    nested: bool = False
    """Train without each pair of folds too, for an estimate of the ensembles in which nothing has seen the scored fold;
    may be changed in a run folder that exists."""
    folds_file: str | None = None
    """A table of image ids and folds to use instead of making folds, such as ``hamcv folds`` writes."""
    allow_leakage: bool = False
    """Use `folds_file`, or a hold-out of images, even if images of one lesion stand in several folds or parts; every
    report then says so."""
    stratify: tuple[StratumColumn, ...] = ()
    """What is spread evenly over the folds beside the diagnosis: any of ``dx_type``, ``sex`` and ``localization``."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of folds, training and intervals."""
    backbones: tuple[str, ...] = Field(default=DEFAULT_BACKBONES, min_length=1)
    """Names of classification models of torchvision, or ``timm:NAME`` with the extra ``hamcv[timm]``."""
    weights: str = "imagenet"
    """``imagenet``, ``none``, or a folder of weight files."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda|cuda:\d+)$")
    """Where to compute."""
    audit: AuditSettings = AuditSettings()
    """What is kept together beside the images of one lesion id."""
    training: TrainingSettings = TrainingSettings()
    """How each model is trained."""
    ensemble: EnsembleSettings = EnsembleSettings()
    """How their outputs are combined."""
    report: ReportSettings = ReportSettings()
    """How the results are scored and shown."""

    @field_validator("backbones")
    @classmethod
    def _known_and_named_once(cls, backbones: tuple[str, ...]) -> tuple[str, ...]:
        for name in backbones:
            check_backbone_name(name)
        if len(set(backbones)) < len(backbones):
            raise ValueError("every backbone may be named once only")
        return backbones

    @field_validator("data")
    @classmethod
    def _absolute_data(cls, data: str) -> str:
        if not data.strip():
            raise ValueError("name a folder, or demo")
        return data if data == DEMO else str(Path(data).expanduser().absolute())

    @field_validator("format")
    @classmethod
    def _known_format(cls, layout: str) -> str:
        if layout not in FORMATS:
            raise ValueError(f"must be one of {', '.join(FORMATS)}")
        return layout

    @field_validator("split")
    @classmethod
    def _whole(cls, split: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(split) < 1 or sum(split) != 100:
            raise ValueError("give per cent of training, validation and test that add up to 100, such as 60:20:20")
        return split

    @model_validator(mode="after")
    def _belongs_to_the_protocol(self) -> RunConfig:
        if self.protocol != "cv" and self.repeats > 1:
            raise ValueError(f"repeats = {self.repeats} goes with protocol cv only, not with {self.protocol}")
        if self.protocol != "holdout" and self.split != (60, 20, 20):
            raise ValueError(f"split goes with protocol holdout only, not with {self.protocol}")
        if self.protocol != "holdout" and self.holdout != "lesion":
            raise ValueError(f"holdout = {self.holdout} goes with protocol holdout only, not with {self.protocol}")
        if self.holdout != "lesion" and self.folds_file is not None:
            raise ValueError("folds_file (--folds-file) gives the parts of the hold-out; leave holdout out")
        if self.holdout == "image" and not self.allow_leakage:
            raise ValueError(
                "holdout = image puts images of one lesion into several parts; allow_leakage = true (--allow-leakage) "
                "uses them all the same, and every report then says so; holdout = lesion keeps them together"
            )
        if self.folds_file is not None and self.repeats > 1:
            raise ValueError("folds_file (--folds-file) holds one division; repeats needs several, leave one out")
        if self.protocol == "leakage" and self.allow_leakage:
            raise ValueError("protocol leakage compares with folds that do not leak; leave allow_leakage out")
        return self

    @model_validator(mode="after")
    def _known_subgroup_models(self) -> RunConfig:
        models = (*self.backbones, *self.ensemble.combiners)
        if unknown := [name for name in self.report.subgroup_models if name not in models]:
            raise ValueError(f"report.subgroup_models: {', '.join(unknown)}: this run has {', '.join(models)}")
        return self

    @model_validator(mode="after")
    def _can_be_nested(self) -> RunConfig:
        if not self.nested:
            return self
        if self.protocol != "cv":
            raise ValueError(f"nested goes with protocol cv only, not with {self.protocol}")
        if self.repeats > 1:
            raise ValueError(f"nested goes with one cross-validation only, not with repeats = {self.repeats}")
        if self.allow_leakage:
            raise ValueError("nested needs folds that do not leak; leave allow_leakage out")
        if self.folds < 3:
            raise ValueError(f"nested needs at least 3 folds, since two are held out together; folds = {self.folds}")
        return self

    @field_validator("folds_file")
    @classmethod
    def _absolute_file(cls, file: str | None) -> str | None:
        return None if file is None else str(Path(file).expanduser().absolute())

    @field_validator("stratify", mode="before")
    @classmethod
    def _site_is_the_localization(cls, columns: Any) -> Any:
        if not isinstance(columns, list | tuple):
            return columns
        return tuple(dict.fromkeys("localization" if column == "site" else column for column in columns))

    @model_validator(mode="after")
    def _folds_file_decides(self) -> RunConfig:
        if self.folds_file is None:
            if self.allow_leakage and self.holdout != "image":
                raise ValueError(
                    "allow_leakage is about folds_file (--folds-file) and holdout = image; apart from these, the folds "
                    "made here never leak; leave it out, or add --set allow_leakage=false where a recipe sets it"
                )
            return self
        if self.stratify:
            raise ValueError("stratify has no say when folds_file (--folds-file) gives the folds; leave one out")
        if self.limit_lesions is not None:
            raise ValueError("folds_file (--folds-file) holds all images; limit_lesions would leave some out")
        return self

    @field_validator("weights")
    @classmethod
    def _absolute_folder(cls, weights: str) -> str:
        return weights if weights in ("imagenet", "none") else str(Path(weights).expanduser().absolute())

    def to_toml(self) -> str:
        """Return the content of ``config.toml``; settings that are not set are left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
