"""The table that reports are made from: out-of-fold probabilities of every backbone and every ensemble."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cv_folds.arrays import FloatArray, IntArray, StrArray, duplicates, frozen
from cv_folds.errors import DataError, list_rows
from cv_folds.files import write_atomically
from cv_folds.text_table import read_text_table

ModelKind: TypeAlias = Literal["backbone", "ensemble", "model"]
"""``model`` is one from elsewhere, of which nothing is known."""

ID_COLUMNS = ("image_id", "lesion_id", "group", "fold", "label")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Out-of-fold probabilities, one row an image.

    Raises
    ------
    DataError
        On construction, when an image occurs twice or a model's rows are not finite probabilities that sum to 1.
    """

    image_ids: StrArray
    """(n,) image ids."""
    lesion_ids: StrArray
    """(n,) lesion ids as the data give them."""
    groups: StrArray
    """(n,) groups that every interval resamples as a whole."""
    folds: IntArray
    """(n,) the fold that held the image out, counted from 0."""
    labels: IntArray
    """(n,) index into `classes`."""
    classes: tuple[str, ...]
    """Class names in column order."""
    probabilities: Mapping[str, FloatArray]
    """Model name to (n, n_classes) probabilities; the backbones first, then the ensembles."""
    kinds: Mapping[str, ModelKind]
    """Model name to its kind; the keys of `probabilities`."""

    def __post_init__(self) -> None:
        if again := duplicates(self.image_ids.tolist()):
            raise DataError("images predicted twice:\n" + list_rows(again))
        for model, rows in self.probabilities.items():
            if rows.shape != (len(self.image_ids), len(self.classes)):
                raise DataError(f"{model}: probabilities of shape {rows.shape} for {len(self.image_ids)} images")
            good = np.isfinite(rows).all(axis=1) & (rows >= 0).all(axis=1) & (abs(rows.sum(axis=1) - 1) < 1e-6)
            if not good.all():
                raise DataError(
                    f"{model}: rows that are not probabilities summing to 1:\n"
                    + list_rows(self.image_ids[~good].tolist())
                )

    def write_csv(self, path: Path, *, folds: bool = True) -> None:
        """Write the columns of the run-folder contract, with every digit of the probabilities, atomically.

        Parameters
        ----------
        path : Path
            The file.
        folds : bool
            Whether there are any; images from elsewhere were held out by no fold, and the column is left away.
        """
        columns: dict[str, NDArray[Any]] = {
            "image_id": self.image_ids,
            "lesion_id": self.lesion_ids,
            "group": self.groups,
            **({"fold": self.folds} if folds else {}),
            "label": np.array(self.classes)[self.labels],
            **{
                f"{model}/{name}": rows[:, index]
                for model, rows in self.probabilities.items()
                for index, name in enumerate(self.classes)
            },
        }

        def write(partial: Path) -> None:
            with partial.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(columns)
                # A double is written as its repr: the shortest text that reads back to the same double.
                writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))

        write_atomically(path, write)

    @classmethod
    def read_csv(cls, path: Path, kinds: Mapping[str, ModelKind]) -> Predictions:
        """Read what `write_csv` wrote.

        Parameters
        ----------
        path : Path
            A ``predictions.csv``.
        kinds : mapping of str to {"backbone", "ensemble"}
            The kind of every model in the file.

        Raises
        ------
        DataError
            When the file is missing, damaged or lacks columns, or a row is no probability vector.
        """
        if not path.is_file():
            raise DataError(f"{path} is missing; `hamcv run` writes it when all jobs are done")
        try:
            frame = pd.DataFrame(read_text_table(path).columns(), dtype=str)
        except DataError as error:
            raise DataError(f"{error}\nRun `hamcv ensemble` on its folder again") from error
        try:
            return cls._from_frame(frame, path, kinds)
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            # numpy reports texts that are no numbers so.
            raise DataError(f"{path} cannot be read ({error}); run `hamcv ensemble` on its folder again") from error

    @classmethod
    def _from_frame(cls, frame: pd.DataFrame, path: Path, kinds: Mapping[str, ModelKind]) -> Predictions:
        if absent := [name for name in ID_COLUMNS if name not in frame.columns]:
            raise DataError(f"{path}: missing columns {', '.join(absent)}")
        models: dict[str, dict[str, FloatArray]] = {}
        for column in frame.columns[len(ID_COLUMNS) :]:
            model, _, name = str(column).rpartition("/")
            models.setdefault(model, {})[name] = frame[column].to_numpy(dtype=np.float64)
        classes = tuple(next(iter(models.values()), {}))
        if not classes or any(tuple(columns) != classes for columns in models.values()):
            raise DataError(f"{path}: every model needs one column a class, named MODEL/CLASS, in the same order")
        if absent := [name for name in models if name not in kinds]:
            raise DataError(f"{path}: unknown models {', '.join(absent)}")
        index = {name: label for label, name in enumerate(classes)}
        if unknown := sorted(set(frame["label"]) - index.keys()):
            raise DataError(f"{path}: labels without a column: {', '.join(unknown)}")
        return cls(
            image_ids=frozen(frame["image_id"], np.str_),
            lesion_ids=frozen(frame["lesion_id"], np.str_),
            groups=frozen(frame["group"], np.str_),
            folds=frozen(frame["fold"].astype(int), np.int64),
            labels=frozen([index[name] for name in frame["label"]], np.int64),
            classes=classes,
            probabilities={
                model: frozen(np.stack([columns[name] for name in classes], axis=1))
                for model, columns in models.items()
            },
            kinds={model: kinds[model] for model in models},
        )
