"""Out-of-fold logits: one file a job, and the pooled table that refuses gaps and repeats."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cv_folds.arrays import FloatArray, IntArray, StrArray, duplicates, frozen, positions
from cv_folds.errors import DataError, list_rows
from cv_folds.files import write_atomically
from cv_folds.held_out import fold_words, held_out_folds
from cv_folds.splits import Folds


@dataclass(frozen=True, kw_only=True)
class FoldLogits:
    """What one backbone, trained without a fold or two, says about the images that it had not seen."""

    backbone: str
    """Name in the backbone registry."""
    fold: int
    """The fold that was held out, counted from 0."""
    classes: tuple[str, ...]
    """Column order of `logits`."""
    image_ids: StrArray
    """(n,) ids of the held-out images."""
    logits: FloatArray
    """(n, n_classes) raw outputs of the network, before any softmax."""
    second: int | None = None
    """Another fold that was held out too, with a larger number; None for none."""

    @property
    def held_out(self) -> tuple[int, ...]:
        """The folds that the network was trained without, and whose images it predicts."""
        return held_out_folds(self.fold, self.second)

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.backbone}, {fold_words(self.held_out)}"

    def __post_init__(self) -> None:
        if self.logits.shape != (len(self.image_ids), len(self.classes)):
            raise DataError(
                f"{self.name}: logits of shape {self.logits.shape} for "
                f"{len(self.image_ids)} images and {len(self.classes)} classes"
            )
        bad = ~np.isfinite(self.logits).all(axis=1)
        if bad.any():
            raise DataError(
                f"{self.name}: the logits of {int(bad.sum())} images are not finite:\n"
                + list_rows([str(name) for name in self.image_ids[bad]])
            )

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file (no pickle inside) atomically."""
        arrays: dict[str, Any] = {
            "backbone": np.array(self.backbone),
            "fold": np.array(self.fold),
            "classes": np.array(self.classes),
            "image_ids": self.image_ids,
            "logits": self.logits,
        }
        if self.second is not None:
            arrays["second"] = np.array(self.second)

        def write(partial: Path) -> None:
            with partial.open("wb") as stream:
                np.savez(stream, **arrays)

        write_atomically(path, write)

    @classmethod
    def load(cls, path: Path) -> FoldLogits:
        """Read what `save` wrote; a damaged file raises `DataError` that names it."""
        mend = "delete its folder and run again"
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path} is no out-of-fold file (missing, cut off or of another kind); {mend}")
        try:
            # numpy leaves a file that it opened itself open when the archive turns out to be damaged
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return cls(
                    backbone=str(stored["backbone"]),
                    fold=int(stored["fold"]),
                    classes=tuple(str(name) for name in stored["classes"]),
                    image_ids=frozen(stored["image_ids"], np.str_),
                    logits=frozen(stored["logits"], np.float64),
                    second=int(stored["second"]) if "second" in stored else None,
                )
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            if isinstance(error, DataError):
                raise
            # RuntimeError: zipfile's word for flags and methods that only damage can have set.
            raise DataError(f"{path} is no out-of-fold file ({error}); {mend}") from error


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """Every image of a run with the logits that each backbone gave while it had not seen that image."""

    image_ids: StrArray
    """(n,) image ids, in the order of ``folds.csv``."""
    lesion_ids: StrArray
    """(n,) lesion ids as the data give them."""
    groups: StrArray
    """(n,) what must stay together in every split: the lesion, or several merged lesions."""
    labels: IntArray
    """(n,) index into `classes`."""
    folds: IntArray
    """(n,) the fold that holds the image out, counted from 0."""
    classes: tuple[str, ...]
    """Class names in column order."""
    backbones: tuple[str, ...]
    """Backbone names, in the order of the second axis of `logits`."""
    logits: FloatArray
    """(n, n_backbones, n_classes) out-of-fold logits."""
    leaks: bool = False
    """`Folds.leaks`."""


