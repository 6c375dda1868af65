"""Turning, scaling and shifting one image onto another, found from matched points.

Points carry a size and an angle, so that each match alone gives a whole motion; the one that most other matches agree
with is refined by least squares. This takes the place of random sampling: nothing is drawn, nothing is missed.
(Philbin et al., "Object retrieval with large vocabularies and fast spatial matching", CVPR 2007.)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from cv_folds.near_duplicates.features import ANGLE, SIZE, Float32Array, X, Y

REACH = 4.0
"""Pixels by which a point may miss its place; more where the second image is enlarged."""
ANGLES = 0.5
"""Radians by which the angle of a match may differ from that of the motion."""
SIZES = 0.5
"""Likewise for the natural logarithm of the ratio of sizes."""
LARGEST_SCALE = 4.0
"""Either image may be enlarged up to this."""
MOST = 300
"""Matches of one pair that are looked at."""
ROUNDS = 3
COMBINATIONS = 100_000
"""Pairs of matches that are looked at together."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Matched points of many pairs of images, pair after pair."""

    pair: IntArray
    """(m,) number of the pair, ascending."""
    a: Float32Array
    """(m, 4) points in the first image."""
    b: Float32Array
    """(m, 4) points in the second image, or in its mirror image."""
    weight: FloatArray
    """(m,) what each match counts."""

    def __len__(self) -> int:
        return len(self.pair)

    def starts(self) -> IntArray:
        """Return where each pair that has matches begins."""
        return np.flatnonzero(np.r_[True, np.diff(self.pair) != 0][: len(self)])

    def select(self, keep: BoolArray | IntArray) -> Matches:
        """Return some of the matches; `keep` must not change the order of the pairs."""
        return Matches(pair=self.pair[keep], a=self.a[keep], b=self.b[keep], weight=self.weight[keep])


@dataclass(frozen=True, kw_only=True)
class Motions:
    """Similarity transforms from second to first images: x' = c x - s y + u, y' = s x + c y + v."""

    c: FloatArray
    """(m,) scale times cosine."""
    s: FloatArray
    """(m,) scale times sine."""
    u: FloatArray
    """(m,) pixels."""
    v: FloatArray
    """(m,) pixels."""

    def scale(self) -> FloatArray:
        """Return (m,) how much larger the first image shows things."""
        return np.hypot(self.c, self.s)

    def angle(self) -> FloatArray:
        """Return (m,) radians."""
        return np.arctan2(self.s, self.c)

    def select(self, rows: IntArray) -> Motions:
        """Return some of the motions."""
        return Motions(c=self.c[rows], s=self.s[rows], u=self.u[rows], v=self.v[rows])

    def matrix(self, row: int) -> FloatArray:
        """Return one motion as a (2, 3) matrix."""
        c, s, u, v = (float(part[row]) for part in (self.c, self.s, self.u, self.v))
        return np.array([[c, -s, u], [s, c, v]])

    def plausible(self) -> BoolArray:
        """Mark the motions that enlarge neither image too much."""
        scale = self.scale()
        return (scale <= LARGEST_SCALE) & (scale >= 1 / LARGEST_SCALE)


def motions_of(matches: Matches) -> Motions:
    """Return the motion that each match gives alone."""
    scale = matches.a[:, SIZE].astype(np.float64) / matches.b[:, SIZE]
    angle = matches.a[:, ANGLE].astype(np.float64) - matches.b[:, ANGLE]
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    x, y = matches.b[:, X], matches.b[:, Y]
    return Motions(c=c, s=s, u=matches.a[:, X] - (c * x - s * y), v=matches.a[:, Y] - (s * x + c * y))


def agree(motions: Motions, matches: Matches, own: Motions) -> BoolArray:
    """Tell for (m,) motions and matches, one by one, whether the match lies where the motion moves it.

    `own` are the motions that the matches give alone.
    """
    x, y = matches.b[:, X], matches.b[:, Y]
    miss_x = motions.c * x - motions.s * y + motions.u - matches.a[:, X]
    miss_y = motions.s * x + motions.c * y + motions.v - matches.a[:, Y]
    scale = motions.scale()
    turn = np.abs((motions.angle() - own.angle() + np.pi) % (2 * np.pi) - np.pi)
    return (
        (miss_x**2 + miss_y**2 < (REACH * np.maximum(scale, 1)) ** 2)
        & (turn < ANGLES)
        & (np.abs(np.log(np.maximum(scale, 1e-9) / own.scale())) < SIZES)
    )


def support(matches: Matches) -> FloatArray:
    """Return (m,) the weight of all matches of the pair that agree with the motion of each match.

    A match whose motion is not plausible has none.
    """
    own = motions_of(matches)
    left, right = _near_misses(matches, own)
    # Only few pass the look at positions.
    agreed = agree(own.select(left), matches.select(right), own.select(right))
    # One point matched with several is one piece of evidence.
    same_point = (matches.a[left, :2] == matches.a[right, :2]).all(axis=1) | (
        matches.b[left, :2] == matches.b[right, :2]
    ).all(axis=1)
    agreed &= ~same_point | (left == right)
    total = np.bincount(left[agreed], weights=matches.weight[right[agreed]], minlength=len(matches))
    return np.where(own.plausible(), total, 0.0)


