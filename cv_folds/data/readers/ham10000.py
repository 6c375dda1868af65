"""HAM10000 as Harvard Dataverse and its mirrors ship it: one table, images anywhere below the folder."""

from __future__ import annotations

from pathlib import Path

from cv_folds.data.dataset import ImageRow
from cv_folds.data.readers.isic2018 import NOT_SCORED, TEST_TRUTH
from cv_folds.data.readers.listing import Listing
from cv_folds.data.readers.reader import Reader, Reading
from cv_folds.data.readers.table import TableRow, read_header, read_table
from cv_folds.data.readers.values import age_complaint, age_in_years, id_complaint
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import DataError

REQUIRED = ("image_id", "lesion_id", "dx")
OPTIONAL = ("dx_type", "age", "sex", "localization")

_METADATA = "HAM10000_metadata"


def _recognises(listing: Listing, _: ColumnSettings) -> bool:
    return listing.find_table(_METADATA) is not None or _dataverse_test(listing) is not None


def _dataverse_test(listing: Listing) -> Path | None:
    """Dataverse gives the ISIC 2018 test set the columns of HAM10000, under the name of the challenge's file."""
    table = listing.find_table(TEST_TRUTH)
    return table if table is not None and "dx" in read_header(table) else None


def _read(listing: Listing, _: ColumnSettings) -> Reading:
    metadata, test = listing.find_table(_METADATA), _dataverse_test(listing)
    table = metadata or test
    if table is None:
        raise DataError(
            f"{listing.root}: no HAM10000_metadata table (.csv, .tsv, .tab or no extension) in it or below it. "
            f"It holds:\n{listing.describe()}"
        )
    notes = []
    if metadata is not None and test is not None:
        notes.append(f"{test.name} was not read: a test set belongs into a folder of its own")
    rows: list[ImageRow] = []
    content = read_table(table, required=REQUIRED, optional=OPTIONAL)
    problems = list(content.problems)
    for record in content.rows:
        image_id = record.values["image_id"]
        if metadata is None and image_id in NOT_SCORED:
            notes.append(f"{record.where}: {image_id} is left out: {NOT_SCORED[image_id]}")
            continue
        row, bad = _check(record, listing, part="" if metadata is not None else "test")
        problems.extend(bad)
        if row is not None:
            rows.append(row)
    return Reading(rows=tuple(rows), problems=tuple(problems), notes=tuple(notes))


def _check(record: TableRow, listing: Listing, part: str) -> tuple[ImageRow | None, list[str]]:
    """Return the row, or None and what is wrong with it."""
    values = record.values
    image_id = values["image_id"]
    complaints = [id_complaint(column, values[column]) for column in REQUIRED]
    complaints.append(age_complaint("age", values.get("age", "")))
    found = [f"{record.where}: {complaint}" for complaint in complaints if complaint is not None]
    path = listing.image_of(image_id)
    if path is None and (not found or image_id in listing.by_stem):
        found.append(f"{record.where}: {listing.complaint(image_id)}")
    age = age_in_years(values.get("age", ""))
    if found or path is None or age is None:
        return None, found
    return ImageRow(
        where=record.where,
        image_id=image_id,
        lesion_id=values["lesion_id"],
        diagnosis=values["dx"],
        dx_type=values.get("dx_type", ""),
        age=age,
        sex=values.get("sex", ""),
        localization=values.get("localization", ""),
        path=path,
        part=part,
    ), []


HAM10000 = Reader(
    looks_for="a table HAM10000_metadata (.csv, .tsv, .tab or no extension), images anywhere below the folder",
    recognises=_recognises,
    read=_read,
)