def pool(
    folds: Folds, parts: Iterable[FoldLogits], backbones: Sequence[str], *, held_out: Sequence[int] | None = None
) -> OutOfFold:
    """Join the jobs' logits by image id into one table.

    Parameters
    ----------
    folds : Folds
        Which image belongs to which fold.
    parts : iterable of FoldLogits
        One for every backbone and fold, in any order.
    backbones : sequence of str
        The backbones that must be there; fixes the order of the second axis.
    held_out : sequence of int, optional
        The folds that were predicted; `Folds.held_out` when not given.

    Returns
    -------
    OutOfFold
        Of the images of these folds, which are all images in a cross-validation.

    Raises
    ------
    DataError
        When a (backbone, fold) is missing, given twice or unknown, an image is predicted twice, never, or
        by a model whose training included it, or the class order differs.
    """
    predicted = folds.held_out if held_out is None else tuple(held_out)
    by_job = one_of_each(parts, [(backbone, (fold,)) for backbone in backbones for fold in predicted])
    logits = np.empty((len(folds.image_ids), len(backbones), len(folds.classes)))
    for column, backbone in enumerate(backbones):
        for fold in predicted:
            rows = np.flatnonzero(folds.folds == fold)
            logits[rows, column] = held_out_logits(by_job[backbone, (fold,)], folds, rows)
    inside = np.isin(folds.folds, predicted)
    return OutOfFold(
        image_ids=frozen(folds.image_ids[inside]),
        lesion_ids=frozen(folds.lesion_ids[inside]),
        groups=frozen(folds.groups[inside]),
        labels=frozen(folds.labels[inside]),
        folds=frozen(folds.folds[inside]),
        classes=folds.classes,
        backbones=tuple(backbones),
        logits=frozen(logits[inside]),
        leaks=folds.leaks,
    )


def one_of_each(
    parts: Iterable[FoldLogits], wanted: Iterable[tuple[str, tuple[int, ...]]]
) -> dict[tuple[str, tuple[int, ...]], FoldLogits]:
    """Return the jobs' logits by backbone and held-out folds, after checking that there is one of each.

    Parameters
    ----------
    parts : iterable of FoldLogits
        In any order.
    wanted : iterable of (str, tuple of int)
        The backbone and the held-out folds of every job.

    Raises
    ------
    DataError
        When a job is missing, given twice or unknown.
    """
    by_job: dict[tuple[str, tuple[int, ...]], FoldLogits] = {}
    for part in parts:
        if (part.backbone, part.held_out) in by_job:
            raise DataError(f"{part.name}: predicted twice")
        by_job[part.backbone, part.held_out] = part
    expected = set(wanted)
    if missing := sorted(expected - by_job.keys()):
        raise DataError(
            "these jobs have no out-of-fold predictions; run again to finish them:\n"
            + list_rows([f"{backbone}, {fold_words(held_out)}" for backbone, held_out in missing])
        )
    if unknown := sorted(by_job.keys() - expected):
        raise DataError(
            "predictions of jobs that do not belong to this run:\n" + list_rows([by_job[key].name for key in unknown])
        )
    return by_job


def held_out_logits(part: FoldLogits, folds: Folds, rows: IntArray) -> FloatArray:
    """Return the logits of one job in the order of `rows`, after checking that it holds just those images."""
    name = part.name
    if part.classes != folds.classes:
        raise DataError(f"{name}: its classes {list(part.classes)} are not the run's {list(folds.classes)}")
    if again := duplicates(part.image_ids.tolist()):
        raise DataError(f"{name}: images predicted twice:\n" + list_rows(again))
    inside = folds.image_ids[rows]
    if never := sorted(set(inside.tolist()) - set(part.image_ids.tolist())):
        raise DataError(f"{name}: images never predicted:\n" + list_rows(never))
    if foreign := sorted(set(part.image_ids.tolist()) - set(inside.tolist())):
        raise DataError(f"{name}: images of another fold, which its model was trained on:\n" + list_rows(foreign))
    return part.logits[positions(part.image_ids, inside)]
