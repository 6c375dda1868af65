"""How two images lie on each other, from all their features: the part of the verification that sees only points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from cv_folds.near_duplicates.candidates import Candidates
from cv_folds.near_duplicates.collection import Collection
from cv_folds.near_duplicates.features import Float32Array, X, Y
from cv_folds.near_duplicates.motion import Matches, align
from cv_folds.near_duplicates.projection import mirror_points
from cv_folds.near_duplicates.settings import SearchSettings

RATIO = 0.95
"""A match must be this much nearer than the second nearest feature of the other image (Lowe 2004)."""


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Two images whose features agree on one motion."""

    a: int
    """Row of the first image."""
    b: int
    """Row of the second image."""
    mirrored: bool
    """Whether the second must be mirrored to lie on the first."""
    matrix: FloatArray
    """(2, 3) from pixels of the second working image to pixels of the first, mirroring included."""
    matches: int
    """Features that are each other's nearest."""
    inliers: int
    """Those that agree on the motion."""
    possible: int
    """Features in the part that both images show, of the image with fewer of them."""
    spread: float
    """Standard deviation in pixels of the inliers, across the direction in which they spread least."""

    @property
    def scale(self) -> float:
        """How much larger the first image shows things."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    @property
    def degrees(self) -> float:
        """By how much the second image is turned to lie on the first, after mirroring; from -180 to 180."""
        # Mirroring turns the sign of what the x axis becomes.
        return float(np.degrees(np.arctan2(-self.matrix[0, 1], self.matrix[1, 1])))


def align_candidates(
    collection: Collection, candidates: Candidates, rows: IntArray, settings: SearchSettings
) -> list[Alignment]:
    """Align some of the candidates.

    Parameters
    ----------
    collection : Collection
        Features of all images.
    candidates : Candidates
        Pairs of images.
    rows : (p,) int array
        Which of them, ascending.
    settings : SearchSettings
        How many inliers are needed.

    Returns
    -------
    list of Alignment
        Of the pairs with at least `settings.least_inliers`, in the order of `rows`.
    """
    found = [_match(collection, candidates, row) for row in rows.tolist()]
    sizes = np.array([len(a) for a, _ in found], dtype=np.int64)
    matches = Matches(
        pair=np.repeat(rows, sizes),
        a=np.concatenate([np.zeros((0, 4), np.float32), *(a for a, _ in found)]),
        b=np.concatenate([np.zeros((0, 4), np.float32), *(b for _, b in found)]),
        weight=np.ones(sizes.sum()),
    )
    aligned = align(matches)
    inliers = matches.select(aligned.inliers)
    alignments = []
    for number, row in enumerate(aligned.pair.tolist()):
        if aligned.n_inliers[number] < settings.least_inliers:
            continue
        points = inliers.a[inliers.pair == row][:, [X, Y]].astype(np.float64)
        matrix = aligned.motions.matrix(number)
        if candidates.mirrored[row]:
            matrix = matrix @ np.diag([-1.0, 1.0, 1.0])
        a, b = int(candidates.a[row]), int(candidates.b[row])
        alignments.append(
            Alignment(
                a=a,
                b=b,
                mirrored=bool(candidates.mirrored[row]),
                matrix=matrix,
                matches=int(sizes[np.searchsorted(rows, row)]),
                inliers=int(aligned.n_inliers[number]),
                possible=_possible(collection, a, b, matrix),
                spread=float(np.sqrt(max(np.linalg.eigvalsh(np.cov(points.T))[0], 0.0))),
            )
        )
    return alignments


def _match(collection: Collection, candidates: Candidates, row: int) -> tuple[Float32Array, Float32Array]:
    """Return the (m, 4) points that are each other's nearest, those of the second image mirrored where needed."""
    a, b = (slice(*collection.starts[image : image + 2]) for image in (candidates.a[row], candidates.b[row]))
    points = collection.points[b]
    first, second = (collection.descriptors[part].astype(np.float32) for part in (a, b))
    if candidates.mirrored[row]:
        points, second = mirror_points(points), second * collection.projection.parity
    if min(len(first), len(second)) < 2:
        return collection.points[a][:0], points[:0]
    distances = first @ (second.T * np.float32(-2))
    distances += np.einsum("ij,ij->i", first, first)[:, None]
    distances += np.einsum("ij,ij->i", second, second)
    forth, back = distances.argmin(axis=1), distances.argmin(axis=0)
    mutual = np.flatnonzero(back[forth] == np.arange(len(first)))
    partner = forth[mutual]
    nearest = distances[mutual, partner]
    others = distances[mutual]
    others[np.arange(len(mutual)), partner] = np.inf
    clear = nearest < RATIO**2 * others.min(axis=1)
    return collection.points[a][mutual[clear]], points[partner[clear]]


def _possible(collection: Collection, a: int, b: int, matrix: FloatArray) -> int:
    """Count the features of each image that lie within the features of the other; return the smaller number."""
    of_a, of_b = (
        collection.points[collection.starts[i] : collection.starts[i + 1], : Y + 1].astype(np.float64) for i in (a, b)
    )
    back = np.linalg.inv(np.vstack([matrix, [0.0, 0.0, 1.0]]))[:2]
    return min(_inside(of_a @ back[:, :2].T + back[:, 2], of_b), _inside(of_b @ matrix[:, :2].T + matrix[:, 2], of_a))


def _inside(points: FloatArray, others: FloatArray) -> int:
    inside: BoolArray = (points >= others.min(axis=0)) & (points <= others.max(axis=0))
    return int(inside.all(axis=1).sum())
