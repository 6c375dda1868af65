"""Reader for the official HAM10000 layout: one metadata table, images anywhere below the folder."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cv_folds.data.dataset import ImageRow, LesionDataset, build_dataset
from cv_folds.errors import DataError, list_rows

REQUIRED = ("image_id", "lesion_id", "dx")
OPTIONAL = ("dx_type", "age", "sex", "localization")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})

# Ids become parts of messages and file names: no separators, nothing that a path could be made of.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read_ham10000(root: Path, *, name: str = "ham10000", demo: bool = False) -> LesionDataset:
    """Read HAM10000 as Harvard Dataverse and its mirrors lay it out.

    Parameters
    ----------
    root : Path
        Folder with ``HAM10000_metadata`` (with or without ``.csv``, ``.tsv``, ``.tab``, ``.txt``; separated by
        commas or tabs) and the images, both anywhere below it.
    name : str
        Name for titles and run folders.
    demo : bool
        Marks the generated demo set.

    Returns
    -------
    LesionDataset

    Raises
    ------
    DataError
        When the folder or table is missing, a column is missing, or rows are bad: all bad rows at once.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name the folder that holds HAM10000_metadata.csv with --data")
    files = sorted(_files_below(root))
    table = _find_metadata(root, files)
    images, ambiguous = _index_images(files)
    rows: list[ImageRow] = []
    problems: list[str] = []
    for where, record in _records(table):
        row, bad = _check(where, record, images, ambiguous)
        problems.extend(bad)
        if row is not None:
            rows.append(row)
    return build_dataset(rows, name=name, root=root, demo=demo, problems=problems)


def _files_below(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            # A link to nowhere is no file: its row is then reported like that of any missing image.
            if (path := Path(folder, name)).is_file():
                yield path


def _find_metadata(root: Path, files: list[Path]) -> Path:
    suffixes = {"", ".csv", ".tsv", ".tab", ".txt"}
    found = [path for path in files if path.stem.lower() == "ham10000_metadata" and path.suffix.lower() in suffixes]
    if not found:
        names = sorted({path.name for path in root.iterdir()})
        raise DataError(
            f"{root}: no HAM10000_metadata table (.csv, .tsv, .tab or no extension) in it or below it. "
            f"It holds: {', '.join(names[:8]) or 'nothing'}{' ...' if len(names) > 8 else ''}"
        )
    if len({path.read_bytes() for path in found}) > 1:
        raise DataError(
            f"{root}: several metadata tables that differ; keep one:\n" + list_rows([str(p) for p in found])
        )
    return found[0]


def _index_images(files: list[Path]) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    """Map each file stem to its image; stems with several files that differ in size are returned apart.

    One mirror ships every image twice, in folders whose names differ only in case: equal sizes are accepted.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            by_stem.setdefault(path.stem, []).append(path)
    several = {stem: paths for stem, paths in by_stem.items() if len(paths) > 1}
    ambiguous = {stem: paths for stem, paths in several.items() if len({path.stat().st_size for path in paths}) > 1}
    return {stem: paths[0] for stem, paths in by_stem.items() if stem not in ambiguous}, ambiguous


def _records(table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{table}: is not UTF-8 text ({error}); save it as UTF-8") from error
    header = text.partition("\n")[0]
    # Strict: a quote that is never closed would otherwise swallow the rows after it.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in header else ",", strict=True)
    columns = [column.strip().lower() for column in _fields(table, reader)]
    if missing := [column for column in REQUIRED if column not in columns]:
        raise DataError(
            f"{table}: unknown column layout: {', '.join(missing)} missing. "
            f"Needed: {', '.join(REQUIRED)}; also read: {', '.join(OPTIONAL)}. Found: {', '.join(columns) or 'nothing'}"
        )
    reader.fieldnames = columns
    whole = reader.line_num
    try:
        for record in reader:
            whole = reader.line_num
            yield f"{table.name}, row {whole}", {key: (record.get(key) or "").strip() for key in (*REQUIRED, *OPTIONAL)}
    except csv.Error as error:
        raise _unreadable(table, whole + 1, error) from error


def _fields(table: Path, reader: csv.DictReader[str]) -> Sequence[str]:
    try:
        return reader.fieldnames or []
    except csv.Error as error:
        raise _unreadable(table, 1, error) from error


def _unreadable(table: Path, row: int, error: csv.Error) -> DataError:
    return DataError(f"{table}, row {row}: cannot be read ({error}); is a quote left open there?")


def _check(
    where: str, record: dict[str, str], images: dict[str, Path], ambiguous: dict[str, list[Path]]
) -> tuple[ImageRow | None, list[str]]:
    """Return the row, or None and what is wrong with it."""
    image_id = record["image_id"]
    problems = [f"{where}: {column} is empty" for column in REQUIRED if not record[column]]
    problems.extend(
        f"{where}: {column} {record[column]!r} is no plain id (letters, digits, dot, underscore, hyphen)"
        for column in REQUIRED
        if record[column] and not _ID.fullmatch(record[column])
    )
    age = _age(record["age"])
    if age is None:
        problems.append(f"{where}: age {record['age']!r} is no number from 0 to 120 (leave it empty when unknown)")
    if image_id in ambiguous:
        paths = ", ".join(str(path) for path in ambiguous[image_id])
        problems.append(f"{where}: image {image_id} has several different files: {paths}")
    elif not problems and image_id not in images:
        problems.append(f"{where}: image {image_id} is not below the folder (looked for {image_id}.jpg, .png, ...)")
    if problems or age is None:
        return None, problems
    return ImageRow(
        where=where,
        image_id=image_id,
        lesion_id=record["lesion_id"],
        diagnosis=record["dx"],
        dx_type=record["dx_type"],
        age=age,
        sex=record["sex"],
        localization=record["localization"],
        path=images[image_id],
    ), []


def _age(text: str) -> float | None:
    """Return years, NaN for a missing age, None for one that makes no sense."""
    if text.lower() in ("", "unknown", "nan", "na"):
        return math.nan
    try:
        age = float(text)
    except ValueError:
        return None
    return age if 0 <= age <= 120 else None
