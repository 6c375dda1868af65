"""Which table of a folder is meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cv_folds.data.readers.columns import may_hold
from cv_folds.data.readers.listing import Listing
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import DataError


def choose_table(listing: Listing, settings: ColumnSettings, *, roles: Sequence[str]) -> Path | None:
    """Return the table that was named, else the only one with a column for each of `roles`, else None.

    A table in the folder itself is preferred to those further below.

    Raises
    ------
    DataError
        When the named one is not there, or several could be meant.
    """
    if settings.table is not None:
        return _named(listing, settings.table)
    found = candidates(listing, settings, roles=roles)
    if len(found) > 1:
        names = ", ".join(listing.relative(path) for path in found)
        raise DataError(f"{listing.root}: several tables could be meant: {names}; choose with --set columns.table=NAME")
    return found[0] if found else None


def candidates(listing: Listing, settings: ColumnSettings, *, roles: Sequence[str]) -> list[Path]:
    """Return the tables with a column for each of `roles`: the named one, or those in the folder itself, else all."""
    tables = listing.tables if settings.table is None else _of_name(listing, settings.table)
    found = [path for path in tables if may_hold(path, settings, roles)]
    return [path for path in found if path.parent == listing.root] or found


def _named(listing: Listing, name: str) -> Path:
    if found := _of_name(listing, name):
        return found[0]
    names = ", ".join(listing.relative(path) for path in listing.tables[:8]) or "none"
    raise DataError(f"{listing.root}: there is no table {name} (columns.table); there are: {names}")


def _of_name(listing: Listing, name: str) -> list[Path]:
    return [path for path in listing.files if name in (listing.relative(path), path.name)]
