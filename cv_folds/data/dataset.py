"""The one dataset type that every reader returns and everything downstream takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray, duplicates, frozen
from cv_folds.errors import DataError, UsageError, list_rows


@dataclass(frozen=True, kw_only=True)
class LesionDataset:
    """Images with their lesion, diagnosis and clinical metadata; immutable, rows ordered by image id.

    Raises
    ------
    DataError
        On construction, when there is no image, an image id occurs twice or a lesion has two diagnoses.
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
    """(n,) lesion ids as the data give them."""
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
    fingerprint: str = field(init=False)
    """SHA-256 over ids, lesions, diagnoses and file sizes: the same on every machine that has the same data."""

    def __post_init__(self) -> None:
        if not len(self.image_ids):
            raise DataError(f"{self.root}: no image is left to work on")
        if again := duplicates(self.image_ids.tolist()):
            raise DataError(f"{self.root}: image ids that occur more than once:\n" + list_rows(again))
        self._refuse_lesions_with_two_diagnoses()
        object.__setattr__(self, "fingerprint", self._fingerprint())

    def _refuse_lesions_with_two_diagnoses(self) -> None:
        diagnoses: dict[str, set[str]] = {}
        for lesion, label in zip(self.lesion_ids.tolist(), self.labels.tolist(), strict=True):
            diagnoses.setdefault(lesion, set()).add(self.classes[label])
        if several := {lesion: names for lesion, names in diagnoses.items() if len(names) > 1}:
            rows = [f"{lesion}: {', '.join(sorted(names))}" for lesion, names in sorted(several.items())]
            raise DataError(
                f"{self.root}: lesions with more than one diagnosis; correct or remove their rows:\n" + list_rows(rows)
            )

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
            labels=frozen(self.labels[keep]),
            dx_types=frozen(self.dx_types[keep]),
            ages=frozen(self.ages[keep]),
            sexes=frozen(self.sexes[keep]),
            localizations=frozen(self.localizations[keep]),
            paths=tuple(path for path, kept in zip(self.paths, keep.tolist(), strict=True) if kept),
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


def build_dataset(
    *,
    name: str,
    root: Path,
    demo: bool,
    image_ids: Iterable[str],
    lesion_ids: Iterable[str],
    diagnoses: Iterable[str],
    dx_types: Iterable[str],
    ages: Iterable[float],
    sexes: Iterable[str],
    localizations: Iterable[str],
    paths: Iterable[Path],
) -> LesionDataset:
    """Make a dataset from plain columns: sort the rows by image id and number the classes by name."""
    ids = np.array(list(image_ids), dtype=np.str_)
    order = np.argsort(ids, kind="stable")
    classes, labels = np.unique(np.array(list(diagnoses), dtype=np.str_), return_inverse=True)
    files = list(paths)

    def texts(column: Iterable[str]) -> StrArray:
        return frozen(np.array(list(column), dtype=np.str_)[order])

    return LesionDataset(
        name=name,
        root=root,
        demo=demo,
        image_ids=frozen(ids[order]),
        lesion_ids=texts(lesion_ids),
        labels=frozen(labels[order], np.int64),
        classes=tuple(classes.tolist()),
        dx_types=texts(dx_types),
        ages=frozen(np.array(list(ages), dtype=np.float64)[order]),
        sexes=texts(sexes),
        localizations=texts(localizations),
        paths=tuple(files[index] for index in order.tolist()),
    )
