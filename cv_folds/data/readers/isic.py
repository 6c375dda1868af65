"""The form of the ISIC challenges: for each part a truth table with one column a class, and a table of details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cv_folds.data.dataset import ImageRow
from cv_folds.data.readers.listing import Listing
from cv_folds.data.readers.reader import Reading
from cv_folds.data.readers.table import TableRow, read_header, read_table
from cv_folds.data.readers.values import age_complaint, age_in_years, id_complaint, known
from cv_folds.errors import DataError

IMAGE, LESION = "image", "lesion_id"
DETAILS = (LESION, "diagnosis_confirm_type", "age_approx", "sex", "anatom_site_general")
"""Columns of a table of details that are read; none of the published ones has all."""

_CELLS = {"0": False, "0.0": False, "1": True, "1.0": True}
_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class IsicPart:
    """One part of a challenge."""

    truth: str
    """Name of its truth table, without extension."""
    details: str | None
    """Name of its table of lesions and patients, where one was published."""


@dataclass(frozen=True, kw_only=True)
class IsicLayout:
    """One challenge."""

    classes: tuple[str, ...]
    """The columns of the truth that name a class, as published."""
    parts: Mapping[str, IsicPart]
    """``train``, ``val`` and ``test``, as far as the challenge has them."""
    unknown: str | None = None
    """Column for images of none of the classes, which have no diagnosis to learn from."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Image id to the reason why it is no image of the set."""


def recognises_isic(listing: Listing, layout: IsicLayout) -> bool:
    """Tell whether a truth table of the challenge is there."""
    return any(_truth_table(listing, part) is not None for part in layout.parts.values())


def read_isic(listing: Listing, layout: IsicLayout) -> Reading:
    """Read all parts of which images are there.

    Parameters
    ----------
    listing : Listing
        The folder.
    layout : IsicLayout
        The challenge.

    Raises
    ------
    DataError
        When a table is no such table, there is no truth table, or no image of any part.
    """
    readings = [
        _read_part(listing, layout, name, table)
        for name, part in layout.parts.items()
        if (table := _truth_table(listing, part)) is not None
    ]
    if not readings:
        names = ", ".join(f"{part.truth}.csv" for part in layout.parts.values())
        raise DataError(
            f"{listing.root}: no truth table (looked for {names}) in it or below it. It holds:\n{listing.describe()}"
        )
    whole = Reading(
        rows=tuple(row for reading in readings for row in reading.rows),
        problems=tuple(problem for reading in readings for problem in reading.problems),
        notes=tuple(note for reading in readings for note in reading.notes),
    )
    if not whole.rows and not whole.problems:
        raise DataError(f"{listing.root}: no image to read: {'; '.join(whole.notes) or 'the truth tables are empty'}")
    return whole


def _truth_table(listing: Listing, part: IsicPart) -> Path | None:
    table = listing.find_table(part.truth)
    # The file that Harvard Dataverse gives the same name has the columns of HAM10000.
    return table if table is not None and "dx" not in read_header(table) else None


