"""The screen of ``hamcv data info``: what was understood of a folder."""

from __future__ import annotations

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.columns import Columns
from rich.console import Console
from rich.table import Table

from cv_folds.data.dataset import LesionDataset
from cv_folds.data.survey import DatasetSurvey, survey
from cv_folds.errors import DataError, list_rows
from cv_folds.scheduling.threads import cpu_cores
from hamcv.image_progress import image_progress
from hamcv.screens import show_demo_banner, show_notes

PARTS = ("train", "val", "test")
MOST_ROWS = 8


def show_dataset(dataset: LesionDataset, console: Console, progress: Console) -> None:
    """Print what a reader understood, and decode every image to find unreadable ones.

    Parameters
    ----------
    dataset : LesionDataset
        What was read.
    console : rich.console.Console
        For the result.
    progress : rich.console.Console
        For a bar while the images are decoded.

    Raises
    ------
    DataError
        After everything was printed, when images cannot be decoded.
    """
    with image_progress("reading images", len(dataset), progress) as bars:
        task = bars.task_ids[0]
        found = survey(dataset, workers=cpu_cores(), on_image=lambda: bars.advance(task))
    if dataset.demo:
        show_demo_banner(console)
    console.print(f"{dataset.root}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"layout {dataset.layout}: {len(dataset)} images of {dataset.n_lesions} lesions, {len(dataset.classes)} "
        f"classes, fingerprint {dataset.fingerprint[:16]}",
        highlight=False,
        soft_wrap=True,
    )
    show_notes(dataset.notes, console)
    console.print(_classes(dataset))
    # Side by side as far as the terminal is wide enough.
    console.print(Columns([_lesions(found), _missing(found), _sizes(found)], padding=(0, 3)))
    if found.unreadable:
        raise DataError(f"{len(found.unreadable)} images cannot be used:\n" + list_rows(found.unreadable))
    console.print("every image can be read", highlight=False)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _classes(dataset: LesionDataset) -> Table:
    parts = [part for part in PARTS if (dataset.parts == part).any()]
    table = _table("class", "images", "share", "lesions", *parts)
    lesions = dataset.lesion_counts()
    for label, (name, images) in enumerate(dataset.class_counts().items()):
        of_class = dataset.labels == label
        in_parts = [str(int(np.sum(of_class & (dataset.parts == part)))) for part in parts]
        table.add_row(name, str(images), f"{images / len(dataset):.1%}", str(lesions[name]), *in_parts)
    totals = [str(int(np.sum(dataset.parts == part))) for part in parts]
    table.add_section()
    table.add_row("all", str(len(dataset)), "", str(dataset.n_lesions), *totals)
    return table


def _lesions(found: DatasetSurvey) -> Table:
    table = _table("images per lesion", "lesions", "images")
    rows = list(found.images_per_lesion.items())
    shown, rest = (rows, []) if len(rows) <= MOST_ROWS else (rows[: MOST_ROWS - 1], rows[MOST_ROWS - 1 :])
    for size, lesions in shown:
        table.add_row(str(size), str(lesions), str(size * lesions))
    if rest:
        images = sum(size * lesions for size, lesions in rest)
        lesions = sum(lesions for _, lesions in rest)
        table.add_row(f"{rest[0][0]} to {rest[-1][0]}", str(lesions), str(images))
    return table


def _missing(found: DatasetSurvey) -> Table:
    table = _table("column", "missing", "unknown")
    for column in found.columns:
        table.add_row(column.name, str(column.missing), str(column.unknown))
    return table


def _sizes(found: DatasetSurvey) -> Table:
    table = _table("size in pixels", "images")
    rows = list(found.sizes.items())
    for (width, height), images in rows[:MOST_ROWS]:
        table.add_row(f"{width}x{height}", str(images))
    if len(rows) > MOST_ROWS:
        table.add_row(f"{len(rows) - MOST_ROWS} more sizes", str(sum(images for _, images in rows[MOST_ROWS:])))
    if found.unreadable:
        table.add_row("unreadable", str(len(found.unreadable)))
    return table
