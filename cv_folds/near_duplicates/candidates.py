"""Which of all pairs of images are worth a closer look: those whose nearest features agree on one motion."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from cv_folds.near_duplicates.collection import Collection
from cv_folds.near_duplicates.inverted_file import InvertedFile, Neighbours, build_inverted_file
from cv_folds.near_duplicates.motion import MOST, Matches, support
from cv_folds.near_duplicates.projection import mirror_points
from cv_folds.near_duplicates.settings import SearchSettings

IMAGES_AT_A_TIME = 200
LEAST_VOTE = 0.1
"""What the farthest neighbour counts; an identical descriptor counts 1."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Pairs of images, each once; the first is the one with the smaller number."""

    a: IntArray
    """(p,) first image."""
    b: IntArray
    """(p,) second image."""
    mirrored: BoolArray
    """(p,) whether the votes are for the mirror image of the second."""
    votes: FloatArray
    """(p,) weight of the votes that agree on one motion."""

    def __len__(self) -> int:
        return len(self.a)


def find_candidates(
    collection: Collection,
    owners: IntArray,
    settings: SearchSettings,
    *,
    workers: int,
    on_image: Callable[[], object] = lambda: None,
    n_asking: int | None = None,
) -> Candidates:
    """Let every feature vote for the images of its nearest neighbours.

    Parameters
    ----------
    collection : Collection
        Features of all images.
    owners : (n,) int array
        Images of one owner are not candidates: the lesion of each image, or the image itself.
    settings : SearchSettings
        How many candidates an image.
    workers : int
        Threads; the result does not depend on their number.
    on_image : callable
        Called after each image, from any thread.
    n_asking : int, optional
        Only the first so many images vote, and only for the others; when not given, all vote for all.

    Returns
    -------
    Candidates
        Sorted by `a`, then `b`.
    """
    image_of = collection.image_of()
    last = collection.n_images if n_asking is None else n_asking
    # Where all vote for all, every feature answers; else those behind the ones that ask.
    asked = 0 if n_asking is None else int(collection.starts[n_asking])
    file = build_inverted_file(collection.descriptors[asked:], owners[image_of[asked:]], settings)
    file = replace(file, features=file.features + asked)

    def vote(first: int) -> Candidates:
        images = range(first, min(first + IMAGES_AT_A_TIME, last))
        found = _vote(collection, file, image_of, owners, images, settings)
        for _ in images:
            on_image()
        return found

    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(vote, range(0, last, IMAGES_AT_A_TIME)))
    return _each_once(found)


def _vote(
    collection: Collection,
    file: InvertedFile,
    image_of: IntArray,
    owners: IntArray,
    images: range,
    settings: SearchSettings,
) -> Candidates:
    rows = collection.rows(images)
    queries = collection.descriptors[rows].astype(np.float32)
    found = []
    for mirrored in (False, True):
        turned = queries * collection.projection.parity if mirrored else queries
        near = file.nearest(turned, owners[image_of[rows]], settings)
        query = rows[near.query]
        a, b, votes = _count(collection, image_of, query, near, settings, mirrored=mirrored)
        found.append(Candidates(a=a, b=b, mirrored=np.full(len(a), mirrored), votes=votes))
    both = _join(found)
    order = np.lexsort((both.mirrored, both.b, -both.votes, both.a))
    first = order[_first_of_each(both.a[order] * collection.n_images + both.b[order])]
    rank = np.arange(len(first)) - np.searchsorted(both.a[first], both.a[first])
    return _select(both, first[(rank < settings.candidates) & (both.votes[first] >= settings.least_votes)])


def _count(
    collection: Collection,
    image_of: IntArray,
    query: IntArray,
    near: Neighbours,
    settings: SearchSettings,
    *,
    mirrored: bool,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return pairs of images and the largest weight of votes that agree."""
    pair = image_of[query] * collection.n_images + image_of[near.feature]
    order = np.lexsort((near.distance, pair))
    pair = pair[order]
    begin = np.searchsorted(pair, pair)
    rank = np.arange(len(pair)) - begin
    alone = np.searchsorted(pair, pair, side="right") - begin < 2
    kept = ~alone & (rank < MOST)
    order, pair = order[kept], pair[kept]
    points = collection.points[query[order]]
    weight = np.maximum(1 - near.distance[order].astype(np.float64) / settings.farthest_neighbour, LEAST_VOTE)
    # The neighbour stays as it is and the query moves onto it, mirrored or not.
    matches = Matches(
        pair=pair,
        a=collection.points[near.feature[order]],
        b=mirror_points(points) if mirrored else points,
        weight=weight,
    )
    if not len(matches):
        none = np.zeros(0, np.int64)
        return none, none, np.zeros(0)
    starts = matches.starts()
    votes = np.maximum.reduceat(support(matches), starts)
    a, b = np.divmod(pair[starts], collection.n_images)
    return a, b, votes


def _each_once(found: list[Candidates]) -> Candidates:
    """Return every pair with its smaller image first, and with the votes of the direction that has more."""
    both = _join(found)
    low, high = np.minimum(both.a, both.b), np.maximum(both.a, both.b)
    order = np.lexsort((both.mirrored, -both.votes, high, low))
    first = order[np.r_[True, (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)][: len(order)]]
    return Candidates(a=low[first], b=high[first], mirrored=both.mirrored[first], votes=both.votes[first])


def _first_of_each(keys: IntArray) -> IntArray:
    """Return the sorted positions at which each key occurs first."""
    return np.sort(np.unique(keys, return_index=True)[1])


def _join(found: list[Candidates]) -> Candidates:
    return Candidates(
        a=np.concatenate([part.a for part in found]),
        b=np.concatenate([part.b for part in found]),
        mirrored=np.concatenate([part.mirrored for part in found]),
        votes=np.concatenate([part.votes for part in found]),
    )


def _select(candidates: Candidates, rows: IntArray) -> Candidates:
    return Candidates(
        a=candidates.a[rows],
        b=candidates.b[rows],
        mirrored=candidates.mirrored[rows],
        votes=candidates.votes[rows],
    )
