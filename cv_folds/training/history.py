"""The course of a training for people: a table, and event files for TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path

from cv_folds.errors import UsageError
from cv_folds.files import write_text
from cv_folds.training.course import EpochRow

EVENT_FOLDER = "tensorboard"
_CURVES = tuple(field.name for field in fields(EpochRow) if field.name not in ("epoch", "weights", "seconds"))


def write_history(path: Path, rows: tuple[EpochRow, ...]) -> None:
    """Write ``history.csv`` atomically, one row an epoch."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(EpochRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text(path, text.getvalue())


def check_event_writer() -> None:
    """Raise `UsageError` when TensorBoard's package is not installed."""
    try:
        import tensorboard  # noqa: F401 - what matters is that it is there
    except ImportError:
        raise UsageError(
            "--tensorboard needs a package that is not installed: pip install 'hamcv[tensorboard]'"
        ) from None


@contextmanager
def event_writer(folder: Path) -> Iterator[Callable[[tuple[EpochRow, ...]], None]]:
    """Open event files in a job folder; the yielded function writes the epochs that it has not written yet.

    What an interrupted job wrote there is replaced, so that every epoch is there once.

    Raises
    ------
    UsageError
        When TensorBoard's package is not installed.
    """
    check_event_writer()
    # An extra, and slow to import.
    from torch.utils.tensorboard import SummaryWriter

    events = folder / EVENT_FOLDER
    for path in events.glob("events.*"):
        path.unlink()
    written = 0
    with SummaryWriter(str(events)) as writer:

        def write(rows: tuple[EpochRow, ...]) -> None:
            nonlocal written
            for row in rows[written:]:
                for name in _CURVES:
                    writer.add_scalar(name, getattr(row, name), row.epoch)
            written = len(rows)
            writer.flush()

        yield write
