"""Which images of another data set a network has seen in training, by content, id, lesion, or what they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cv_folds.arrays import StrArray
from cv_folds.data.dataset import LesionDataset
from cv_folds.near_duplicates.search import FoundPair
from cv_folds.training_images import TrainingImages

SeenReason: TypeAlias = Literal[
    "same file", "same image id", "same lesion id", "near-duplicate", "lesion of a training image"
]
"""In the order in which the first that holds is named."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An image that cannot test the networks."""

    image_id: str
    """Its id."""
    reason: SeenReason
    """Why not."""
    training_image: str
    """Id of the training image that it matches."""
    detail: str
    """What speaks for it, in words; may be empty."""


def seen_by_record(
    dataset: LesionDataset, digests: StrArray, training: TrainingImages, *, trust_ids: bool = True
) -> tuple[Seen, ...]:
    """Find the images that are on record as training images.

    Parameters
    ----------
    dataset : LesionDataset
        Where to look.
    digests : (n,) array of str
        SHA-256 of its files.
    training : TrainingImages
        What was learned from.
    trust_ids : bool
        Whether equal image ids, and equal lesion ids, mean the same image and lesion in both.

    Returns
    -------
    tuple of Seen
        In the order of `dataset`.
    """
    names = training.image_ids.tolist()
    by_digest = dict(zip(reversed(training.digests.tolist()), reversed(names), strict=True))
    by_lesion = dict(zip(reversed(training.lesion_ids.tolist()), reversed(names), strict=True))
    by_lesion.pop("", None)
    known = set(names)
    found = []
    for image, lesion, given, digest in zip(
        dataset.image_ids.tolist(),
        dataset.lesion_ids.tolist(),
        dataset.lesion_given.tolist(),
        digests.tolist(),
        strict=True,
    ):
        if digest in by_digest:
            found.append(Seen(image_id=image, reason="same file", training_image=by_digest[digest], detail=""))
        elif trust_ids and image in known:
            found.append(Seen(image_id=image, reason="same image id", training_image=image, detail=""))
        elif trust_ids and given and lesion in by_lesion:
            match = by_lesion[lesion]
            found.append(Seen(image_id=image, reason="same lesion id", training_image=match, detail=f"lesion {lesion}"))
    return tuple(found)


def seen_by_look(pairs: Sequence[FoundPair]) -> tuple[Seen, ...]:
    """Return the images of the confirmed ones among `near_duplicates_across`, each with its strongest match."""
    strongest: dict[str, FoundPair] = {}
    for pair in pairs:
        if pair.verdict == "confirmed":
            strongest.setdefault(pair.image_a, pair)
    return tuple(
        Seen(image_id=image, reason="near-duplicate", training_image=pair.image_b, detail=pair.why)
        for image, pair in sorted(strongest.items())
    )


def with_their_lesions(image_ids: StrArray, groups: StrArray, seen: Sequence[Seen]) -> tuple[Seen, ...]:
    """Add the other images of lesions of which one image was seen: the network knows the lesion.

    Parameters
    ----------
    image_ids : (n,) array of str
        All images of the set.
    groups : (n,) array of str
        Their lesions, merged where they are taken for one.
    seen : sequence of Seen
        What was found; of several entries for one image the first counts.

    Returns
    -------
    tuple of Seen
        One entry an image, in the order of `image_ids`.
    """
    group_of = dict(zip(image_ids.tolist(), groups.tolist(), strict=True))
    by_image: dict[str, Seen] = {}
    by_group: dict[str, Seen] = {}
    for entry in seen:
        by_image.setdefault(entry.image_id, entry)
        by_group.setdefault(group_of[entry.image_id], entry)
    found = []
    for image, group in group_of.items():
        if image in by_image:
            found.append(by_image[image])
        elif group in by_group:
            first = by_group[group]
            detail = f"shows one lesion with {first.image_id} ({first.reason})"
            reason: SeenReason = "lesion of a training image"
            found.append(Seen(image_id=image, reason=reason, training_image=first.training_image, detail=detail))
    return tuple(found)
