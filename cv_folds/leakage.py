"""What could carry knowledge of a held-out image into its training, looked for and put in writing.

Identical images under different lesion ids are merged into one group before splitting. Identical means files of equal
content: the groups, and with them the folds, depend on the data alone, not on the image size. What else shows one
lesion is found in `cv_folds.near_duplicates`; `cv_folds.shared_lesions` puts both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cv_folds.arrays import IntArray, StrArray, frozen
from cv_folds.data.dataset import LesionDataset
from cv_folds.disjoint_sets import DisjointSets
from cv_folds.errors import DataError, list_rows
from cv_folds.files import sha256, write_json
from cv_folds.splits import Folds, torn_groups


class _Record(BaseModel):
    # A later version may add keys; an older report must still open the run.
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, use_attribute_docstrings=True)


class ImagePair(_Record):
    """Two images under different lesion ids that show, or may show, the same lesion."""

    image_a: str
    """Image id."""
    image_b: str
    """Image id."""
    lesion_a: str
    """Lesion id of `image_a`."""
    lesion_b: str
    """Lesion id of `image_b`."""
    score: float
    """Probability that they do; 1 for identical files."""
    why: str = ""
    """What speaks for it, in words."""


class AuditCheck(_Record):
    """One question asked of the data or the folds, and its answer."""

    code: str
    """Short, stable name."""
    title: str
    """The question."""
    severity: Literal["error", "warning", "note"]
    """How bad a failed check would be."""
    status: Literal["passed", "failed", "not_applicable", "skipped"]
    """The answer; not applicable differs from skipped."""
    detail: str
    """Figures behind the answer."""


class Leakage(_Record):
    """How far folds separate images that belong together."""

    groups: int
    """Groups that stand in several folds."""
    images: int
    """Their images."""
    n_groups: int
    """All groups."""
    n_images: int
    """All images."""

    @property
    def words(self) -> str:
        """For a sentence."""
        return f"{self.images} of {self.n_images} images, of {self.groups} of {self.n_groups} lesions or merged groups"


class Audit(_Record):
    """All that was checked about leakage: the content of ``audit.json``."""

    form: Literal[1] = Field(default=1, alias="schema")
    """Version of the file's form."""

    checks: tuple[AuditCheck, ...]
    """In the order of the report."""
    merged_pairs: tuple[ImagePair, ...]
    """Taken for one lesion and kept together."""
    doubtful_pairs: tuple[ImagePair, ...]
    """Left apart, for a person to look at."""
    allowed_leakage: Leakage | None = None
    """What leaks in folds that were used although they leak; None for folds that do not."""

    def with_check(self, check: AuditCheck) -> Audit:
        """Return the same audit with one check more."""
        return self.model_copy(update={"checks": (*self.checks, check)})

    def write(self, path: Path) -> None:
        """Write ``audit.json`` atomically."""
        write_json(path, self.model_dump(mode="json", by_alias=True))


def identical_images(dataset: LesionDataset) -> tuple[ImagePair, ...]:
    """Find images of different lesion ids whose files have the same content.

    Parameters
    ----------
    dataset : LesionDataset
        Only files that share their size with another are read.

    Returns
    -------
    tuple of ImagePair
        Each of several identical images with the first of another lesion id, so that the pairs connect them all.

    Raises
    ------
    DataError
        When identical images have different diagnoses: with every such pair of neighbours in the order of the data.
    """
    by_size: dict[int, list[int]] = {}
    for row, path in enumerate(dataset.paths):
        by_size.setdefault(path.stat().st_size, []).append(row)
    by_content: dict[str, list[int]] = {}
    for row in sorted(row for rows in by_size.values() if len(rows) > 1 for row in rows):
        by_content.setdefault(sha256(dataset.paths[row]), []).append(row)
    images, lesions = dataset.image_ids.tolist(), dataset.lesion_ids.tolist()
    diagnoses = [dataset.classes[label] for label in dataset.labels.tolist()]
    contradictions = [
        f"{images[a]} (lesion {lesions[a]}) is {diagnoses[a]} but {images[b]} (lesion {lesions[b]}) is {diagnoses[b]}"
        for a, b in sorted(pair for rows in by_content.values() for pair in pairwise(rows))
        if diagnoses[a] != diagnoses[b]
    ]
    if contradictions:
        raise DataError(
            f"identical images with different diagnoses:\n{list_rows(contradictions)}\n"
            "correct the diagnosis in the metadata, or remove the row of one image of each pair"
        )
    return tuple(
        ImagePair(image_a=images[a], image_b=images[b], lesion_a=lesions[a], lesion_b=lesions[b], score=1.0)
        for rows in by_content.values()
        for a, b in _across(rows, lesions)
    )


