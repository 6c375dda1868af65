"""A table of the report as CSV: every digit, every interval, and nothing that a spreadsheet would run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reports.document import Cell, Table
from reports.wording import NOT_AVAILABLE

NOTES = "notes"
"""Heading of the last column, which is there when a cell has a footnote."""

# Also in the wide forms that some spreadsheets take for the same; the script of the page knows the same signs.
_FORMULA = re.compile("[=+\\-@\t\r\n＝＋－＠]")


def table_csv(table: Table) -> str:
    """Return a table with a heading a column, and the numbers of second lines in columns of their own.

    A number has every digit. Where it is undefined the field is empty, and the column ``notes`` says why. A column
    ``F1`` with intervals is followed by ``F1 low`` and ``F1 high``. Text that begins as a formula does gets an
    apostrophe in front, which spreadsheets do not show: class names and ids come from whoever made the data.
    """
    words = [_words(table, place) for place in range(len(table.columns))]
    notes = [NOTES] if table.notes else []
    heading = [
        guarded(name)
        for column, added in zip(table.columns, words, strict=True)
        for name in (column.label, *(f"{column.label} {word}" for word in added))
    ]
    lines = [[*heading, *notes]]
    for row in table.rows:
        fields = [field for cell, added in zip(row, words, strict=True) for field in _fields(cell, added)]
        lines.append([*fields, *([_row_notes(table, row)] if notes else [])])
    return "".join(f"{','.join(_quoted(field) for field in line)}\n" for line in lines)


def full_text(cell: Cell) -> str:
    """Return what a column is sorted by and copied as: every digit of a number, or the words."""
    return cell.text if cell.value is None else _digits(cell.value, whole="." not in cell.text)


def behind_text(cell: Cell) -> str:
    """Return the numbers of a cell's second line as one attribute of the page: ``low:0.25;high:0.5``."""
    return ";".join(f"{word}:{_digits(value)}" for word, value in cell.behind)


def guarded(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet would take for a formula; a plain number is none."""
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def _digits(value: float, *, whole: bool = False) -> str:
    """Return every digit of a number: reading them gives the same number again."""
    return str(int(value)) if whole and float(value).is_integer() else repr(float(value))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", text) is not None


def _quoted(text: str) -> str:
    """Quote as RFC 4180 does; the writer of the standard library leaves a lone carriage return as it is."""
    return '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text


def _words(table: Table, place: int) -> tuple[str, ...]:
    """Return the headings that a column needs beside its own: of numbers, and ``detail`` for second lines of words."""
    cells = [row[place] for row in table.rows]
    words = dict.fromkeys(word for cell in cells for word, _ in cell.behind)
    if any(cell.detail and not cell.behind for cell in cells):
        words["detail"] = None
    return tuple(words)


def _fields(cell: Cell, words: tuple[str, ...]) -> Iterator[str]:
    undefined = cell.text == NOT_AVAILABLE and cell.note is not None
    yield "" if undefined else full_text(cell) if cell.value is not None else guarded(cell.text)
    behind = dict(cell.behind)
    for word in words:
        if word in behind:
            yield _digits(behind[word])
        else:
            yield guarded(cell.detail) if word == "detail" and not cell.behind else ""


def _row_notes(table: Table, row: tuple[Cell, ...]) -> str:
    notes = [
        f"{column.label}: {cell.note}" for column, cell in zip(table.columns, row, strict=True) if cell.note is not None
    ]
    return guarded("; ".join(notes))
