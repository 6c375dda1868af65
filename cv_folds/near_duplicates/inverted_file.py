"""Nearest features among all images, found in the cells of a codebook (Jégou, Douze, Schmid, PAMI 33, 2011).

Only the features in the cells nearest to a feature are compared with it: about a thousandth of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import IntArray
from cv_folds.near_duplicates.features import Float32Array
from cv_folds.near_duplicates.projection import SCALE, Int8Array
from cv_folds.near_duplicates.settings import SearchSettings

ROUNDS = 8
SAMPLE_A_CELL = 50
AT_A_TIME = 1024
SPARE = 8
"""Neighbours more than wanted that a cell gives, since those of the same owner are then left out."""


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Pairs of a query and a near feature, sorted by query and then by distance."""

    query: IntArray
    """(m,) index into the queries."""
    feature: IntArray
    """(m,) index into the collection."""
    distance: Float32Array
    """(m,) squared, of descriptors of unit length."""


@dataclass(frozen=True, kw_only=True)
class InvertedFile:
    """Descriptors sorted by cell."""

    centres: Float32Array
    """(k, d)."""
    starts: IntArray
    """(k + 1,): cell c holds the rows from ``starts[c]`` up to ``starts[c + 1]``."""
    features: IntArray
    """(f,) index into the collection."""
    descriptors: Int8Array
    """(f, d)."""
    owners: IntArray
    """(f,) features of one owner are not neighbours of each other."""

    def nearest(self, queries: Float32Array, owners: IntArray, settings: SearchSettings) -> Neighbours:
        """Return the nearest features of other owners, at most `settings.neighbours` for each query.

        Parameters
        ----------
        queries : (q, d) float32 array
            In the units of `descriptors`.
        owners : (q,) int array
            Owner of each query.
        settings : SearchSettings
            How many cells, how many neighbours, how far.
        """
        found: list[tuple[IntArray, IntArray, Float32Array]] = []
        farthest = np.float32(settings.farthest_neighbour * SCALE**2)
        cells = nearest_centres(queries, self.centres, settings.probes)
        order = np.argsort(cells, axis=None, kind="stable")
        askers = order // cells.shape[1]
        bounds = np.searchsorted(cells.ravel()[order], np.arange(len(self.centres) + 1))
        asked = _asking(queries)
        most = settings.neighbours + SPARE
        for cell in np.flatnonzero((np.diff(bounds) > 0) & (np.diff(self.starts) > 0)).tolist():
            asking = askers[bounds[cell] : bounds[cell + 1]]
            inside = slice(int(self.starts[cell]), int(self.starts[cell + 1]))
            distances = asked[asking] @ _answering(self.descriptors[inside].astype(np.float32)).T
            near = distances < farthest
            crowded = np.flatnonzero(near.sum(axis=1) > most)
            if len(crowded):
                rows = distances[crowded]
                near[crowded] = rows <= np.partition(rows, most - 1, axis=1)[:, most - 1, None]
            asker, member = np.divmod(np.flatnonzero(near), near.shape[1])
            found.append((asking[asker], member + inside.start, distances[asker, member]))
        if not found:
            none = np.zeros(0, np.int64)
            return Neighbours(query=none, feature=none, distance=none.astype(np.float32))
        query, row, distance = (np.concatenate(column) for column in zip(*found, strict=True))
        return self._best(query, row, distance, owners, settings.neighbours)

    def _best(self, query: IntArray, row: IntArray, distance: Float32Array, owners: IntArray, most: int) -> Neighbours:
        others = self.owners[row] != owners[query]
        query, row, distance = query[others], row[others], distance[others]
        order = np.lexsort((self.features[row], distance, query))
        query, row, distance = query[order], row[order], distance[order]
        kept = np.arange(len(query)) - np.searchsorted(query, query) < most
        return Neighbours(
            query=query[kept], feature=self.features[row[kept]], distance=distance[kept] / np.float32(SCALE**2)
        )


def build_inverted_file(descriptors: Int8Array, owners: IntArray, settings: SearchSettings) -> InvertedFile:
    """Divide (f, d) descriptors into cells by k-means.

    Parameters
    ----------
    descriptors : (f, d) int8 array
        All features.
    owners : (f,) int array
        Features of one owner are not neighbours of each other.
    settings : SearchSettings
        How many cells; seed of the sample.
    """
    generator = np.random.default_rng(settings.seed)
    n_cells = max(1, min(settings.cells, len(descriptors) // 40))
    chosen = generator.permutation(len(descriptors))[: n_cells * SAMPLE_A_CELL]
    sample = descriptors[np.sort(chosen)].astype(np.float32)
    centres = sample[generator.permutation(len(sample))[:n_cells]]
    if len(sample):
        for _ in range(ROUNDS):
            centres = _means(sample, nearest_centres(sample, centres, 1)[:, 0], centres)
        cells = np.concatenate(
            [
                nearest_centres(descriptors[start : start + AT_A_TIME].astype(np.float32), centres, 1)[:, 0]
                for start in range(0, len(descriptors), AT_A_TIME)
            ]
        )
    else:
        cells = np.zeros(0, np.int64)
    order = np.argsort(cells, kind="stable")
    return InvertedFile(
        centres=centres,
        starts=np.searchsorted(cells[order], np.arange(len(centres) + 1)),
        features=order,
        descriptors=descriptors[order],
        owners=owners[order],
    )


def nearest_centres(vectors: Float32Array, centres: Float32Array, most: int) -> IntArray:
    """Return (n, most) the nearest centres of each vector, nearest first."""
    most = min(most, len(centres))
    asked, answers = _asking(vectors), _answering(centres).T
    found = np.empty((len(vectors), most), np.int64)
    for start in range(0, len(vectors), AT_A_TIME):
        distances = asked[start : start + AT_A_TIME] @ answers
        rows = np.arange(len(distances))
        for rank in range(most):
            best = distances.argmin(axis=1)
            found[start : start + AT_A_TIME, rank] = best
            distances[rows, best] = np.inf
    return found


def _asking(vectors: Float32Array) -> Float32Array:
    """Return rows whose products with those of `_answering` are squared distances: one product, no further pass."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    return np.column_stack([vectors * np.float32(-2), np.ones_like(squares), squares])


def _answering(vectors: Float32Array) -> Float32Array:
    squares = np.einsum("ij,ij->i", vectors, vectors)
    return np.column_stack([vectors, squares, np.ones_like(squares)])


def _means(vectors: Float32Array, cells: IntArray, centres: Float32Array) -> Float32Array:
    """Return the mean of the vectors of each cell; an empty cell keeps its centre."""
    order = np.argsort(cells, kind="stable")
    filled, first, counts = np.unique(cells[order], return_index=True, return_counts=True)
    moved = centres.copy()
    moved[filled] = np.add.reduceat(vectors[order], first, axis=0) / counts[:, None]
    return moved
