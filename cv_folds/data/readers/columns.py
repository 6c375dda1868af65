"""Which columns of a plain table are meant: those that were set, else those with a usual name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cv_folds.data.readers.table import read_header
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import DataError, list_rows

USUAL = {
    "image": ("image", "image_id", "isic_id", "image_name", "filename", "file_name", "file", "path"),
    "label": ("label", "dx", "diagnosis", "class", "target"),
    "lesion": ("lesion_id", "lesion", "group", "group_id"),
    "part": (),
    "dx_type": ("dx_type", "diagnosis_confirm_type"),
    "age": ("age", "age_approx"),
    "sex": ("sex",),
    "localization": ("localization", "anatom_site_general"),
}
"""Usual names of the columns, in lower case."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns in lower case; empty for one that the table has not."""

    image: str
    """Image id, file name or path."""
    label: str
    """Diagnosis."""
    lesion: str
    """What the images of one lesion share."""
    part: str
    """Part of a split."""
    dx_type: str
    """How the diagnosis was confirmed."""
    age: str
    """Age in years."""
    sex: str
    """Sex."""
    localization: str
    """Body site."""


def may_hold(path: Path, settings: ColumnSettings, roles: Sequence[str]) -> bool:
    """Tell whether a table has a column for each of `roles`, by its header."""
    header = read_header(path)
    return len(header) > 1 and all(_candidates(header, settings, role) for role in roles)


def find_columns(path: Path, header: Sequence[str], settings: ColumnSettings, *, needed: Sequence[str]) -> Columns:
    """Find the columns of a table.

    Parameters
    ----------
    path : Path
        The table, for messages.
    header : sequence of str
        Its columns in lower case.
    settings : ColumnSettings
        Columns that were set must be there.
    needed : sequence of str
        Roles that must be found.

    Raises
    ------
    DataError
        When one is missing or several could be meant: all of them at once.
    """
    chosen: dict[str, str] = {}
    problems = []
    for role in USUAL:
        named: str | None = getattr(settings, role)
        found = _candidates(header, settings, role)
        if named is not None and not found:
            problems.append(f"columns.{role}: there is no column {named}")
        elif role in needed and not found:
            problems.append(f"columns.{role}: none of {', '.join(USUAL[role])} is there; name it with "
                            f"--set columns.{role}=NAME")  # fmt: skip
        elif len(found) > 1:
            problems.append(f"columns.{role}: {' and '.join(found)} could be meant; choose with "
                            f"--set columns.{role}={found[0]}")  # fmt: skip
        chosen[role] = found[0] if found else ""
    if problems:
        raise DataError(f"{path}: columns {', '.join(header) or 'none'}:\n" + list_rows(problems))
    return Columns(**chosen)


def _candidates(header: Sequence[str], settings: ColumnSettings, role: str) -> list[str]:
    named: str | None = getattr(settings, role)
    wanted = USUAL[role] if named is None else (named.strip().lower(),)
    return [column for column in wanted if column in header]