def _read_part(listing: Listing, layout: IsicLayout, name: str, table: Path) -> Reading:
    content = read_table(table, required=[IMAGE, *map(str.lower, layout.classes)])
    truth = content.rows
    if truth and not any(row.values[IMAGE] in listing.by_stem for row in truth):
        return Reading(rows=(), notes=(f"{table.name}: none of its {len(truth)} images is there; part left out",))
    details, problems, notes = _read_details(listing, layout.parts[name])
    problems.extend(content.problems)
    rows: list[ImageRow] = []
    of_no_class: list[str] = []
    for row in truth:
        image_id = row.values[IMAGE]
        if image_id in layout.left_out:
            notes.append(f"{row.where}: {image_id} is left out: {layout.left_out[image_id]}")
            continue
        cells = _class_cells(row, layout)
        named = [class_name for class_name, cell in cells.items() if _CELLS.get(cell)]
        if layout.unknown is not None and named == [layout.unknown]:
            of_no_class.append(f"row {row.where.rpartition(' ')[2]} ({image_id})")
            continue
        bad = _complaints(image_id, cells, named, listing, details)
        problems.extend(f"{row.where}: {complaint}" for complaint in bad)
        path = listing.image_of(image_id)
        if not bad and path is not None:
            detail = details[image_id].values if details is not None else {}
            rows.append(_image_row(row, named[0], detail, path, name))
    if of_no_class:
        more = f", and {len(of_no_class) - _MOST_NAMED} more" if len(of_no_class) > _MOST_NAMED else ""
        images = "1 image is" if len(of_no_class) == 1 else f"{len(of_no_class)} images are"
        left_out = "is left out" if len(of_no_class) == 1 else "are left out"
        notes.append(
            f"{table.name}: {images} {layout.unknown}, none of the classes, and {left_out}: "
            f"{', '.join(of_no_class[:_MOST_NAMED])}{more}"
        )
    return Reading(rows=tuple(rows), problems=tuple(problems), notes=tuple(notes))


def _read_details(listing: Listing, part: IsicPart) -> tuple[dict[str, TableRow] | None, list[str], list[str]]:
    """Return the details by image id, or None without the table; bad rows; notes."""
    if part.details is None:
        return None, [], []
    path = listing.find_table(part.details)
    if path is None:
        return None, [], [f"{part.details}.csv is not there: without it nothing tells which images show one lesion"]
    details: dict[str, TableRow] = {}
    content = read_table(path, required=[IMAGE], optional=DETAILS)
    problems = list(content.problems)
    for row in content.rows:
        image_id, lesion = row.values[IMAGE], known(row.values.get(LESION, ""))
        complaints = [
            id_complaint(IMAGE, image_id),
            id_complaint(LESION, lesion) if lesion else None,
            age_complaint("age_approx", row.values.get("age_approx", "")),
            f"image {image_id} occurs again (first: {details[image_id].where})" if image_id in details else None,
        ]
        problems.extend(f"{row.where}: {complaint}" for complaint in complaints if complaint is not None)
        details.setdefault(image_id, row)
    return details, problems, []


def _class_cells(row: TableRow, layout: IsicLayout) -> dict[str, str]:
    names = (*layout.classes, layout.unknown) if layout.unknown is not None else layout.classes
    # The column for none of the classes is left away at times.
    return {name: row.values.get(name.lower(), "0") for name in names}


def _complaints(
    image_id: str,
    cells: Mapping[str, str],
    named: Sequence[str],
    listing: Listing,
    details: Mapping[str, TableRow] | None,
) -> list[str]:
    if (complaint := id_complaint(IMAGE, image_id)) is not None:
        return [complaint]
    complaints = []
    if odd := [f"{name} is {cell!r}" for name, cell in cells.items() if cell not in _CELLS]:
        complaints.append(f"{', '.join(odd)}: must be 0 or 1")
    elif not named:
        complaints.append(f"image {image_id} has no class that is 1")
    elif len(named) > 1:
        complaints.append(f"image {image_id} has more than one class that is 1: {', '.join(named)}")
    if listing.image_of(image_id) is None:
        complaints.append(listing.complaint(image_id))
    if details is not None and image_id not in details:
        complaints.append(f"image {image_id} has no row in the table of details")
    return complaints


def _image_row(row: TableRow, diagnosis: str, detail: Mapping[str, str], path: Path, part: str) -> ImageRow:
    age = age_in_years(detail.get("age_approx", ""))
    return ImageRow(
        where=row.where,
        image_id=row.values[IMAGE],
        lesion_id=known(detail.get(LESION, "")),
        diagnosis=diagnosis,
        dx_type=detail.get("diagnosis_confirm_type", ""),
        # One that makes no sense was reported with the row that holds it.
        age=float("nan") if age is None else age,
        sex=detail.get("sex", ""),
        localization=detail.get("anatom_site_general", ""),
        path=path,
        part=part,
    )
