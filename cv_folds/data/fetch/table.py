"""Whether a downloaded table is the table, and names the images that were downloaded with it.

Dataverse lists the checksum of another form of it, so the content itself is looked at.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from cv_folds.data.fetch.published import PublishedSet
from cv_folds.errors import DataError, list_rows
from cv_folds.text_table import read_text_table

COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")

_IMAGE_ID = re.compile(r"ISIC_[0-9]{7}")


def read_image_ids(path: Path) -> tuple[str, ...]:
    """Return the image ids of a table of HAM10000's columns, separated by tabs or commas.

    Raises
    ------
    DataError
        When it is no such table, or rows are bad: all of them at once.
    """
    try:
        table = read_text_table(path)
    except DataError as error:
        raise DataError(f"{error}\nIt is not the published table; delete it and run the same command again") from error
    columns = [column.strip().lower() for column in table.rows[0]] if table.rows else []
    if missing := [column for column in COLUMNS if column not in columns]:
        raise _no_table(path, f"its first line lacks {', '.join(missing)}")
    place = columns.index("image_id")
    rows: list[str] = []
    bad: list[str] = []
    for cells, line in zip(table.rows[1:], table.lines[1:], strict=True):
        name = cells[place].strip() if place < len(cells) else ""
        if len(cells) != len(columns):
            bad.append(f"row {line}: has another number of cells than the first line")
        elif not _IMAGE_ID.fullmatch(name):
            bad.append(f"row {line}: {name!r} is no image id")
        rows.append(name)
    if bad:
        raise _no_table(path, f"\n{list_rows(bad)}")
    return tuple(rows)


def check_table(path: Path, images: frozenset[str], published: PublishedSet) -> None:
    """Check that a table names every image once, and none but these.

    Parameters
    ----------
    path : Path
        The table.
    images : frozenset of str
        Ids of the images that are there.
    published : PublishedSet
        Which ids may lack an image.

    Raises
    ------
    DataError
        With all ids that do not agree.
    """
    counts = Counter(read_image_ids(path))
    named = frozenset(counts)
    problems = [f"{name} has {count} rows" for name, count in counts.items() if count > 1]
    problems += [f"{name} has no image" for name in sorted(named - images - published.without_image)]
    problems += [f"{name}, an image, has no row" for name in sorted(images - named)]
    if problems:
        raise DataError(
            f"{path}: table and images do not belong together; delete what is wrong and run the same command again:\n"
            f"{list_rows(problems)}"
        )


def _no_table(path: Path, why: str) -> DataError:
    return DataError(f"{path}: is not the published table ({why}); delete it and run the same command again")