def _across(rows: Sequence[int], lesions: Sequence[str]) -> list[tuple[int, int]]:
    """Pair each row with the first that has another lesion, none twice."""
    other = next((row for row in rows if lesions[row] != lesions[rows[0]]), None)
    if other is None:
        return []
    pairs = ((rows[0] if lesions[row] != lesions[rows[0]] else other, row) for row in rows)
    return sorted({(min(pair), max(pair)) for pair in pairs})


def merge_groups(lesion_ids: StrArray, pairs: Sequence[ImagePair]) -> StrArray:
    """Return (n,) group names: the lesion id, or for lesions joined by `pairs` the first of their ids."""
    lesions = DisjointSets()
    for pair in pairs:
        lesions.join(pair.lesion_a, pair.lesion_b)
    return frozen([lesions.first(lesion) for lesion in lesion_ids.tolist()])


def audit_folds(
    folds: Folds,
    merged: Sequence[ImagePair],
    doubtful: Sequence[ImagePair] = (),
    checks: Sequence[AuditCheck] = (),
) -> Audit:
    """Check finished folds for leakage and write down what was looked at.

    Parameters
    ----------
    folds : Folds
        The folds that the run uses.
    merged : sequence of ImagePair
        Pairs under different lesion ids that were put into one group.
    doubtful : sequence of ImagePair
        Pairs that were left apart.
    checks : sequence of AuditCheck
        What was looked at before the folds were made, put after what is checked here.
    """
    where = "part" if folds.holdout else "fold"
    return Audit(
        allowed_leakage=measure_leakage(folds.groups, folds.folds),
        checks=(
            _no_group_in_two("L001", where, "lesion", folds.lesion_ids, folds.folds),
            _no_group_in_two("L002", where, "group of merged lesions", folds.groups, folds.folds),
            AuditCheck(
                code="L003",
                title="Is every image in exactly one part?"
                if folds.holdout
                else "Is every image held out exactly once?",
                severity="error",
                status="passed",
                detail=f"{len(folds.image_ids)} images in {folds.n_folds} {where}s, each image id in one row",
            ),
            *checks,
        ),
        merged_pairs=tuple(merged),
        doubtful_pairs=tuple(doubtful),
    )


def measure_leakage(groups: StrArray, folds: IntArray) -> Leakage | None:
    """Count the images whose group stands in several folds; None when there is none.

    Parameters
    ----------
    groups : (n,) array of str
        What must stay together.
    folds : (n,) array of int
        The fold of each image.
    """
    torn = torn_groups(groups, folds)
    if not torn:
        return None
    return Leakage(
        groups=len(torn),
        images=int(np.isin(groups, torn).sum()),
        n_groups=len(np.unique(groups)),
        n_images=len(groups),
    )


def _no_group_in_two(code: str, where: str, what: str, groups: StrArray, folds: IntArray) -> AuditCheck:
    torn = torn_groups(groups, folds)
    return AuditCheck(
        code=code,
        title=f"Is any {what} in two {where}s?",
        severity="error",
        status="failed" if torn else "passed",
        detail=f"{len(torn)} of {len(set(groups.tolist()))} stand in more than one {where}",
    )


def lesions_given(dataset: LesionDataset) -> AuditCheck:
    """Check whether the data name the lesion of every image: without it, nothing keeps its images together."""
    without = int((~dataset.lesion_given).sum())
    return AuditCheck(
        code="L010",
        title="Do the data name the lesion of every image?",
        severity="warning",
        status="failed" if without else "passed",
        detail=f"{without} of {len(dataset)} images name no lesion"
        + (": each is its own group, so that images of one lesion may stand in two folds" if without else ""),
    )
