"""The command line and the public names; it composes `cv_folds`, `ensemble` and `reports`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hamcv.packages import refuse_strangers

if TYPE_CHECKING:
    from pathlib import Path

    from ensemble import EnsemblePredictor

__version__ = "0.1.0"
__all__ = ["EnsemblePredictor", "__version__", "load_predictor"]

refuse_strangers()


def load_predictor(
    path: str | Path, device: str = "auto", *, views: int = 1, spins: int | None = None, seed: int = 0
) -> EnsemblePredictor:
    """Load the ensemble of a run folder or bundle; see `ensemble.EnsemblePredictor.load`."""
    from ensemble import EnsemblePredictor

    return EnsemblePredictor.load(path, device=device, views=views, spins=spins, seed=seed)


def __getattr__(name: str) -> Any:
    # torch takes seconds to import; `hamcv --version` shall not wait for it.
    if name == "EnsemblePredictor":
        from ensemble import EnsemblePredictor

        return EnsemblePredictor
    raise AttributeError(f"module 'hamcv' has no attribute {name!r}")
