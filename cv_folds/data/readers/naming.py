"""Ids for images that have only a file name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from cv_folds.data.readers.values import as_id


def image_ids(paths: Sequence[str]) -> list[str]:
    """Return an id for each path: the file name without extension, or the whole path where names recur.

    Parameters
    ----------
    paths : sequence of str
        Paths below the folder, with slashes.
    """
    stems = [as_id(PurePosixPath(path).stem) for path in paths]
    times = Counter(stems)
    return [
        stem if times[stem] == 1 else as_id("__".join(PurePosixPath(path).with_suffix("").parts))
        for stem, path in zip(stems, paths, strict=True)
    ]


def alike_but_for_case(names: Sequence[str]) -> list[list[str]]:
    """Return the class names that differ in nothing but case, in groups."""
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(name.lower(), set()).add(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]
