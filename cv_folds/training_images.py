"""Which images a network learned from, so that it is never tested on one of them elsewhere.

Ids, lesion ids and checksums only: the list goes with a predictor to places where the images do not.
"""

from __future__ import annotations

import csv
import io
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cv_folds.arrays import BoolArray, StrArray, duplicates, frozen
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import DataError, list_rows
from cv_folds.files import sha256, write_text
from cv_folds.splits import TEST, Folds
from cv_folds.text_table import read_text_table

TRAINING_IMAGES_FILE = "training_images.csv"
"""Name of the list in a run folder and in a bundle."""

COLUMNS = ("image_id", "lesion_id", "sha256")
"""Its header."""

_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """What was learned from, joined to everything else by image id."""

    image_ids: StrArray
    """(n,) unique image ids."""
    lesion_ids: StrArray
    """(n,) lesion ids as the data give them; empty where they give none."""
    digests: StrArray
    """(n,) SHA-256 of the image files, as 64 hexadecimal digits."""

    def __post_init__(self) -> None:
        if again := duplicates(self.image_ids.tolist()):
            raise DataError("image ids that occur more than once:\n" + list_rows(again))
        assert self.image_ids.shape == self.lesion_ids.shape == self.digests.shape

    def __len__(self) -> int:
        return len(self.image_ids)

    @classmethod
    def of_folds(cls, dataset: LesionDataset, folds: Folds, *, workers: int) -> TrainingImages:
        """Return the images that any network of a run learns from: all but the test part of a hold-out.

        Parameters
        ----------
        dataset : LesionDataset
            The data of the run, in the order of `folds`; all files are read.
        folds : Folds
            Its division.
        workers : int
            Threads.
        """
        assert dataset.image_ids.tolist() == folds.image_ids.tolist()
        learned: BoolArray = folds.folds != TEST if folds.holdout else np.ones(len(dataset), dtype=np.bool_)
        part = dataset.select(learned)
        return cls(
            image_ids=part.image_ids,
            lesion_ids=frozen(np.where(part.lesion_given, part.lesion_ids, ""), np.str_),
            digests=file_digests(part.paths, workers=workers),
        )

    def write_csv(self, path: Path) -> None:
        """Write the columns of `COLUMNS` atomically."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        columns = (self.image_ids.tolist(), self.lesion_ids.tolist(), self.digests.tolist())
        writer.writerows(zip(*columns, strict=True))
        write_text(path, text.getvalue())

    @classmethod
    def read_csv(cls, path: Path) -> TrainingImages:
        """Read what `write_csv` wrote.

        Raises
        ------
        DataError
            When the file is missing or damaged; the message names the row.
        """
        table = read_text_table(path)
        rows = table.rows
        if not rows or rows[0] != COLUMNS or len(rows) == 1:
            raise DataError(f"{path}: needs the columns {', '.join(COLUMNS)} and rows")
        bad = [
            f"row {line}: {','.join(row)}"
            for row, line in zip(rows[1:], table.lines[1:], strict=True)
            if len(row) != len(COLUMNS) or not row[0] or not _DIGEST.fullmatch(row[2])
        ]
        if bad:
            raise DataError(f"{path}: rows that are no image id, lesion id and SHA-256:\n{list_rows(bad)}")
        image_ids, lesion_ids, digests = (frozen(column, np.str_) for column in zip(*rows[1:], strict=True))
        return cls(image_ids=image_ids, lesion_ids=lesion_ids, digests=digests)


def file_digests(paths: tuple[Path, ...], *, workers: int) -> StrArray:
    """Return the (n,) SHA-256 of files as 64 hexadecimal digits each."""
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return frozen(list(pool.map(sha256, paths)), np.str_)
