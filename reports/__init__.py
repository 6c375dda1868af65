"""Metrics, intervals, figures and reports."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.across_runs import compare as compare
    from reports.elsewhere import evaluate as evaluate
    from reports.results import Estimate as Estimate
    from reports.results import Evaluation as Evaluation
    from reports.run_comparison import RunComparison as RunComparison

_HOMES = {
    "Estimate": "results",
    "Evaluation": "results",
    "RunComparison": "run_comparison",
    "compare": "across_runs",
    "evaluate": "elsewhere",
}


def __getattr__(name: str) -> Any:
    """Import public names on first use: scikit-learn, matplotlib and typst take seconds that a table does not need."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"reports.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
