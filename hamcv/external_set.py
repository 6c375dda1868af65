"""An external set as the ensemble of a run can be tested on it: classes matched, images that it has seen left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from cv_folds.arrays import BoolArray, IntArray, StrArray, frozen
from cv_folds.class_names import ClassMatch, match_classes
from cv_folds.data.cache import cache_root
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import DataError, list_rows
from cv_folds.leakage import ImagePair
from cv_folds.near_duplicates.across import near_duplicates_across
from cv_folds.near_duplicates.search import FoundPair
from cv_folds.near_duplicates.settings import AuditSettings
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.seen import seen_by_look, seen_by_record, with_their_lesions
from cv_folds.training_images import TrainingImages, file_digests
from hamcv.folding import group
from hamcv.image_progress import search_progress
from hamcv.training_data import TrainingDataAtHand

NO_CLASS = "class that the model lacks"
SWITCHED_OFF = "the search was switched off"


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """An image that is not scored."""

    image_id: str
    """Its id."""
    reason: str
    """In a few fixed words."""
    training_image: str
    """The training image that it matches; empty where it is none of them."""
    detail: str
    """More about it; may be empty."""


@dataclass(frozen=True, kw_only=True)
class ExternalSet:
    """What is scored, and what is not."""

    whole: LesionDataset
    """All of it."""
    dataset: LesionDataset
    """The images that are scored."""
    labels: IntArray
    """(n,) column of the true class among those of the model."""
    groups: StrArray
    """(n,) lesions, merged where they are taken for one."""
    matches: tuple[ClassMatch, ...]
    """What each class of the data is taken for."""
    excluded: tuple[Excluded, ...]
    """In the order of the data."""
    doubtful: tuple[FoundPair, ...]
    """Scored images (first) that may show the lesion of a training image (second)."""
    merged: tuple[ImagePair, ...]
    """Pairs under different lesion ids within the set that were taken for one lesion."""
    n_learned: int
    """Number of training images."""
    compared: int | None
    """Training images among which near-duplicates were looked for; None when they were not looked for."""
    absent: str | None
    """Why that was none or not all of them, in words; None when it was all."""

    @property
    def counts(self) -> dict[str, int]:
        """Reason to number of excluded images."""
        return dict(Counter(entry.reason for entry in self.excluded))


def external_set(
    dataset: LesionDataset,
    classes: tuple[str, ...],
    learned: TrainingImages,
    at_hand: TrainingDataAtHand,
    *,
    given: Mapping[str, str],
    trust_ids: bool,
    audit: AuditSettings,
    console: Console,
) -> ExternalSet:
    """Match the classes, find what was seen in training, and keep the rest.

    Parameters
    ----------
    dataset : LesionDataset
        The whole set.
    classes : tuple of str
        Classes of the model, in column order.
    learned : TrainingImages
        What it learned from.
    at_hand : TrainingDataAtHand
        The training images themselves, where they are.
    given : mapping
        Classes of the data to those of the model, as the user says.
    trust_ids : bool
        Whether equal image and lesion ids mean the same image and lesion.
    audit : AuditSettings
        Whether to search for near-duplicates, within the set and among the training images.
    console : rich.console.Console
        For the progress, on stderr.

    Raises
    ------
    UsageError
        When `given` names classes that are not there.
    DataError
        When no image is left, images cannot be decoded, or identical ones have two diagnoses.
    """
    matches = match_classes(dataset.classes, classes, given)
    column = {match.theirs: classes.index(match.ours) for match in matches if match.ours is not None}
    labels = np.array([column.get(name, -1) for name in dataset.classes], dtype=np.int64)[dataset.labels]
    shared = group(dataset, audit, console=console)
    digests = file_digests(dataset.paths, workers=cpu_cores())
    on_record = seen_by_record(dataset, digests, learned, trust_ids=trust_ids)
    free = ~np.isin(dataset.image_ids, [entry.image_id for entry in on_record])
    pairs = _look(dataset, (labels >= 0) & free, at_hand, console) if audit.near_duplicates else ()
    seen = with_their_lesions(dataset.image_ids, shared.groups, (*on_record, *seen_by_look(pairs)))
    by_image = {entry.image_id: entry for entry in seen}
    excluded = []
    for image, label, theirs in zip(dataset.image_ids.tolist(), labels.tolist(), dataset.labels.tolist(), strict=True):
        if (entry := by_image.get(image)) is not None:
            excluded.append(
                Excluded(image_id=image, reason=entry.reason, training_image=entry.training_image, detail=entry.detail)
            )
        elif label < 0:
            excluded.append(
                Excluded(image_id=image, reason=NO_CLASS, training_image="", detail=dataset.classes[theirs])
            )
    kept: BoolArray = ~np.isin(dataset.image_ids, [entry.image_id for entry in excluded])
    if not kept.any():
        _refuse(dataset, matches, classes, Counter(entry.reason for entry in excluded))
    scored = dataset.select(kept)
    remaining = set(scored.image_ids.tolist())
    return ExternalSet(
        whole=dataset,
        dataset=scored,
        labels=frozen(labels[kept]),
        groups=frozen(shared.groups[kept]),
        matches=matches,
        excluded=tuple(excluded),
        doubtful=tuple(pair for pair in pairs if pair.verdict == "doubtful" and pair.image_a in remaining),
        merged=tuple(pair for pair in shared.merged if {pair.image_a, pair.image_b} <= remaining),
        n_learned=len(learned),
        compared=len(at_hand.dataset) if audit.near_duplicates and at_hand.dataset is not None else None,
        absent=at_hand.absent if audit.near_duplicates else SWITCHED_OFF,
    )


def _look(
    dataset: LesionDataset, which: BoolArray, at_hand: TrainingDataAtHand, console: Console
) -> tuple[FoundPair, ...]:
    if at_hand.dataset is None or not which.any():
        return ()
    with search_progress(console) as on_step:
        return near_duplicates_across(
            dataset.select(which), at_hand.dataset, root=cache_root(), workers=cpu_cores(), on_step=on_step
        )


def _refuse(
    dataset: LesionDataset, matches: tuple[ClassMatch, ...], classes: tuple[str, ...], counts: Counter[str]
) -> None:
    """Raise `DataError` that says why no image is left."""
    rows = list_rows([f"{reason}: {number} of {len(dataset)} images" for reason, number in counts.most_common()])
    seen = counts.total() - counts[NO_CLASS]
    if seen < counts[NO_CLASS]:
        theirs = ", ".join(match.theirs for match in matches)
        raise DataError(
            f"{dataset.root}: nothing is left to score, since the model knows {', '.join(classes)} and the data have "
            f"{theirs}:\n{rows}\nSay which is which with --classes THEIRS=OURS,..."
        )
    raise DataError(
        f"{dataset.root}: nothing is left to score, since {seen} of {len(dataset)} images were in training:\n{rows}\n"
        "An ensemble is not scored on what it learned from; `hamcv report RUN` has the out-of-fold scores of a run on "
        "its own data. If image ids are the same by chance, add --own-ids."
    )
