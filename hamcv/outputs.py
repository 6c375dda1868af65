"""Looking at an output path before the work, not after it."""

from __future__ import annotations

from pathlib import Path

from cv_folds.errors import UsageError


def check_output(path: Path | None) -> None:
    """Raise `UsageError` when a file cannot be written to `path`; None stands for stdout."""
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file in it")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UsageError(f"{path}: {above} is a file, not a folder")
