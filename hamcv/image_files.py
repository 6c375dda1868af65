"""Which image files the arguments of `hamcv predict` mean: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cv_folds.data.readers.listing import IMAGE_SUFFIXES
from cv_folds.errors import DataError


def image_files(given: Sequence[str]) -> Iterator[Path | DataError]:
    """Yield the files that are meant, in the order given; those of a folder or pattern sorted by name.

    Parameters
    ----------
    given : sequence of str
        Files, taken whatever their names; folders, searched with all below them for names that end like an image;
        patterns with ``*``, ``?`` or ``[...]``, ``**`` meaning any folders, of which only such names count too. What
        exists is never taken for a pattern. Names that start with a dot are passed over.

    Yields
    ------
    Path, or DataError that names a folder or pattern without any image
    """
    for text in given:
        path = Path(text)
        if path.is_dir():
            yield from _or_error(_below(path), f"{text}: no image below this folder ({_endings()})")
        elif not path.exists() and glob.has_magic(text):
            yield from _or_error(_matching(text), f"{text}: the pattern matches no image ({_endings()})")
        else:
            yield path


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(here, name) for name in sorted(names) if _is_image(name))


def _matching(pattern: str) -> Iterator[Path]:
    # Of pathlib, none takes an absolute pattern.
    for path in map(Path, sorted(glob.iglob(pattern, recursive=True))):  # noqa: PTH207
        if path.is_file() and _is_image(path.name):
            yield path


def _is_image(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def _or_error(paths: Iterable[Path], message: str) -> Iterator[Path | DataError]:
    empty = True
    for path in paths:
        empty = False
        yield path
    if empty:
        yield DataError(message)


def _endings() -> str:
    return ", ".join(sorted(IMAGE_SUFFIXES))
