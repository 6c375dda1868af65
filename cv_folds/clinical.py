"""What the data say about the patient beside the picture: age, sex, body site, and how the diagnosis was confirmed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray, duplicates, frozen, positions
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import DataError, list_rows
from cv_folds.files import write_text
from cv_folds.text_table import TextTable, read_text_table

METADATA_FILE = "metadata.csv"
"""Name of the table in a run folder."""

COLUMNS = ("image_id", "age", "sex", "localization", "dx_type")
"""Its header."""

_MEND = "delete it to go on without clinical values, or write it again with `hamcv run` and the same settings"


@dataclass(frozen=True, kw_only=True)
class ClinicalTable:
    """Clinical values of some images, joined to everything else by image id."""

    image_ids: StrArray
    """(n,) unique image ids."""
    ages: FloatArray
    """(n,) age in years; NaN where not known."""
    sexes: StrArray
    """(n,) as given; empty where not known."""
    localizations: StrArray
    """(n,) body site as given; empty where not known."""
    dx_types: StrArray
    """(n,) how the diagnosis was confirmed; empty where not known. Never an input of a model: a doctor decides it
    after looking at the lesion."""

    def __post_init__(self) -> None:
        if again := duplicates(self.image_ids.tolist()):
            raise DataError("image ids that occur more than once:\n" + list_rows(again))
        assert {column.shape for column in (self.ages, self.sexes, self.localizations, self.dx_types)} == {
            self.image_ids.shape
        }

    @classmethod
    def of_dataset(cls, dataset: LesionDataset) -> ClinicalTable:
        """Return the clinical values of all images of a dataset; the word ``unknown`` counts as not known."""
        return cls(
            image_ids=dataset.image_ids,
            ages=dataset.ages,
            sexes=_known(dataset.sexes.tolist()),
            localizations=_known(dataset.localizations.tolist()),
            dx_types=_known(dataset.dx_types.tolist()),
        )

    @classmethod
    def blank(cls, image_ids: StrArray) -> ClinicalTable:
        """Return a table in which nothing is known about any of the (n,) images."""
        nothing = frozen([""] * len(image_ids), np.str_)
        return cls(
            image_ids=image_ids,
            ages=frozen([math.nan] * len(image_ids), np.float64),
            sexes=nothing,
            localizations=nothing,
            dx_types=nothing,
        )

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def empty(self) -> bool:
        """Whether no image has an age, a sex or a body site."""
        return bool(np.isnan(self.ages).all() and (self.sexes == "").all() and (self.localizations == "").all())

    def take(self, image_ids: Sequence[str] | StrArray) -> ClinicalTable:
        """Return the rows of these images in this order.

        Raises
        ------
        DataError
            When the table lacks one of them.
        """
        known = set(self.image_ids.tolist())
        if missing := [str(name) for name in image_ids if str(name) not in known]:
            raise DataError("images without a row of clinical values:\n" + list_rows(missing))
        return self.rows(positions(self.image_ids, image_ids))

    def rows(self, which: IntArray | BoolArray) -> ClinicalTable:
        """Return the rows that an index or a mask selects."""
        return ClinicalTable(
            image_ids=frozen(self.image_ids[which]),
            ages=frozen(self.ages[which]),
            sexes=frozen(self.sexes[which]),
            localizations=frozen(self.localizations[which]),
            dx_types=frozen(self.dx_types[which]),
        )

    def write_csv(self, path: Path) -> None:
        """Write the columns of `COLUMNS` atomically; cells are empty where nothing is known."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        ages = [_age_text(age) for age in self.ages.tolist()]
        columns = (self.sexes.tolist(), self.localizations.tolist(), self.dx_types.tolist())
        writer.writerows(zip(self.image_ids.tolist(), ages, *columns, strict=True))
        write_text(path, text.getvalue())

    @classmethod
    def read_csv(cls, path: Path) -> ClinicalTable:
        """Read what `write_csv` wrote.

        Raises
        ------
        DataError
            When the file is missing or damaged; the message names the row.
        """
        table = _records(path)
        rows = table.rows[1:]
        ages = [_age(row[1]) for row in rows]
        if bad := [
            f"row {line}: age {row[1]!r}"
            for line, row, age in zip(table.lines[1:], rows, ages, strict=True)
            if age is None
        ]:
            raise DataError(f"{path}: ages that are no finite number; {_MEND}:\n{list_rows(bad)}")
        image_ids, _, sexes, localizations, dx_types = zip(*rows, strict=True)
        try:
            return cls(
                image_ids=frozen(image_ids, np.str_),
                ages=frozen(ages, np.float64),
                sexes=_known(sexes),
                localizations=_known(localizations),
                dx_types=_known(dx_types),
            )
        except DataError as error:
            raise DataError(f"{path}: {error}\n{_MEND}") from error


def read_clinical(path: Path, image_ids: StrArray) -> ClinicalTable:
    """Return the clinical values of some images of a run.

    Parameters
    ----------
    path : Path
        The ``metadata.csv`` of the run; without it nothing is known about any image.
    image_ids : (n,) array of str
        Whose rows, in this order.

    Raises
    ------
    DataError
        When the file is damaged or lacks one of the images.
    """
    if not path.exists():
        return ClinicalTable.blank(image_ids)
    table = ClinicalTable.read_csv(path)
    try:
        return table.take(image_ids)
    except DataError as error:
        raise DataError(f"{path}: {error}\n{_MEND}") from error


def _records(path: Path) -> TextTable:
    try:
        table = read_text_table(path)
    except DataError as error:
        raise DataError(f"{error}; {_MEND}") from error
    if not table.rows or table.rows[0] != COLUMNS or len(table.rows) == 1:
        raise DataError(f"{path}: needs the columns {', '.join(COLUMNS)} and rows; {_MEND}")
    if bad := [
        f"row {line}: {','.join(row)}"
        for row, line in zip(table.rows, table.lines, strict=True)
        if len(row) != len(COLUMNS)
    ]:
        raise DataError(f"{path}: rows that do not have {len(COLUMNS)} cells; {_MEND}:\n{list_rows(bad)}")
    return table


def _known(values: Sequence[str]) -> StrArray:
    return frozen(["" if value.strip().lower() == "unknown" else value for value in values], np.str_)


def _age(text: str) -> float | None:
    if not text:
        return math.nan
    try:
        age = float(text)
    except ValueError:
        return None
    return age if math.isfinite(age) else None


def _age_text(age: float) -> str:
    if math.isnan(age):
        return ""
    return str(int(age)) if age.is_integer() else repr(age)
