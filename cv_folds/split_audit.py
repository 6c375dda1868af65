"""How far a published split tests on lesions that it trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cv_folds.arrays import StrArray
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import DataError
from cv_folds.published_split import Partition, PublishedSplit, SplitColumns, read_published_split

MOST_EXAMPLES = 10


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """How many images share something with the images that their model learned from."""

    images: int
    """All images that were looked at."""
    same_image: int
    """Of these, images that are themselves among those learned from."""
    lesion: int
    """Images whose lesion id is."""
    group: int
    """Images whose lesion, or one merged with it, is; at least `lesion`."""
    near_duplicate: int
    """Images with a near-duplicate of another lesion id there."""
    any: int
    """Images for which one of these holds."""


@dataclass(frozen=True, kw_only=True)
class PartAudit:
    """What one part of one training shares with what was learned from."""

    training: str
    """Name of the fold or training; empty when there is only one."""
    part: Literal["validation", "test"]
    """The part that is looked at."""
    against: str
    """What it is compared with: the training part, or for a test part that and the validation part."""
    overall: Crossing
    """Over all images."""
    per_class: Mapping[str, Crossing]
    """Class name to the same for its images."""
    examples: tuple[str, ...]
    """The first images that leak, each with the reason."""


@dataclass(frozen=True, kw_only=True)
class SplitAudit:
    """What was found in a published split."""

    file: str
    """Its name."""
    understood: str
    """How its table was read."""
    unknown: tuple[str, ...]
    """Image ids in the file that the data set does not have; nothing is known about them."""
    n_absent: int
    """Images of the data set that are not in the file."""
    n_near_duplicates: int | None
    """Images of the data set with a near-duplicate under another lesion id; None when near-duplicates were not searched
    for."""
    parts: tuple[PartAudit, ...]
    """In the order of the file, validation before test."""

    @property
    def leaks(self) -> bool:
        """Whether any image shares anything."""
        return any(part.overall.any for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"schema": 1, "leaks": self.leaks} | asdict(self)

    def refuse_leakage(self) -> None:
        """Raise `DataError` with the gist when the split leaks."""
        if not self.leaks:
            return
        leaking = {part.part for part in self.parts if part.overall.any}
        what = "test" if "test" in leaking else "validation"
        looked_at = [part.overall for part in self.parts if part.part == what]
        shared, images = sum(row.any for row in looked_at), sum(row.images for row in looked_at)
        raise DataError(
            f"{self.file} leaks: {shared} of {images} {what} images ({shared / images:.1%}) share a lesion with images "
            "that were learned from; scores on this split are too good"
        )


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known of every image of the dataset."""

    lesions: Mapping[str, str]
    groups: Mapping[str, str]
    diagnoses: Mapping[str, str]
    alike: Mapping[str, frozenset[str]]


def audit_split(
    split: PublishedSplit,
    dataset: LesionDataset,
    groups: StrArray,
    near_duplicates: Mapping[str, frozenset[str]] | None = None,
) -> SplitAudit:
    """Look for images of one lesion on both sides of a split.

    Parameters
    ----------
    split : PublishedSplit
        What was trained and tested on.
    dataset : LesionDataset
        Whose images the split divides, for the lesion ids and diagnoses.
    groups : (n,) array of str
        Lesions, merged where they are taken for one.
    near_duplicates : mapping of str to frozenset of str, optional
        Image id to all that look like it, as in `SharedLesions.alike`; None when they were not searched for.

    Returns
    -------
    SplitAudit
        Images that the dataset does not have are counted and left out of everything else.
    """
    images = dataset.image_ids.tolist()
    known = _Known(
        lesions=dict(zip(images, dataset.lesion_ids.tolist(), strict=True)),
        groups=dict(zip(images, groups.tolist(), strict=True)),
        diagnoses=dict(zip(images, (dataset.classes[label] for label in dataset.labels.tolist()), strict=True)),
        alike=near_duplicates or {},
    )
    named = split.images
    return SplitAudit(
        file=split.path.name,
        understood=split.understood,
        unknown=tuple(sorted(named - known.lesions.keys())),
        n_absent=len(known.lesions.keys() - named),
        n_near_duplicates=None if near_duplicates is None else len(near_duplicates),
        parts=tuple(
            part for partition in split.partitions for part in _audit_partition(partition, known, dataset.classes)
        ),
    )


def audit_split_file(
    path: Path,
    dataset: LesionDataset,
    groups: StrArray,
    near_duplicates: Mapping[str, frozenset[str]] | None = None,
    *,
    columns: SplitColumns | None = None,
) -> SplitAudit:
    """Read a published split and audit it: `read_published_split`, then `audit_split`.

    Raises
    ------
    DataError
        When the table cannot be understood.
    """
    known = frozenset(dataset.image_ids.tolist())
    return audit_split(read_published_split(path, known, columns), dataset, groups, near_duplicates)


def _audit_partition(partition: Partition, known: _Known, classes: tuple[str, ...]) -> Iterator[PartAudit]:
    if partition.train and partition.validation:
        yield _audit_part(partition.name, "validation", partition.validation, "train", partition.train, known, classes)
    if partition.test and (partition.train or partition.validation):
        against = "train and validation" if partition.validation else "train"
        learned = partition.train | partition.validation
        yield _audit_part(partition.name, "test", partition.test, against, learned, known, classes)


def _audit_part(
    training: str,
    part: Literal["validation", "test"],
    images: Collection[str],
    against: str,
    learned: Collection[str],
    known: _Known,
    classes: tuple[str, ...],
) -> PartAudit:
    learned = frozenset(name for name in learned if name in known.lesions)
    lesions = {known.lesions[name]: name for name in sorted(learned, reverse=True)}
    groups = {known.groups[name]: name for name in sorted(learned, reverse=True)}
    found: dict[str, _Shared] = {}
    for name in sorted(name for name in images if name in known.lesions):
        lesion = known.lesions[name]
        twins = {other for other in known.alike.get(name, frozenset()) & learned if known.lesions[other] != lesion}
        found[name] = _Shared(
            same_image=name if name in learned else None,
            lesion=lesions.get(lesion),
            group=groups.get(known.groups[name]),
            near_duplicate=min(twins, default=None),
        )
    return PartAudit(
        training=training,
        part=part,
        against=against,
        overall=_count(found.values()),
        per_class={
            diagnosis: _count([shared for name, shared in found.items() if known.diagnoses[name] == diagnosis])
            for diagnosis in classes
        },
        examples=tuple(f"{name}: {shared.reason}" for name, shared in found.items() if shared.any)[:MOST_EXAMPLES],
    )


@dataclass(frozen=True, kw_only=True)
class _Shared:
    """With which image that was learned from an image shares what; None where with none."""

    same_image: str | None
    lesion: str | None
    group: str | None
    near_duplicate: str | None

    @property
    def any(self) -> bool:
        return self.reason is not None

    @property
    def reason(self) -> str | None:
        if self.same_image is not None:
            return "itself among those learned from"
        if self.lesion is not None:
            return f"of one lesion with {self.lesion}"
        if self.group is not None:
            return f"of a lesion merged with that of {self.group}"
        if self.near_duplicate is not None:
            return f"near-duplicate of {self.near_duplicate}"
        return None


def _count(found: Collection[_Shared]) -> Crossing:
    return Crossing(
        images=len(found),
        same_image=sum(shared.same_image is not None for shared in found),
        lesion=sum(shared.lesion is not None for shared in found),
        group=sum(shared.group is not None for shared in found),
        near_duplicate=sum(shared.near_duplicate is not None for shared in found),
        any=sum(shared.any for shared in found),
    )
