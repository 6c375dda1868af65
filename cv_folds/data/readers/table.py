"""Tables of metadata: commas, semicolons or tabs, any line end, with or without a byte order mark; all as text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cv_folds.arrays import duplicates
from cv_folds.errors import DataError

_LINE_END = re.compile(rb"[\r\n]")
_LONGEST_HEADER = 65_536


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
        The file.
    required, optional : sequence of str
        Columns in lower case.

    Raises
    ------
    DataError
        When the file is not UTF-8, a quote is left open, or a column is missing or there twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from error
    # Strict: a quote that is never closed would otherwise swallow the rows after it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text.partition("\n")[0]), strict=True)
    rows: list[TableRow] = []
    problems: list[str] = []
    columns: tuple[str, ...] = ()
    whole = 0
    try:
        columns = tuple(column.strip().lower() for column in next(reader, []))
        _check_columns(path, columns, required, optional)
        whole = reader.line_num
        for fields in reader:
            whole = reader.line_num
            if fields:
                cells = [cell.strip() for cell in fields]
                where = f"{path.name}, row {whole}"
                if any(cells[len(columns) :]):
                    problems.append(f"{where}: {len(cells)} cells for {len(columns)} columns")
                cells.extend([""] * (len(columns) - len(cells)))
                rows.append(TableRow(where=where, values=dict(zip(columns, cells, strict=False))))
    except csv.Error as error:
        raise DataError(f"{path}, row {whole + 1}: cannot be read ({error}); is a quote left open there?") from error
    return Table(path=path, columns=columns, rows=tuple(rows), problems=tuple(problems))


def read_header(path: Path) -> tuple[str, ...]:
    """Return the column names in lower case, or nothing when the file is no table; never raises over content."""
    with path.open("rb") as stream:
        start = stream.read(_LONGEST_HEADER)
    try:
        line = _LINE_END.split(start, maxsplit=1)[0].decode("utf-8-sig")
        return tuple(column.strip().lower() for column in next(csv.reader([line], delimiter=_delimiter(line)), []))
    except (UnicodeDecodeError, csv.Error):
        return ()


def _delimiter(header: str) -> str:
    if "\t" in header:
        return "\t"
    # What spreadsheets write where the comma is the decimal mark.
    return ";" if ";" in header and "," not in header else ","


def _check_columns(path: Path, columns: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> None:
    if missing := [column for column in required if column not in columns]:
        also = f"; also read: {', '.join(optional)}" if optional else ""
        raise DataError(
            f"{path}: unknown column layout: {', '.join(missing)} missing. "
            f"Needed: {', '.join(required)}{also}. Found: {', '.join(columns) or 'nothing'}"
        )
    if twice := [column for column in duplicates(columns) if column in {*required, *optional}]:
        raise DataError(f"{path}: columns that are there twice: {', '.join(twice)}; keep one of each")
