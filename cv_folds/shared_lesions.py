"""Which images show one lesion, by what the data say, by what is found in the pixels, and by what a person decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cv_folds.alike_images import alike_images
from cv_folds.arrays import StrArray
from cv_folds.data.dataset import LesionDataset
from cv_folds.disjoint_sets import DisjointSets
from cv_folds.leakage import AuditCheck, ImagePair, identical_images, merge_groups
from cv_folds.near_duplicates.decisions import Decisions, ordered
from cv_folds.near_duplicates.search import FoundPair, OnStep, near_duplicates
from cv_folds.rejected_pairs import check_rejected


@dataclass(frozen=True, kw_only=True)
class SharedLesions:
    """What must stay together in every split, and why."""

    groups: StrArray
    """(n,) the lesion, or several merged lesions; named by the first of their ids."""
    merged: tuple[ImagePair, ...]
    """Pairs under different lesion ids that were taken for one lesion: of two lesions the strongest, which names the
    others, and all that a person accepted."""
    doubtful: tuple[ImagePair, ...]
    """Pairs that were left apart, for a person to look at; none of lesions that are together anyway."""
    alike: Mapping[str, frozenset[str]]
    """Image id to all images that are identical or confirmed or accepted as near-duplicates, itself among them, for
    images that have any under another lesion id; not only one pair of two lesions."""
    found: tuple[FoundPair, ...]
    """All that the search found, for the contact sheets; empty when it was not made."""
    checks: tuple[AuditCheck, ...]
    """For the audit."""

    @property
    def words(self) -> tuple[str, ...]:
        """What everyone who uses the groups should be told, a line each: what was found and not passed over."""
        return tuple(
            f"{check.title} {check.detail}"
            for check in self.checks
            if check.status in ("failed", "skipped") or (check.status == "passed" and check.code in ("L004", "L005"))
        )


def find_shared_lesions(
    dataset: LesionDataset,
    decisions: Decisions,
    *,
    search: bool,
    root: Path,
    workers: int,
    on_step: OnStep = lambda _stage, _done, _total: None,
) -> SharedLesions:
    """Merge lesions that share an image, that near-duplicates join, or that a person joined.

    Parameters
    ----------
    dataset : LesionDataset
        All of the data or a part of it.
    decisions : Decisions
        Of a person; pairs of images that are not in `dataset` are passed over.
    search : bool
        Whether to search for near-duplicates.
    root : Path
        Folder of the caches.
    workers : int
        Threads.
    on_step : callable
        Told of the progress of the search.

    Raises
    ------
    DataError
        When identical images have different diagnoses, or images cannot be decoded.
    """
    identical = identical_images(dataset)
    found = near_duplicates(dataset, root=root, workers=workers, on_step=on_step) if search else ()
    return join_lesions(dataset, identical, found, decisions, searched=search)


def join_lesions(
    dataset: LesionDataset,
    identical: Sequence[ImagePair],
    found: Sequence[FoundPair],
    decisions: Decisions,
    *,
    searched: bool,
) -> SharedLesions:
    """Draw the conclusions from what was found and decided; see `find_shared_lesions`.

    Pairs of lesions that a person rejected, by any of their images, do not join them. Lesions of different diagnoses
    are joined like others: a group only says what must stay on one side of a split.
    """
    describe = _Describe(dataset)
    same_file = [pair.model_copy(update={"why": "files of equal content"}) for pair in identical]
    by_images = {ordered(pair.image_a, pair.image_b): pair for pair in found}
    known = {ordered(pair.image_a, pair.image_b) for pair in identical}
    accepted = [
        describe.accepted(images, by_images.get(images))
        for images in sorted(decisions.accepted - known)
        if describe.across(images)
    ]
    # The images stand for their lesions: what is decided of one pair holds for all pairs of the two.
    decided = known | decisions.accepted | decisions.rejected
    settled = {describe.both_lesions(images) for images in decided if describe.across(images)}
    open_pairs = [pair for images, pair in by_images.items() if describe.both_lesions(images) not in settled]
    candidates = {
        verdict: [
            describe.found(found)
            for found in _by_lesions([pair for pair in open_pairs if pair.verdict == verdict], describe)
        ]
        for verdict in ("confirmed", "doubtful")
    }
    apart = {describe.both_lesions(images) for images in decisions.rejected if describe.across(images)}
    near = [
        images
        for images, pair in by_images.items()
        if pair.verdict == "confirmed" and describe.both_lesions(images) not in apart
    ]
    confirmed = candidates["confirmed"]
    merged = (*same_file, *accepted, *confirmed)
    lesions = DisjointSets()
    for pair in merged:
        lesions.join(pair.lesion_a, pair.lesion_b)
    doubtful = tuple(
        pair for pair in candidates["doubtful"] if lesions.first(pair.lesion_a) != lesions.first(pair.lesion_b)
    )
    return SharedLesions(
        groups=merge_groups(dataset.lesion_ids, merged),
        merged=merged,
        doubtful=doubtful,
        alike=alike_images(known, (*near, *((pair.image_a, pair.image_b) for pair in accepted))),
        found=tuple(found),
        checks=(
            _identical(identical),
            _near_duplicates(confirmed, accepted, searched=searched),
            _diagnoses(merged, describe),
            _undecided(doubtful, searched=searched),
            check_rejected(
                [images for images in sorted(decisions.rejected) if describe.across(images)], describe.lesions, merged
            ),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The strongest pair of two lesions, and the others."""

    strongest: FoundPair
    others: tuple[FoundPair, ...]


