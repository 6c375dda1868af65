"""The one dataset type that every reader returns and everything downstream takes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray, duplicates, frozen
from cv_folds.errors import DataError, UsageError, list_rows

_MOST_BAD_ROWS = 200
"""All bad rows are named, so that one look mends them; with more than this, something else is wrong."""


@dataclass(frozen=True, kw_only=True)
class LesionDataset:
    """Images with their lesion, diagnosis and clinical metadata; immutable, rows ordered by image id.

    Made by `build_dataset`, which refuses repeated image ids and lesions with two diagnoses.
    """

    name: str
    """Short name for titles and run folders, e.g. ``ham10000``."""
    root: Path
    """The folder that was read."""
    demo: bool
    """True for the generated demo set, whose scores say nothing about patients."""
    image_ids: StrArray
    """(n,) unique image ids."""
    lesion_ids: StrArray
    """(n,) lesion ids as the data give them; the image's own id where they give none."""
    lesion_given: BoolArray
    """(n,) False where the data name no lesion, so that the image is a group of its own."""
    labels: IntArray
    """(n,) index into `classes`."""
    classes: tuple[str, ...]
    """Class names, sorted; the column order of every logit and probability."""
    dx_types: StrArray
    """(n,) how the diagnosis was confirmed (``histo``, ``follow_up``, ...); empty where not given."""
    ages: FloatArray
    """(n,) age in years; NaN where not given."""
    sexes: StrArray
    """(n,) as given; empty where not given."""
    localizations: StrArray
    """(n,) body site as given; empty where not given."""
    paths: tuple[Path, ...]
    """(n,) image files."""
    parts: StrArray
    """(n,) ``train``, ``val`` or ``test`` where the layout itself gives a split; else empty."""
    layout: str
    """Name of the layout that was read."""
    reader_notes: tuple[str, ...]
    """What the reader left out or took for granted."""
    fingerprint: str = field(init=False)
    """SHA-256 over ids, lesions, diagnoses and file sizes: the same on every machine that has the same data."""

    def __post_init__(self) -> None:
        assert len(self.image_ids)
        assert not duplicates(self.image_ids.tolist())
        object.__setattr__(self, "fingerprint", self._fingerprint())

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for image, lesion, label, path in zip(
            self.image_ids.tolist(), self.lesion_ids.tolist(), self.labels.tolist(), self.paths, strict=True
        ):
            row = (image, lesion, self.classes[label], str(path.stat().st_size))
            digest.update("\x1f".join(row).encode() + b"\x1e")
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def n_lesions(self) -> int:
        """Number of distinct lesion ids."""
        return len(np.unique(self.lesion_ids))

    @property
    def notes(self) -> tuple[str, ...]:
        """What everyone who uses the data should be told, a line each."""
        without = int((~self.lesion_given).sum())
        if not without:
            return self.reader_notes
        how_many = f"{without} of {len(self)} images name" if without > 1 else f"1 of {len(self)} images names"
        return (*self.reader_notes, f"{how_many} no lesion: each is its own group")

    def class_counts(self) -> dict[str, int]:
        """Return the number of images of each class, in class order."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, counts, strict=True)}

    def lesion_counts(self) -> dict[str, int]:
        """Return the number of lesions of each class, in class order."""
        _, first = np.unique(self.lesion_ids, return_index=True)
        counts = np.bincount(self.labels[first], minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, counts, strict=True)}

    def select(self, keep: BoolArray) -> LesionDataset:
        """Return the rows where `keep` ((n,) bool) is true; the class list stays as it is."""
        return replace(
            self,
            image_ids=frozen(self.image_ids[keep]),
            lesion_ids=frozen(self.lesion_ids[keep]),
            lesion_given=frozen(self.lesion_given[keep]),
            labels=frozen(self.labels[keep]),
            dx_types=frozen(self.dx_types[keep]),
            ages=frozen(self.ages[keep]),
            sexes=frozen(self.sexes[keep]),
            localizations=frozen(self.localizations[keep]),
            paths=tuple(path for path, kept in zip(self.paths, keep.tolist(), strict=True) if kept),
            parts=frozen(self.parts[keep]),
        )

    def limit_lesions(self, n_lesions: int, generator: np.random.Generator) -> LesionDataset:
        """Return all images of a random subset of lesions that keeps every class.

        Each class keeps its share of the lesions, rounded, and at least ten lesions (or all it has), so that
        small subsets can still be split into folds.

        Parameters
        ----------
        n_lesions : int
            About how many lesions to keep, at least 1.
        generator : numpy.random.Generator
            Source of the random choice.

        Raises
        ------
        UsageError
            When `n_lesions` is below 1.
        """
        if n_lesions < 1:
            raise UsageError(f"--limit-lesions {n_lesions}: give a number of at least 1")
        lesions, first = np.unique(self.lesion_ids, return_index=True)
        labels = self.labels[first]
        kept: list[str] = []
        for label in range(len(self.classes)):
            of_class = lesions[labels == label]
            share = round(n_lesions * len(of_class) / len(lesions))
            size = min(len(of_class), max(share, 10))
            kept.extend(generator.choice(of_class, size=size, replace=False).tolist())
        return self.select(np.isin(self.lesion_ids, kept))

    def one_image_per_lesion(self) -> LesionDataset:
        """Return the first image of every lesion, by image id; a note says how many others there are."""
        keep = np.zeros(len(self), dtype=np.bool_)
        keep[np.unique(self.lesion_ids, return_index=True)[1]] = True
        left_out = len(self) - int(keep.sum())
        note = f"one image of each of {self.n_lesions} lesions, the first by image id; {left_out} others are left out"
        return replace(self.select(keep), reader_notes=(*self.reader_notes, note))


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """One image as a reader found it, before any check across rows."""

    where: str
    """File and row for messages, e.g. ``HAM10000_metadata.csv, row 12``."""
    image_id: str
    """Image id as given."""
    lesion_id: str
    """Lesion id as given; empty where not given."""
    diagnosis: str
    """Class name as given."""
    dx_type: str
    """How the diagnosis was confirmed; empty where not given."""
    age: float
    """Years; NaN where not given."""
    sex: str
    """As given; empty where not given."""
    localization: str
    """Body site as given; empty where not given."""
    path: Path
    """The image file."""
    part: str = ""
    """``train``, ``val`` or ``test`` where the layout gives a split."""


def build_dataset(
    rows: Sequence[ImageRow],
    *,
    name: str,
    root: Path,
    demo: bool,
    problems: Sequence[str] = (),
    layout: str = "",
    notes: Sequence[str] = (),
) -> LesionDataset:
    """Check the rows together, sort them by image id and number the classes by name.

    Parameters
    ----------
    rows : sequence of ImageRow
        What the reader found.
    name, root, demo
        As in `LesionDataset`.
    problems : sequence of str
        Bad rows that the reader saw; reported together with those found here.
    layout : str
        Name of the layout.
    notes : sequence of str
        What the reader left out or took for granted.

    Raises
    ------
    DataError
        With every bad row at once: those of `problems`, repeated image ids, lesions with two diagnoses; or when
        no row is left.
    """
    if found := [*problems, *_repeated_images(rows), *_lesions_with_two_diagnoses(rows)]:
        rows_word = "row" if len(found) == 1 else "rows"
        listed = list_rows(found, most=_MOST_BAD_ROWS)
        raise DataError(f"{root}: {len(found)} bad {rows_word}; correct or remove them:\n{listed}")
    if not rows:
        raise DataError(f"{root}: the metadata names no image")
    ordered = sorted(rows, key=lambda row: row.image_id)
    classes, labels = np.unique(np.array([row.diagnosis for row in ordered], dtype=np.str_), return_inverse=True)
    return LesionDataset(
        name=name,
        root=root,
        demo=demo,
        image_ids=frozen([row.image_id for row in ordered], np.str_),
        lesion_ids=frozen(_lesion_names(ordered), np.str_),
        lesion_given=frozen([bool(row.lesion_id) for row in ordered], np.bool_),
        labels=frozen(labels, np.int64),
        classes=tuple(classes.tolist()),
        dx_types=frozen([row.dx_type for row in ordered], np.str_),
        ages=frozen([row.age for row in ordered], np.float64),
        sexes=frozen([row.sex for row in ordered], np.str_),
        localizations=frozen([row.localization for row in ordered], np.str_),
        paths=tuple(row.path for row in ordered),
        parts=frozen([row.part for row in ordered], np.str_),
        layout=layout,
        reader_notes=tuple(notes),
    )


def _lesion_names(rows: Sequence[ImageRow]) -> list[str]:
    """Return each row's lesion, or its image id, changed where it would join a lesion of the same name by chance."""
    lesions = {row.lesion_id for row in rows}
    taken = lesions | {row.image_id for row in rows}
    names = []
    for row in rows:
        name = row.lesion_id or row.image_id
        if not row.lesion_id and name in lesions:
            while name in taken:
                name += "_own"
            taken.add(name)
        names.append(name)
    return names


def _repeated_images(rows: Sequence[ImageRow]) -> list[str]:
    first: dict[str, str] = {}
    problems = []
    for row in rows:
        if row.image_id in first:
            problems.append(f"{row.where}: image id {row.image_id} occurs again (first: {first[row.image_id]})")
        first.setdefault(row.image_id, row.where)
    return problems


def _lesions_with_two_diagnoses(rows: Sequence[ImageRow]) -> list[str]:
    first: dict[str, ImageRow] = {}
    problems = []
    for row in rows:
        other = first.setdefault(row.lesion_id, row) if row.lesion_id else row
        if other.diagnosis != row.diagnosis:
            problems.append(
                f"{row.where}: lesion {row.lesion_id} is {row.diagnosis} here but {other.diagnosis} in {other.where}"
            )
    return problems
