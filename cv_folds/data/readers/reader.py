"""What a reader is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cv_folds.data.dataset import ImageRow
from cv_folds.data.readers.listing import Listing
from cv_folds.data.settings import ColumnSettings


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The rows of a layout, before any check across rows."""

    rows: tuple[ImageRow, ...]
    """Images that can be used."""
    problems: tuple[str, ...] = ()
    """One line for each bad row."""
    notes: tuple[str, ...] = ()
    """What was left out or taken for granted, for the person at the terminal."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One layout."""

    looks_for: str
    """What makes the layout, in a line."""
    recognises: Callable[[Listing, ColumnSettings], bool]
    """Tells a folder of this layout by its names and the headers of its tables."""
    read: Callable[[Listing, ColumnSettings], Reading]
    """Reads it; `DataError` for a table that is no such table."""
    columns: frozenset[str] = frozenset()
    """Which of `ColumnSettings` it reads; none where the names of the columns are published."""
