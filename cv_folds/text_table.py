"""Tables as text, from whatever program: the one place that knows encodings, line ends, delimiters and quotes.

Understood are UTF-8 with or without byte order mark, and UTF-16 with one, as spreadsheets write "Unicode text"; line
ends of any system; commas, semicolons (what spreadsheets write where the comma is the decimal mark) or tabs between
cells; cells in double quotes.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from cv_folds.arrays import duplicates
from cv_folds.errors import DataError, list_rows

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LINE_END = re.compile(r"\r\n|\r|\n")
_QUOTED = re.compile(r'"[^"]*"')
_LONGEST_FIRST_ROW = 65_536


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """The cells of a table, with where they stand; blank lines are left out."""

    path: Path
    """The file."""
    rows: tuple[tuple[str, ...], ...]
    """Cells as they are, blanks around them included; rows may differ in length."""
    lines: tuple[int, ...]
    """The line of the file where each row ends, counted from 1."""

    def columns(self) -> dict[str, list[str]]:
        """Return the cells of each column below its name in the first row; columns without a name are left out.

        Raises
        ------
        DataError
            When the table is empty, a name is there twice, or rows have more or fewer cells than the first.
        """
        if not self.rows:
            raise DataError(f"{self.path}: is empty")
        header, *rows = self.rows
        if again := duplicates(name for name in header if name):
            raise DataError(f"{self.path}: columns that are there twice: {', '.join(again)}")
        if bad := [
            f"line {line}: {len(row)}"
            for row, line in zip(rows, self.lines[1:], strict=True)
            if len(row) != len(header)
        ]:
            raise DataError(f"{self.path}: rows that have not {len(header)} cells as the first has:\n{list_rows(bad)}")
        cells = zip(*rows, strict=True) if rows else [()] * len(header)
        return {name: list(column) for name, column in zip(header, cells, strict=True) if name}


def read_text_table(path: Path) -> TextTable:
    """Read a table.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    DataError
        When it cannot be opened, is no text, or a quote is left open; the message names the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    text = _decode(path, content)
    # Strict: a quote that is never closed would otherwise swallow the rows after it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(_first_line(text)), strict=True)
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    whole = 0
    try:
        for record in reader:
            whole = reader.line_num
            if len(record) > 1 or "".join(record).strip():
                rows.append(tuple(record))
                lines.append(whole)
    except csv.Error as error:
        raise DataError(f"{path}, row {whole + 1}: cannot be read ({error}); is a quote left open there?") from error
    return TextTable(path=path, rows=tuple(rows), lines=tuple(lines))


def read_first_row(path: Path) -> tuple[str, ...]:
    """Return the cells of the first row, or nothing when the file is no such table; never raises over content."""
    with path.open("rb") as stream:
        start = stream.read(_LONGEST_FIRST_ROW)
    # What is cut off in the middle of a character at the end is no error, and only the first line counts.
    text = codecs.getincrementaldecoder(_encoding(start))(errors="replace").decode(start)
    line = _first_line(text)
    if "\N{REPLACEMENT CHARACTER}" in line or "\0" in line:
        return ()
    try:
        return tuple(next(csv.reader([line], delimiter=_delimiter(line)), []))
    except csv.Error:
        return ()


def _encoding(content: bytes) -> str:
    return next((encoding for mark, encoding in _MARKS.items() if content.startswith(mark)), "utf-8")


def _decode(path: Path, content: bytes) -> str:
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.removesuffix("-sig").upper()
        line = len(_LINE_END.findall(content[: error.start].decode(encoding, errors="ignore"))) + 1
        raise DataError(f"{path}: is not {name} text (line {line}: {error}); save it as UTF-8") from error
    if "\0" in text:
        line = len(_LINE_END.findall(text, 0, text.index("\0"))) + 1
        raise DataError(f"{path}: is not UTF-8 text (line {line} has a zero byte); save it as UTF-8")
    return text


def _first_line(text: str) -> str:
    """Return the first line with anything on it."""
    return _LINE_END.split(text.lstrip(), maxsplit=1)[0]


def _delimiter(line: str) -> str:
    bare = _QUOTED.sub("", line)
    if "\t" in bare:
        return "\t"
    return max(",;", key=bare.count)
