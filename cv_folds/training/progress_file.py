"""A small file in which a job tells where it stands."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from cv_folds.training.loop import Progress

PROGRESS_FILE = "progress.json"


def progress_writer(folder: Path) -> Callable[[Progress], None]:
    """Return a callback that leaves the state in a small file, at most twice a second, for whoever watches.

    A file needs no connection between the processes: it works alike for threads, workers and cluster nodes. It is
    not synced, a watcher takes an unreadable one for no news, and a training does not fail for want of it.
    """
    path = folder / PROGRESS_FILE
    partial = path.with_suffix(f".{os.getpid()}")
    last = 0.0

    def write(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 0.5 and progress.step < progress.steps:
            return
        last = now
        with suppress(OSError):
            partial.write_text(json.dumps(asdict(progress)), encoding="utf-8")
            partial.replace(path)

    return write


def remove_progress(folder: Path) -> None:
    """Remove the progress file and unfinished ones, those of killed processes too."""
    for path in folder.glob(f"{Path(PROGRESS_FILE).stem}.*"):
        with suppress(OSError):
            path.unlink()