def _by_lesions(pairs: Sequence[FoundPair], describe: _Describe) -> list[_Found]:
    """Put pairs of the same two lesions together; the order stays that of the strongest ones."""
    together: dict[frozenset[str], list[FoundPair]] = {}
    for pair in pairs:
        together.setdefault(describe.both_lesions((pair.image_a, pair.image_b)), []).append(pair)
    return [_Found(strongest=first, others=tuple(rest)) for first, *rest in together.values()]


class _Describe:
    """Makes the pairs of the audit from image ids."""

    def __init__(self, dataset: LesionDataset) -> None:
        images = dataset.image_ids.tolist()
        self.lesions: Mapping[str, str] = dict(zip(images, dataset.lesion_ids.tolist(), strict=True))
        self.diagnoses: Mapping[str, str] = dict(
            zip(images, (dataset.classes[label] for label in dataset.labels.tolist()), strict=True)
        )

    def across(self, images: tuple[str, str]) -> bool:
        """Tell whether both images are there and of different lesion ids."""
        return all(image in self.lesions for image in images) and len(self.both_lesions(images)) == 2

    def both_lesions(self, images: tuple[str, str]) -> frozenset[str]:
        return frozenset(self.lesions[image] for image in images)

    def found(self, found: _Found) -> ImagePair:
        pair = found.strongest
        others = ", ".join(f"{other.image_a} and {other.image_b}" for other in found.others)
        return self._pair(pair.image_a, pair.image_b, pair.score, pair.why + (f"; also {others}" if others else ""))

    def accepted(self, images: tuple[str, str], pair: FoundPair | None) -> ImagePair:
        why = "accepted by a person" + (f"; {pair.why}" if pair is not None else "")
        return self._pair(*images, 1.0 if pair is None else pair.score, why)

    def _pair(self, image_a: str, image_b: str, score: float, why: str) -> ImagePair:
        one, other = self.diagnoses[image_a], self.diagnoses[image_b]
        return ImagePair(
            image_a=image_a,
            image_b=image_b,
            lesion_a=self.lesions[image_a],
            lesion_b=self.lesions[image_b],
            score=score,
            why=why if one == other else f"{why}; DIFFERENT DIAGNOSES: {one} and {other}",
        )


def _identical(identical: Sequence[ImagePair]) -> AuditCheck:
    return AuditCheck(
        code="L004",
        title="Are identical images under different lesion ids kept together?",
        severity="error",
        status="passed" if identical else "not_applicable",
        detail=f"{len(identical)} pairs of identical images across lesion ids"
        + (", merged into one group each" if identical else ""),
    )


def _near_duplicates(confirmed: Sequence[ImagePair], accepted: Sequence[ImagePair], *, searched: bool) -> AuditCheck:
    by_person = f"; {len(accepted)} pairs merged because a person accepted them" if accepted else ""
    return AuditCheck(
        code="L005",
        title="Are near-duplicates under different lesion ids kept together?",
        severity="warning",
        status="passed" if searched else "skipped",
        detail=(
            f"{len(confirmed)} pairs confirmed by their points and pixels, and merged"
            if searched
            else "not searched for: views of one lesion that carry different lesion ids may stand in two folds"
        )
        + by_person,
    )


def _diagnoses(merged: Sequence[ImagePair], describe: _Describe) -> AuditCheck:
    differing = list(_of_two_diagnoses(merged, describe))
    return AuditCheck(
        code="L006",
        title="Do merged lesions agree in their diagnosis?",
        severity="warning",
        status="failed" if differing else "passed" if merged else "not_applicable",
        detail=f"{len(differing)} of {len(merged)} merged pairs have two diagnoses"
        + (f": {'; '.join(differing)}. One of each pair is wrong, or they are no pair" if differing else ""),
    )


def _of_two_diagnoses(merged: Sequence[ImagePair], describe: _Describe) -> Iterator[str]:
    for pair in merged:
        one, other = (describe.diagnoses[image] for image in (pair.image_a, pair.image_b))
        if one != other:
            yield f"{pair.image_a} ({one}) and {pair.image_b} ({other})"


def _undecided(doubtful: Sequence[ImagePair], *, searched: bool) -> AuditCheck:
    return AuditCheck(
        code="L007",
        title="Has every doubtful pair been decided?",
        severity="note",
        status="skipped" if not searched else "failed" if doubtful else "passed",
        detail=f"{len(doubtful)} doubtful pairs are left apart; look at them with `hamcv data audit`"
        if doubtful
        else "no doubtful pairs"
        if searched
        else "near-duplicates were not searched for",
    )
