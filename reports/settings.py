"""Settings of the evaluation and the reports."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ReportSettings(BaseModel):
    """How a run is evaluated and reported."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    resamples: int = Field(default=2000, ge=100, le=1_000_000)
    """Number of lesion resamples behind every interval."""
    formats: tuple[Literal["html", "pdf"], ...] = ("html", "pdf")
    """Which report files are written."""
    gallery: int = Field(default=12, ge=0, le=100)
    """Images of either kind in the gallery of errors and disagreements; 0 for none, since not every image may be
    published. May be changed in a run folder that exists."""
    malignant: tuple[str, ...] = ("mel", "bcc", "akiec", "ak", "scc")
    """Classes that count as malignant; names that the data do not have are passed over. The default fits HAM10000,
    where akiec stands for actinic keratoses and Bowen's disease, and of ISIC 2019, which has ak and scc."""
    subgroup_models: tuple[str, ...] = ()
    """Models whose scores by subgroup are given; the deployed ensemble when none is named."""
