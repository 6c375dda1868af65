"""Tables that say which image belongs where, as people publish them: any delimiter, any name for the image column."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from cv_folds.errors import DataError, list_rows
from cv_folds.text_table import read_text_table

Role: TypeAlias = Literal["train", "validation", "test"]

_WORDS: dict[Role, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "tr", "trainset"),
    "validation": ("validation", "valid", "val", "vali", "dev", "valset"),
    "test": ("test", "testing", "tst", "te", "eval", "evaluation", "holdout", "testset"),
}
ROLES: dict[str, Role] = {word: role for role, words in _WORDS.items() for word in words}
"""Words for the parts, in small letters."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

_ENOUGH = 0.5
"""Share of its filled cells that must be images of the dataset for a column to be one of image ids."""


@dataclass(frozen=True, kw_only=True)
class SplitTable:
    """A table as text."""

    path: Path
    """For messages."""
    columns: tuple[str, ...]
    """Names as in the header; ``column 1`` and so on for a table without one."""
    rows: tuple[tuple[str, ...], ...]
    """Stripped cells, one a column in each row."""
    lines: tuple[int, ...]
    """The line of the file where each row ends, counted from 1."""

    def cells(self, name: str) -> list[str]:
        """Return a column from top to bottom."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


def image_name(text: str) -> str:
    """Return the image id of a cell that may hold a path or a file name: ``part_1/ISIC_0027419.JPG``."""
    name = PurePosixPath(text.strip().replace("\\", "/")).name
    suffix = PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else name


def read_split_table(path: Path, known: Collection[str]) -> SplitTable:
    """Read a table.

    Parameters
    ----------
    path : Path
        As `read_text_table` takes it.
    known : collection of str
        The image ids of the dataset: a first line that holds one is no header.

    Raises
    ------
    DataError
        When the file cannot be read, is empty, or a row has more cells than there are columns.
    """
    content = read_text_table(path)
    stripped = [tuple(cell.strip() for cell in row) for row in content.rows]
    filled = [(row, line) for row, line in zip(stripped, content.lines, strict=True) if any(row)]
    rows, lines = [row for row, _ in filled], [line for _, line in filled]
    if not rows:
        raise DataError(f"{path}: is empty")
    header = rows[0]
    if any(image_name(cell) in known for cell in header):
        columns = tuple(f"column {number}" for number in range(1, len(header) + 1))
    else:
        columns, rows, lines = header, rows[1:], lines[1:]
    if again := sorted({name for name in columns if columns.count(name) > 1}):
        raise DataError(f"{path}: columns that are named twice: {', '.join(again)}")
    if not rows:
        raise DataError(f"{path}: has a header ({', '.join(columns)}) and no rows")
    if long := [line for row, line in zip(rows, lines, strict=True) if len(row) > len(columns)]:
        where = list_rows([f"line {line}" for line in long])
        raise DataError(f"{path}: rows with more cells than the {len(columns)} of the first:\n{where}")
    # A row may end early: the columns of a table that lists ids part by part are of different lengths.
    padded = tuple(row + ("",) * (len(columns) - len(row)) for row in rows)
    return SplitTable(path=path, columns=columns, rows=padded, lines=tuple(lines))


def id_columns(table: SplitTable, known: Collection[str]) -> tuple[str, ...]:
    """Return the columns most of whose filled cells are images of the dataset."""
    found = []
    for name in table.columns:
        filled = [image_name(cell) for cell in table.cells(name) if cell]
        if filled and sum(cell in known for cell in filled) >= _ENOUGH * len(filled):
            found.append(name)
    return tuple(found)


def column_named(table: SplitTable, wanted: str, option: str) -> str:
    """Return the column that a user named, whatever its capitals; `DataError` names those there are."""
    for name in table.columns:
        if name.lower() == wanted.lower():
            return name
    raise DataError(f"{table.path}: {option} {wanted}: there is no such column; there are {', '.join(table.columns)}")


def column_like(table: SplitTable, names: Collection[str], but: Collection[str] = ()) -> str | None:
    """Return the first column whose name is one of `names`, whatever its capitals and separators."""
    plain = {_plain(name) for name in names}
    return next((name for name in table.columns if _plain(name) in plain and name not in but), None)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
