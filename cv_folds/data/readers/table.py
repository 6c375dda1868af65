"""Tables of metadata: columns by name, and rows that know where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cv_folds.arrays import duplicates
from cv_folds.errors import DataError
from cv_folds.text_table import read_first_row, read_text_table


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row of a table."""

    where: str
    """File and line for messages, e.g. ``HAM10000_metadata.csv, row 12``."""
    values: dict[str, str]
    """Column in lower case to content without surrounding blanks; empty where the row is short."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A whole table."""

    path: Path
    """The file."""
    columns: tuple[str, ...]
    """Names of the columns in lower case, in order."""
    rows: tuple[TableRow, ...]
    """In order."""
    problems: tuple[str, ...]
    """One line for each row with more cells than columns: which cell belongs to which column is then anyone's guess."""


def read_table(path: Path, *, required: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Read a table and check that its columns are there; their case does not matter, further ones are kept.

    Parameters
    ----------
    path : Path
        The file, as `read_text_table` takes it.
    required, optional : sequence of str
        Columns in lower case.

    Raises
    ------
    DataError
        When the file cannot be read, or a column is missing or there twice.
    """
    content = read_text_table(path)
    columns = _names(content.rows[0] if content.rows else ())
    _check_columns(path, columns, required, optional)
    rows: list[TableRow] = []
    problems: list[str] = []
    for fields, line in zip(content.rows[1:], content.lines[1:], strict=True):
        cells = [cell.strip() for cell in fields]
        where = f"{path.name}, row {line}"
        if any(cells[len(columns) :]):
            problems.append(f"{where}: {len(cells)} cells for {len(columns)} columns")
        cells.extend([""] * (len(columns) - len(cells)))
        rows.append(TableRow(where=where, values=dict(zip(columns, cells, strict=False))))
    return Table(path=path, columns=columns, rows=tuple(rows), problems=tuple(problems))


def read_header(path: Path) -> tuple[str, ...]:
    """Return the column names in lower case, or nothing when the file is no table; never raises over content."""
    return _names(read_first_row(path))


def _names(cells: Sequence[str]) -> tuple[str, ...]:
    return tuple(cell.strip().lower() for cell in cells)


def _check_columns(path: Path, columns: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> None:
    if missing := [column for column in required if column not in columns]:
        also = f"; also read: {', '.join(optional)}" if optional else ""
        raise DataError(
            f"{path}: unknown column layout: {', '.join(missing)} missing. "
            f"Needed: {', '.join(required)}{also}. Found: {', '.join(columns) or 'nothing'}"
        )
    if twice := [column for column in duplicates(columns) if column in {*required, *optional}]:
        raise DataError(f"{path}: columns that are there twice: {', '.join(twice)}; keep one of each")
