"""All layouts, and the choice between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from cv_folds.data.dataset import LesionDataset, build_dataset
from cv_folds.data.readers.class_folders import FOLDERS
from cv_folds.data.readers.ham10000 import HAM10000
from cv_folds.data.readers.isic2018 import ISIC2018
from cv_folds.data.readers.isic2019 import ISIC2019
from cv_folds.data.readers.listing import Listing, scan
from cv_folds.data.readers.plain_csv import CSV
from cv_folds.data.readers.reader import Reader
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import DataError, UsageError

AUTO = "auto"
"""Choose the layout by looking at the folder."""

PUBLISHED: Mapping[str, Reader] = {"ham10000": HAM10000, "isic2018": ISIC2018, "isic2019": ISIC2019}
"""Layouts with file names of their own, first those that are preferred."""
OWN: Mapping[str, Reader] = {"csv": CSV, "folders": FOLDERS}
"""Layouts that only their form tells; looked for when no published one is there."""
READERS: Mapping[str, Reader] = {**PUBLISHED, **OWN}
"""All layouts by name."""
FORMATS = (AUTO, *READERS)
"""What ``--format`` takes."""


def read_dataset(
    root: Path,
    *,
    layout: str = AUTO,
    columns: ColumnSettings | None = None,
    name: str | None = None,
    demo: bool = False,
) -> LesionDataset:
    """Read a folder of any layout.

    Parameters
    ----------
    root : Path
        The folder.
    layout : str
        One of `FORMATS`.
    columns : ColumnSettings, optional
        Which columns a plain table, or a table of groups, has.
    name : str, optional
        Name for titles and run folders; that of the folder when not given.
    demo : bool
        Marks the generated demo set.

    Returns
    -------
    LesionDataset
        With the notes of the reader, and the layout that was read.

    Raises
    ------
    UsageError
        When there is no such layout, or it has not the columns that are set.
    DataError
        When the folder is missing, is of no layout that is known, or has bad rows: all bad rows at once.
    """
    if layout not in FORMATS:
        raise UsageError(f"--format {layout}: there are {', '.join(FORMATS)}")
    settings = ColumnSettings() if columns is None else columns
    listing = scan(root)
    notes: list[str] = []
    if layout == AUTO:
        layout, *others = _recognise(listing, settings)
        notes.extend(f"the folder can also be read with --format {other}; read as {layout}" for other in others)
    reader = READERS[layout]
    if unread := [f"columns.{role}={name}" for role, name in settings.named().items() if role not in reader.columns]:
        raise UsageError(
            f"--set {' '.join(unread)}: not read from a folder in the layout {layout}; leave it out, or read the "
            "folder as a table of your own with --format csv"
        )
    reading = reader.read(listing, settings)
    if parts := Counter(row.part for row in reading.rows if row.part):
        counts = ", ".join(f"{part} {parts[part]}" for part in ("train", "val", "test") if part in parts)
        notes.append(f"the data have a split of their own, and all of its parts are read: {counts}")
    return build_dataset(
        reading.rows,
        name=root.name if name is None else name,
        root=root,
        demo=demo,
        problems=reading.problems,
        layout=layout,
        notes=(*notes, *reading.notes),
    )


def _recognise(listing: Listing, settings: ColumnSettings) -> list[str]:
    """Return the layouts that fit, the one to read first."""
    if found := [name for name, reader in PUBLISHED.items() if reader.recognises(listing, settings)]:
        return found
    for name, reader in OWN.items():
        if reader.recognises(listing, settings):
            return [name]
    if settings.named() and listing.images:
        # Whoever names columns has a table in mind: what is wrong with it says more than what was looked for.
        return ["csv"]
    looked_for = "\n".join(f"  {name}: {reader.looks_for}" for name, reader in READERS.items())
    raise DataError(
        f"{listing.root}: no layout that is known. Looked for:\n{looked_for}\nThere is:\n{listing.describe()}\n"
        "Name the folder that holds such files, or force a layout with --format."
    )
