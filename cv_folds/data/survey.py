"""What is in a dataset, counted once for whoever shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cv_folds.arrays import StrArray
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import DataError
from cv_folds.images import check_image

UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class ColumnSurvey:
    """How complete one column is."""

    name: str
    """Name of the column."""
    missing: int
    """Images without a value."""
    unknown: int
    """Images whose value is the word ``unknown``."""


@dataclass(frozen=True, kw_only=True)
class DatasetSurvey:
    """Counts of a dataset."""

    images_per_lesion: dict[int, int]
    """Number of images to the number of lesions that have as many, ascending."""
    columns: tuple[ColumnSurvey, ...]
    """The lesion and the clinical metadata."""
    sizes: dict[tuple[int, int], int]
    """(width, height) in pixels to the number of images, most frequent first; without the unreadable ones."""
    unreadable: tuple[str, ...]
    """One message for each image that cannot be decoded."""


def survey(dataset: LesionDataset, *, workers: int, on_image: Callable[[], object] | None = None) -> DatasetSurvey:
    """Count what is in a dataset and try to decode every image.

    Parameters
    ----------
    dataset : LesionDataset
        What to look at.
    workers : int
        Threads that decode side by side; Pillow releases the interpreter lock while it decodes.
    on_image : callable, optional
        Called after each image, from any thread; for a progress bar.
    """
    per_lesion = Counter(Counter(dataset.lesion_ids.tolist()).values())
    sizes: Counter[tuple[int, int]] = Counter()
    unreadable = []

    def look(path: Path) -> tuple[int, int] | str:
        try:
            return check_image(path)
        except DataError as error:
            return str(error)
        finally:
            if on_image is not None:
                on_image()

    with ThreadPoolExecutor(max_workers=workers) as pool:
        for answer in pool.map(look, dataset.paths):
            if isinstance(answer, str):
                unreadable.append(answer)
            else:
                sizes[answer] += 1
    return DatasetSurvey(
        images_per_lesion=dict(sorted(per_lesion.items())),
        columns=_columns(dataset),
        sizes=dict(sizes.most_common()),
        unreadable=tuple(unreadable),
    )


def _columns(dataset: LesionDataset) -> tuple[ColumnSurvey, ...]:
    def words(name: str, values: StrArray) -> ColumnSurvey:
        lower = np.char.lower(values)
        return ColumnSurvey(name=name, missing=int((lower == "").sum()), unknown=int((lower == UNKNOWN).sum()))

    return (
        ColumnSurvey(name="lesion", missing=int((~dataset.lesion_given).sum()), unknown=0),
        words("dx_type", dataset.dx_types),
        ColumnSurvey(name="age", missing=int(np.isnan(dataset.ages).sum()), unknown=0),
        words("sex", dataset.sexes),
        words("localization", dataset.localizations),
    )
