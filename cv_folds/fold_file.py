"""Folds that somebody made before: a table of image ids and fold numbers, checked against the dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from cv_folds.arrays import StrArray, frozen
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import DataError, list_rows
from cv_folds.split_table import ROLES, SplitTable, column_like, id_columns, image_name, read_split_table
from cv_folds.splits import HOLDOUT_PARTS, Folds, torn_groups

IMAGE_COLUMNS = ("image_id", "image", "isic_id", "image_name", "img", "filename", "file", "path", "id")
PART_COLUMNS = ("split", "part", "set", "subset", "partition")
FOLD_COLUMNS = ("fold", "folds", "kfold", "cv_fold", "fold_id", "fold_number", "fold_index")

_EXAMPLES = 8
_LONGEST_NUMBER = 20


def read_fold_file(
    path: Path, dataset: LesionDataset, groups: StrArray, *, n_folds: int, holdout: bool = False
) -> Folds:
    """Read folds and check them against a dataset.

    Parameters
    ----------
    path : Path
        A table with an image id and a fold number for every image, such as ``folds.csv``. Ids may be file names or
        paths; folds may be counted from 0 or from 1.
    dataset : LesionDataset
        Whose images the file must hold, each once.
    groups : (n,) array of str
        What must stay together.
    n_folds : int
        How many folds the file must have.
    holdout : bool
        The file says train, validation or test in place of a fold.

    Returns
    -------
    Folds
        `Folds.leaks` tells whether a group stands in several of them; that is for the caller to refuse.

    Raises
    ------
    DataError
        With everything that is wrong with the file.
    """
    known = {name: row for row, name in enumerate(dataset.image_ids.tolist())}
    table = read_split_table(path, known.keys())
    images, numbers = _columns(table, known, holdout=holdout)
    problems: dict[str, list[str]] = {}

    def complain(kind: str, what: str) -> None:
        problems.setdefault(kind, []).append(what)

    fold_of: dict[str, int] = {}
    seen: dict[str, int] = {}
    for line, cell, number in zip(table.lines, table.cells(images), table.cells(numbers), strict=True):
        image = image_name(cell)
        if image not in known:
            complain("image ids that the data set does not have", f"line {line}: {cell or '(empty)'}")
            continue
        if image in seen:
            complain("images that stand in several rows", f"line {line}: {image} (first: line {seen[image]})")
            continue
        seen[image] = line
        fold = _part(number) if holdout else _number(number)
        if fold is None:
            kind = "parts that are not train, validation or test" if holdout else "folds that are no whole numbers"
            complain(kind, f"line {line}: {image}: {number or '(empty)'}")
            continue
        fold_of[image] = fold
    for image in known:
        if image not in seen:
            complain("images that are not in the file", image)
    if not holdout:
        _check_numbers(fold_of, n_folds, complain)
    names = HOLDOUT_PARTS if holdout else None
    if not problems:
        first = 0 if holdout else min(fold_of.values())
        folds = np.array([fold_of[name] - first for name in known], dtype=np.int64)
        for fold in range(len(HOLDOUT_PARTS) if holdout else n_folds):
            absent = set(range(len(dataset.classes))) - set(dataset.labels[folds == fold].tolist())
            for label in sorted(absent):
                title = f"fold {fold + first}" if names is None else names[fold]
                complain("classes that a fold lacks", f"{title} has no image of {dataset.classes[label]}")
    if problems:
        raise DataError(f"{path}: these are no folds of {dataset.name}; correct the file:\n{_listed(problems)}")
    return Folds(
        image_ids=dataset.image_ids,
        lesion_ids=dataset.lesion_ids,
        groups=frozen(groups),
        labels=dataset.labels,
        classes=dataset.classes,
        folds=frozen(folds),
        n_folds=len(HOLDOUT_PARTS) if holdout else n_folds,
        holdout=holdout,
        leaks=bool(torn_groups(groups, folds)),
    )


def count_folds(path: Path) -> int | None:
    """Return how many folds a file has; None when that cannot be told, which reading it will explain."""
    try:
        table = read_split_table(path, ())
    except DataError:
        return None
    column = column_like(table, FOLD_COLUMNS)
    found = {cell for cell in table.cells(column) if cell.isdecimal()} if column is not None else set()
    return len(found) or None


def _number(cell: str) -> int | None:
    # Python refuses to read numbers of thousands of digits.
    return int(cell) if cell.isdecimal() and len(cell) < _LONGEST_NUMBER else None


def _part(cell: str) -> int | None:
    role = ROLES.get(cell.lower())
    return None if role is None else HOLDOUT_PARTS.index(role)


def _columns(table: SplitTable, known: Mapping[str, int], *, holdout: bool) -> tuple[str, str]:
    """Return the names of the image and fold columns."""
    names = (*PART_COLUMNS, *FOLD_COLUMNS) if holdout else FOLD_COLUMNS
    what = "parts" if holdout else "fold numbers"
    images = column_like(table, IMAGE_COLUMNS) or next(iter(id_columns(table, known)), None)
    numbers = column_like(table, names, but=() if images is None else (images,))
    missing = [
        f"{title} ({', '.join(usual)})"
        for title, usual, found in (("image ids", IMAGE_COLUMNS, images), (what, names, numbers))
        if found is None
    ]
    if images is None or numbers is None:
        raise DataError(
            f"{table.path}: no column of {' and none of '.join(missing)}; there are {', '.join(table.columns)}. "
            "Rename them as in folds.csv of `hamcv folds`."
        )
    return images, numbers


def _check_numbers(fold_of: Mapping[str, int], n_folds: int, complain: Callable[[str, str], None]) -> None:
    found = set(fold_of.values())
    if not found:
        return
    if min(found) > 1:
        complain("fold numbers that do not start", f"the least is {min(found)}; count the folds from 0 or from 1")
        return
    count = max(found) - min(found) + 1
    if count > len(fold_of):
        complain("folds without an image", f"the numbers go up to {max(found)}, but only {len(found)} of them occur")
        return
    for gap in sorted(set(range(min(found), max(found) + 1)) - found):
        complain("folds without an image", f"fold {gap}")
    if count != n_folds:
        complain("another number of folds", f"the file has {count}, the run {n_folds}; give --folds {count}")


def _listed(problems: Mapping[str, list[str]]) -> str:
    """Return every kind of problem with its first examples, so that no kind hides another."""
    return "\n".join(f"{kind} ({len(rows)}):\n{list_rows(rows, most=_EXAMPLES)}" for kind, rows in problems.items())
