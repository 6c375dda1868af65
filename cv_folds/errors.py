"""What can go wrong through no fault of the code, and the exit code of each.

Messages are for the person at the terminal: they name the file, row or option, and the mend.
"""

from __future__ import annotations

from collections.abc import Sequence


class HamcvError(Exception):
    """Base of every expected failure; ``exit_code`` is what the command line returns."""

    exit_code = 1


class JobFailedError(HamcvError):
    """A (backbone, fold) job could not be finished."""

    exit_code = 1


class UsageError(HamcvError, ValueError):
    """A wrong option, setting, recipe or run folder."""

    exit_code = 2


class DataError(HamcvError, ValueError):
    """Unusable data: images, metadata, predictions, bundles."""

    exit_code = 3


class RunFolderBusyError(HamcvError):
    """Another process is writing to the run folder."""

    exit_code = 4


def list_rows(rows: Sequence[str], *, most: int = 20) -> str:
    """Join bad rows one a line, all of them up to `most`, then a count of the rest."""
    shown = [f"  {row}" for row in rows[:most]]
    if len(rows) > most:
        shown.append(f"  ... and {len(rows) - most} more")
    return "\n".join(shown)
