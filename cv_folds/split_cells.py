"""What a cell of a published split may say: a part, a fold number, yes or no. Any other word is refused with its row.

A word that is passed over, or taken for the name of a fold, would put images into a training that never saw them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cv_folds.errors import DataError, list_rows
from cv_folds.split_table import ROLES, SplitTable

YES, NO = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})

# Numbers as pandas writes them when a cell of the column is empty have a decimal.
_FOLD = re.compile(r"(?:(?:k?folds?|f|k|cv|split|part|set|run)[\s_.-]*)?(\d{1,18})(?:\.0+)?", re.IGNORECASE)


def fold_number(cell: str) -> int | None:
    """Return the number of a fold, as in ``3``, ``3.0`` or ``fold_3``; None for anything else."""
    found = _FOLD.fullmatch(cell)
    return None if found is None else int(found[1])


def is_fold(cell: str) -> bool:
    """Tell whether a cell is the number of a fold."""
    return fold_number(cell) is not None


def is_part(cell: str) -> bool:
    """Tell whether a cell is one of the words for a part."""
    return cell.lower() in ROLES


def is_flag(cell: str) -> bool:
    """Tell whether a cell says yes or no."""
    return cell.lower() in YES | NO


def share_of(table: SplitTable, column: str, fits: Callable[[str], bool]) -> float:
    """Return which share of the filled cells of a column fit, 0 to 1; 0 for an empty column."""
    filled = [cell for cell in table.cells(column) if cell]
    return sum(map(fits, filled)) / len(filled) if filled else 0.0


def refuse_others(table: SplitTable, column: str, fits: Callable[[str], bool], what: str) -> None:
    """Raise `DataError` with the rows of a column whose cells are filled and do not fit.

    Parameters
    ----------
    table : SplitTable
        The table.
    column : str
        One of its columns.
    fits : callable
        What a cell may say.
    what : str
        The same in words.
    """
    others = [
        f"line {line}: {cell}"
        for line, cell in zip(table.lines, table.cells(column), strict=True)
        if cell and not fits(cell)
    ]
    if others:
        raise DataError(
            f"{table.path}: column {column} must hold {what}, and {len(others)} rows hold something else:\n"
            f"{list_rows(others)}\n"
            "Leave the cell empty where an image belongs to no part; give parts and folds a column each."
        )
