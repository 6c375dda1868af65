"""A table of one's own: one row an image, in columns that settings name."""

from __future__ import annotations

import math
from pathlib import Path

from cv_folds.data.dataset import ImageRow
from cv_folds.data.readers.choosing import candidates, choose_table
from cv_folds.data.readers.columns import Columns, find_columns
from cv_folds.data.readers.listing import Listing
from cv_folds.data.readers.naming import alike_but_for_case, image_ids
from cv_folds.data.readers.reader import Reader, Reading
from cv_folds.data.readers.table import TableRow, read_table
from cv_folds.data.readers.values import PARTS, age_complaint, age_in_years, known, name_complaint
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import DataError

_ROLES = ("image", "label")


def _recognises(listing: Listing, settings: ColumnSettings) -> bool:
    # Whoever names the column of labels has a table in mind, even if its name is wrong.
    return bool(listing.images) and bool(settings.label or candidates(listing, settings, roles=_ROLES))


def _read(listing: Listing, settings: ColumnSettings) -> Reading:
    table = _table(listing, settings)
    content = read_table(table, required=())
    columns = find_columns(table, content.columns, settings, needed=_ROLES)
    problems = list(content.problems)
    good: list[tuple[TableRow, Path]] = []
    for row in content.rows:
        found = _images(row, columns, listing)
        complaints = _complaints(row, columns, listing, found)
        problems.extend(f"{row.where}: {complaint}" for complaint in complaints)
        if not complaints:
            good.append((row, found[0]))
    labels = [row.values[columns.label] for row, _ in good]
    problems.extend(f"labels {' and '.join(names)} differ only in case" for names in alike_but_for_case(labels))
    paths = list(dict.fromkeys(path for _, path in good))
    ids = dict(zip(paths, image_ids([listing.relative(path) for path in paths]), strict=True))
    rows = tuple(_image_row(row, columns, path, ids[path]) for row, path in good)
    lesion = f"lesion in {columns.lesion}" if columns.lesion else "no column of lesions"
    note = f"{listing.relative(table)}: image in column {columns.image}, label in {columns.label}, {lesion}"
    return Reading(rows=rows, problems=tuple(problems), notes=(note,))


def _table(listing: Listing, settings: ColumnSettings) -> Path:
    if (table := choose_table(listing, settings, roles=_ROLES)) is not None:
        return table
    if len(listing.tables) == 1:
        # Its columns have other names: the complaint about them says more than that there is no table.
        return listing.tables[0]
    raise DataError(
        f"{listing.root}: no table with a column of images and one of labels; name them with --set columns.table=NAME "
        f"--set columns.image=NAME --set columns.label=NAME. It holds:\n{listing.describe()}"
    )


def _images(row: TableRow, columns: Columns, listing: Listing) -> tuple[Path, ...]:
    text = row.values[columns.image]
    return listing.named(text) if text else ()


def _complaints(row: TableRow, columns: Columns, listing: Listing, found: tuple[Path, ...]) -> list[str]:
    values = row.values
    image = values[columns.image]
    complaints = []
    if not image:
        complaints.append(f"{columns.image} is empty")
    elif not found:
        complaints.append(f"image {image} is not below the folder")
    elif len(found) > 1:
        places = ", ".join(listing.relative(path) for path in found)
        complaints.append(f"image {image} can be any of {places}; give the path")
    checks = [name_complaint(columns.label, values[columns.label])]
    if lesion := _lesion(row, columns):
        checks.append(name_complaint(columns.lesion, lesion))
    if columns.age:
        checks.append(age_complaint(columns.age, values[columns.age]))
    if columns.part and (part := values[columns.part]).lower() not in {"", *PARTS}:
        checks.append(f"{columns.part} {part!r} is none of {', '.join(PARTS)}")
    return [*complaints, *(complaint for complaint in checks if complaint is not None)]


def _lesion(row: TableRow, columns: Columns) -> str:
    # All images whose lesion is "unknown" are not images of one lesion.
    return known(row.values[columns.lesion]) if columns.lesion else ""


def _image_row(row: TableRow, columns: Columns, path: Path, image_id: str) -> ImageRow:
    def cell(column: str) -> str:
        return row.values[column] if column else ""

    age = age_in_years(cell(columns.age))
    return ImageRow(
        where=row.where,
        image_id=image_id,
        lesion_id=_lesion(row, columns),
        diagnosis=cell(columns.label),
        dx_type=cell(columns.dx_type),
        age=math.nan if age is None else age,
        sex=cell(columns.sex),
        localization=cell(columns.localization),
        path=path,
        part=PARTS.get(cell(columns.part).lower(), ""),
    )


CSV = Reader(
    looks_for="a table with one row an image: columns as image and label, or those of --set columns.image=NAME "
    "--set columns.label=NAME",
    recognises=_recognises,
    read=_read,
    columns=frozenset(ColumnSettings.model_fields),
)
