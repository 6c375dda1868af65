"""The engines by name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from cv_folds.errors import UsageError
from cv_folds.scheduling.dask_engine import open_dask
from cv_folds.scheduling.engine import Engine, EngineOptions
from cv_folds.scheduling.local import open_local
from cv_folds.scheduling.ray_engine import open_ray

ENGINES: dict[str, Callable[[EngineOptions], AbstractContextManager[Engine]]] = {
    "local": open_local,
    "dask": open_dask,
    "ray": open_ray,
}

_EXAMPLES = {"dask": "tcp://HOST:8786", "ray": "HOST:6379"}


def check_backend(name: str, address: str | None, device: str) -> None:
    """Refuse an engine that does not exist, and options that do not go with it.

    Parameters
    ----------
    name : str
        ``local``, ``dask`` or ``ray``.
    address : str or None
        Of the cluster.
    device : str
        What the user asks for: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    UsageError
        Naming the mend.
    """
    if name not in ENGINES:
        raise UsageError(f"--backend {name}: must be one of {', '.join(ENGINES)}")
    if name == "local":
        if address is not None:
            raise UsageError(f"--address {address}: goes with --backend dask or ray; name one, or leave it out")
        return
    if address is None:
        raise UsageError(
            f"--backend {name}: name the cluster with --address, for example --address {_EXAMPLES[name]}; "
            "hamcv joins clusters and starts none"
        )
    if device.startswith("cuda:"):
        raise UsageError(f"--device {device}: on a cluster the scheduler chooses the GPU; use --device cuda")


def open_engine(name: str, options: EngineOptions) -> AbstractContextManager[Engine]:
    """Open an engine; when the block ends, its workers are ended or its cluster is left.

    Raises
    ------
    UsageError
        Naming the mend, when the engine's package or its cluster cannot be had.
    """
    return ENGINES[name](options)