def _near_misses(matches: Matches, own: Motions) -> tuple[IntArray, IntArray]:
    """Return which motions (first) move which matches of their pair (second) to about their place."""
    starts = matches.starts()
    sizes = np.diff(np.r_[starts, len(matches)])
    rows = np.arange(len(matches))
    first, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    c, s, u, v = (part.astype(np.float32) for part in (own.c, own.s, own.u, own.v))
    # A little more than `agree` allows, since it computes more exactly.
    reach = ((REACH + np.float32(0.01)) * np.maximum(np.hypot(c, s), 1)) ** 2
    found: list[tuple[IntArray, IntArray]] = []
    # Blocks that stay in a processor's cache.
    ends = np.searchsorted(np.cumsum(size), np.arange(COMBINATIONS, size.sum() + COMBINATIONS, COMBINATIONS), "right")
    for begin, end in pairwise([0, *np.unique(np.maximum(ends, 1)).tolist()]):
        block = slice(begin, end)
        repeated = size[block]
        left = np.repeat(rows[block], repeated)
        right = np.arange(len(left)) + np.repeat(first[block] - (np.cumsum(repeated) - repeated), repeated)
        x, y = matches.b[right, X], matches.b[right, Y]
        miss_x = c[left] * x - s[left] * y + u[left] - matches.a[right, X]
        miss_y = s[left] * x + c[left] * y + v[left] - matches.a[right, Y]
        near = np.flatnonzero(miss_x * miss_x + miss_y * miss_y < reach[left])
        found.append((left[near], right[near]))
    if not found:
        return rows, rows
    return np.concatenate([left for left, _ in found]), np.concatenate([right for _, right in found])


@dataclass(frozen=True, kw_only=True)
class Alignments:
    """The best motion of each pair."""

    pair: IntArray
    """(p,) the pairs that have at least two matches that agree."""
    motions: Motions
    """(p,)."""
    inliers: BoolArray
    """(m,) which matches agree with the motion of their pair."""
    n_inliers: IntArray
    """(p,)."""


def align(matches: Matches) -> Alignments:
    """Find the motion that most matches of each pair agree with."""
    own = motions_of(matches)
    starts = matches.starts()
    if not len(starts):
        return Alignments(pair=starts, motions=own, inliers=np.zeros(0, bool), n_inliers=starts)
    number = np.cumsum(np.r_[True, np.diff(matches.pair) != 0]) - 1
    order = np.lexsort((-support(matches), number))
    best = own.select(order[starts])
    inliers = _inliers(best, number, matches, own)
    counts = np.bincount(number[inliers], minlength=len(starts))
    for _ in range(ROUNDS):
        fitted = _least_squares(matches, inliers, number, len(starts))
        again = _inliers(fitted, number, matches, own)
        better = np.bincount(number[again], minlength=len(starts))
        improved = (better >= counts) & (counts >= 3) & fitted.plausible()
        best = Motions(**{key: np.where(improved, getattr(fitted, key), getattr(best, key)) for key in "csuv"})
        inliers = np.where(improved[number], again, inliers)
        counts = np.where(improved, better, counts)
    found = (counts >= 2) & best.plausible()
    return Alignments(
        pair=matches.pair[starts][found],
        motions=best.select(np.flatnonzero(found)),
        inliers=inliers & found[number],
        n_inliers=counts[found],
    )


def _inliers(motions: Motions, number: IntArray, matches: Matches, own: Motions) -> BoolArray:
    return agree(motions.select(number), matches, own)


def _least_squares(matches: Matches, chosen: BoolArray, number: IntArray, n_pairs: int) -> Motions:
    """Fit a motion to the chosen matches of each pair; one that cannot be fitted has scale 0."""
    rows = number[chosen]

    def per_pair(values: FloatArray) -> FloatArray:
        return np.bincount(rows, weights=values, minlength=n_pairs).astype(np.float64)

    n = np.maximum(per_pair(np.ones(len(rows))), 1)
    x, y = (matches.b[chosen, column].astype(np.float64) for column in (X, Y))
    p, q = (matches.a[chosen, column].astype(np.float64) for column in (X, Y))
    mean_x, mean_y, mean_p, mean_q = (per_pair(values) / n for values in (x, y, p, q))
    x, y, p, q = x - mean_x[rows], y - mean_y[rows], p - mean_p[rows], q - mean_q[rows]
    spread = np.maximum(per_pair(x**2 + y**2), 1e-9)
    c, s = per_pair(x * p + y * q) / spread, per_pair(x * q - y * p) / spread
    return Motions(c=c, s=s, u=mean_p - (c * mean_x - s * mean_y), v=mean_q - (s * mean_x + c * mean_y))
