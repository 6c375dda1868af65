"""Whether runs can be paired image by image, what speaks against it, and the pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from scipy.optimize import linear_sum_assignment

from cv_folds.arrays import BoolArray, IntArray, StrArray, frozen, positions
from cv_folds.errors import UsageError
from ensemble.predictions import Predictions
from reports.compared_run import ComparedRun
from reports.wording import count, listing, plural

Aspect: TypeAlias = Literal["classes", "images", "labels", "lesions", "groups", "folds", "files"]
"""What two runs may differ in."""
Allowable: TypeAlias = Literal["folds", "files"]
"""What they may differ in and still be paired image by image, if that is asked for."""

MOST_ROWS = 3

_MENDS: dict[Aspect, str] = {
    "classes": "Scores over different classes cannot be compared; run both on the same classes.",
    "images": "Run both on the same data with the same limit_lesions and protocol, or compare without pairs "
    "(--unpaired).",
    "labels": "Run both on the same table of diagnoses, or compare without pairs (--unpaired).",
    "lesions": "Run both on the same table of lesions, or compare without pairs (--unpaired).",
    "groups": "Run both with the same settings of the audit, so that the same lesions are merged, or compare without "
    "pairs (--unpaired).",
    "folds": "Repeat one run with the folds of the other (--folds-file RUN/folds.csv), or pair the images all the "
    "same, without the test over folds (--allow-different folds).",
    "files": "Run both on the same files, or pair the images all the same (--allow-different files).",
}


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One aspect in which two runs differ, so that their images cannot simply be paired."""

    aspect: Aspect
    """What differs."""
    first: str
    """Label of a run."""
    other: str
    """Label of the run that differs from it."""
    words: str
    """How many differ, in words."""
    rows: tuple[str, ...]
    """The first that differ, a line each."""

    @property
    def message(self) -> str:
        """The difference, its first rows and the mend, for the terminal."""
        rows = "".join(f"\n  {row}" for row in self.rows)
        return f"{self.first} and {self.other} cannot be paired: {self.words}{rows}\n{_MENDS[self.aspect]}"

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``compare.json``."""
        return {
            "aspect": self.aspect,
            "first": self.first,
            "other": self.other,
            "words": self.words,
            "rows": list(self.rows),
        }


def find_mismatches(runs: Sequence[ComparedRun]) -> tuple[Mismatch, ...]:
    """Compare data and folds of every run with those of the first."""
    return tuple(mismatch for other in runs[1:] for mismatch in _mismatches(runs[0], other))


def check_allowed(names: Sequence[str]) -> frozenset[Allowable]:
    """Return the aspects of ``--allow-different``; others raise `UsageError`."""
    known: dict[str, Allowable] = {name: name for name in get_args(Allowable)}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"--allow-different {','.join(unknown)}: only {' and '.join(known)} may differ between paired runs; for "
            "others there is --unpaired"
        )
    return frozenset(known[name] for name in names)


def refuse_mismatches(mismatches: Sequence[Mismatch], allowed: Collection[Aspect]) -> None:
    """Raise `UsageError` with the first difference of every aspect that is not in `allowed`."""
    refused = [mismatch for mismatch in mismatches if mismatch.aspect not in allowed]
    if refused:
        first_of = {mismatch.aspect: mismatch for mismatch in reversed(refused)}
        raise UsageError("\n".join(first_of[aspect].message for aspect in get_args(Aspect) if aspect in first_of))


def side_by_side(runs: Sequence[ComparedRun], *, folds: bool) -> Predictions:
    """Join the predictions of runs by image id.

    Parameters
    ----------
    runs : sequence of ComparedRun
        Of the same images, classes, lesions and groups.
    folds : bool
        Whether their folds are the same; otherwise all images are put into one, so that no test over folds is made.

    Returns
    -------
    Predictions
        One model a run, called by its label; the rows in the order of the image ids, whatever the order was.
    """
    first = runs[0].predictions
    ids = np.sort(first.image_ids)
    tables = [_in_order(run.predictions, ids, first.classes) for run in runs]
    return replace(
        tables[0],
        folds=tables[0].folds if folds else frozen(np.zeros(len(ids)), np.int64),
        probabilities={model: rows for table in tables for model, rows in table.probabilities.items()},
        kinds={model: kind for table in tables for model, kind in table.kinds.items()},
    )


def _in_order(predictions: Predictions, ids: StrArray, classes: tuple[str, ...]) -> Predictions:
    """Return the rows of `ids` with the columns of `classes`, of predictions that have both."""
    rows = positions(predictions.image_ids, ids)
    columns = positions(predictions.classes, classes)
    number = np.empty(len(classes), dtype=np.int64)
    number[columns] = np.arange(len(classes))
    return replace(
        predictions,
        image_ids=frozen(predictions.image_ids[rows]),
        lesion_ids=frozen(predictions.lesion_ids[rows]),
        groups=frozen(predictions.groups[rows]),
        folds=frozen(predictions.folds[rows]),
        labels=frozen(number[predictions.labels[rows]]),
        classes=classes,
        probabilities={model: frozen(values[rows][:, columns]) for model, values in predictions.probabilities.items()},
    )


def _mismatches(first: ComparedRun, other: ComparedRun) -> list[Mismatch]:
    def found(aspect: Aspect, words: str, rows: Sequence[str]) -> Mismatch:
        return Mismatch(aspect=aspect, first=first.label, other=other.label, words=words, rows=tuple(rows[:MOST_ROWS]))

    ours, theirs = first.predictions, other.predictions
    if set(ours.classes) != set(theirs.classes):
        words = f"the classes are {listing(ours.classes)} in the one, and {listing(theirs.classes)} in the other"
        return [found("classes", words, ())]
    ids = np.intersect1d(ours.image_ids, theirs.image_ids)
    if len(ids) < max(len(ours.image_ids), len(theirs.image_ids)):
        only = [
            f"{image}: only in {run.label}"
            for run in (first, other)
            for image in np.setdiff1d(run.predictions.image_ids, ids).tolist()[:2]
        ]
        words = (
            f"{count(len(ids))} images are in both, {count(len(ours.image_ids) - len(ids))} only in {first.label} and "
            f"{count(len(theirs.image_ids) - len(ids))} only in {other.label}"
        )
        return [found("images", words, only)]
    ours, theirs = (_in_order(table, ids, ours.classes) for table in (ours, theirs))
    mismatches = [
        found(
            aspect.name,
            f"{aspect.words} of {plural(int(aspect.differ.sum()), 'image')} of {count(len(ids))}",
            [
                f"{ids[place]}: {aspect.what} {aspect.ours[place]} in {first.label}, "
                f"{aspect.what} {aspect.theirs[place]} in {other.label}"
                for place in aspect.places[:MOST_ROWS].tolist()
            ],
        )
        for aspect in _compared(ours, theirs)
        if aspect.differ.any()
    ]
    if first.record.data.fingerprint != other.record.data.fingerprint:
        mismatches.append(found("files", *_other_files(first, other)))
    return mismatches


def _other_files(first: ComparedRun, other: ComparedRun) -> tuple[str, tuple[str, ...]]:
    words = "the data have another fingerprint: image files of other sizes, or other images left out"
    return words, tuple(f"{run.label}: {run.record.data.fingerprint[:16]}" for run in (first, other))


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """What two runs say of the same images."""

    name: Aspect
    """Which aspect."""
    words: str
    """What differs when it does."""
    what: str
    """What a value is called."""
    ours: StrArray | IntArray
    """(n,) values of the first run."""
    theirs: StrArray | IntArray
    """(n,) values of the other."""
    differ: BoolArray
    """(n,) where they do."""

    @property
    def places(self) -> IntArray:
        """Where they differ; first where the values are called differently, too, which shows best."""
        found = np.flatnonzero(self.differ)
        order: IntArray = found[np.argsort(self.ours[found] == self.theirs[found], kind="stable")]
        return order


def _compared(ours: Predictions, theirs: Predictions) -> tuple[_Compared, ...]:
    names = np.array(ours.classes)
    return (
        _Compared(
            name="labels",
            words="other diagnoses",
            what="class",
            ours=names[ours.labels],
            theirs=names[theirs.labels],
            differ=ours.labels != theirs.labels,
        ),
        _Compared(
            name="lesions",
            words="other lesions",
            what="lesion",
            ours=ours.lesion_ids,
            theirs=theirs.lesion_ids,
            differ=regrouped(ours.lesion_ids, theirs.lesion_ids),
        ),
        _Compared(
            name="groups",
            words="other groups of lesions",
            what="group",
            ours=ours.groups,
            theirs=theirs.groups,
            differ=regrouped(ours.groups, theirs.groups),
        ),
        _Compared(
            name="folds",
            words="other folds",
            what="fold",
            ours=ours.folds,
            theirs=theirs.folds,
            differ=moved(ours.folds, theirs.folds),
        ),
    )


def regrouped(ours: StrArray, theirs: StrArray) -> BoolArray:
    """Tell which rows are grouped with other rows, whatever the groups are called.

    Parameters
    ----------
    ours, theirs : (n,) array of str
        The group of every row, twice.

    Returns
    -------
    (n,) array of bool
    """
    one, two = (np.unique(names, return_inverse=True)[1] for names in (ours, theirs))
    together = np.unique(one * (int(two.max()) + 1) + two, return_inverse=True)[1]
    of_one, of_two, of_both = (np.bincount(codes)[codes] for codes in (one, two, together))
    differ: BoolArray = (of_one != of_both) | (of_two != of_both)
    return differ


def moved(ours: IntArray, theirs: IntArray) -> BoolArray:
    """Tell which rows stand in another fold, after the folds of both were matched as well as they can be.

    Parameters
    ----------
    ours, theirs : (n,) array of int64
        The fold of every row, twice.

    Returns
    -------
    (n,) array of bool
        All False when the folds are the same but for their numbers.
    """
    names, one = np.unique(ours, return_inverse=True)
    others, two = np.unique(theirs, return_inverse=True)
    shared = np.zeros((len(names), len(others)), dtype=np.int64)
    np.add.at(shared, (one, two), 1)
    matched, to = linear_sum_assignment(shared, maximize=True)
    partner = np.full(len(names), -1)
    partner[matched] = to
    differ: BoolArray = partner[one] != two
    return differ
