"""Finding out, before any job is sent, whether the workers of a cluster can run it.

This module does without torch, so that a worker answers at once.
"""

from __future__ import annotations

import importlib.metadata
import os
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cv_folds.errors import UsageError, list_rows

if TYPE_CHECKING:
    from cv_folds.training.job_spec import JobSpec


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What a worker found."""

    host: str
    """Name of its machine."""
    version: str
    """Of the hamcv that it has."""
    missing: tuple[str, ...]
    """The files that it does not see, or folders that it may not write to."""


def needed_files(specs: Sequence[JobSpec]) -> tuple[Path, ...]:
    """Return the files that jobs read, without repetition; one that is not even here is the job's own failure."""
    pixels = [spec.pixels for spec in specs]
    weights = [spec.weights.path for spec in specs if spec.weights is not None]
    return tuple(path for path in dict.fromkeys(pixels + weights) if path.is_file())


@contextmanager
def mark(folder: Path) -> Iterator[Path]:
    """Leave a file of a random name in a folder: who sees it sees this folder, and not one of the same path."""
    path = folder / f".probe-{secrets.token_hex(8)}"
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def look(marker: Path, files: Sequence[Path]) -> Sighting:
    """Look for files and report; runs on the workers."""
    missing = [str(path) for path in files if not path.is_file()]
    if not marker.is_file():
        missing.append(str(marker.parent))
    elif not os.access(marker.parent, os.W_OK):
        missing.append(f"{marker.parent} (may not write there)")
    return Sighting(host=socket.gethostname(), version=importlib.metadata.version("hamcv"), missing=tuple(missing))


def complaints(sightings: Mapping[str, Sighting | BaseException]) -> list[str]:
    """Return what is wrong, one line a worker.

    Parameters
    ----------
    sightings : mapping
        Name of a worker to what it answered; an exception when it could not.
    """
    version = importlib.metadata.version("hamcv")
    rows = []
    for worker, sighting in sightings.items():
        if not isinstance(sighting, Sighting):
            # Dask hands an error of the import on as text.
            lines = str(sighting).strip().splitlines() or [type(sighting).__name__]
            if "ModuleNotFoundError" in f"{type(sighting)} {sighting}":
                rows.append(f"{worker} cannot import hamcv: {lines[-1]}")
            else:
                rows.append(f"{worker} cannot be asked: {lines[-1]}")
        elif sighting.version != version:
            rows.append(f"{worker} on {sighting.host} has hamcv {sighting.version}, here it is {version}")
        elif sighting.missing:
            rows.append(f"{worker} on {sighting.host} does not see {', '.join(sighting.missing)}")
    return rows


def refuse_unfit(sightings: Mapping[str, Sighting | BaseException], address: str) -> None:
    """Raise `UsageError` with the mend when a worker cannot run jobs."""
    if rows := complaints(sightings):
        version = importlib.metadata.version("hamcv")
        raise UsageError(
            f"{len(rows)} of {len(sightings)} processes of the cluster at {address} cannot run the jobs:\n"
            f"{list_rows(rows)}\n"
            "The run folder (--out), the decoded images (environment variable HAMCV_CACHE) and the weights "
            "(--weights) must lie on a file system that all of them share, under the same path, and each needs "
            f"hamcv {version}: pip install 'hamcv=={version}' there."
        )
