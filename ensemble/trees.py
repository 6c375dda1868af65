"""Boosted decision trees as plain numbers: copied from a fitted scikit-learn model once, evaluated here ever after."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np

from cv_folds.arrays import FloatArray, IntArray, frozen
from cv_folds.errors import DataError

DEEPEST = 8
"""Most steps from the root of a tree to a leaf; every tree takes 2 ** depth numbers."""

Tree: TypeAlias = Any
"""The JSON form: a leaf is a number, a split is ``[feature, threshold, tree, tree]``; a row whose feature is at most
the threshold goes to the first of the two."""

_ROWS_AT_ONCE = 1_000
"""So that memory stays bounded: every tree holds a place for each of them."""


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Trees of one depth; in each round, one adds to each score.

    The children of place i are 2i + 1 and 2i + 2. A leaf above the full depth is a split that sends every row to the
    left.
    """

    features: IntArray
    """(n_rounds, n_scores, 2 ** depth - 1) the feature that a split looks at."""
    thresholds: FloatArray
    """(n_rounds, n_scores, 2 ** depth - 1) a row with at most this value goes left."""
    leaves: FloatArray
    """(n_rounds, n_scores, 2 ** depth) what is added to the score."""

    @property
    def depth(self) -> int:
        """Steps from the root to a leaf."""
        return int(self.leaves.shape[-1]).bit_length() - 1

    @classmethod
    def of_json(cls, rounds: Sequence[Sequence[Tree]], n_scores: int, n_features: int) -> Self:
        """Read the trees of all rounds; anything malformed raises `DataError`."""
        if any(len(trees) != n_scores for trees in rounds):
            raise DataError(f"every round needs {n_scores} trees")
        depth = max((_depth(tree, n_features) for trees in rounds for tree in trees), default=0)
        shape = (len(rounds), n_scores)
        features = np.zeros((*shape, 2**depth - 1), dtype=np.int64)
        thresholds = np.full((*shape, 2**depth - 1), np.inf)
        leaves = np.zeros((*shape, 2**depth))
        for place in np.ndindex(shape):
            _lay_out(rounds[place[0]][place[1]], features[place], thresholds[place], leaves[place], 0)
        return cls(features=frozen(features), thresholds=frozen(thresholds), leaves=frozen(leaves))

    def to_json(self) -> list[list[Tree]]:
        """Return the trees of all rounds."""
        return [
            [
                _nested(self.features[number, score], self.thresholds[number, score], self.leaves[number, score], 0)
                for score in range(self.leaves.shape[1])
            ]
            for number in range(len(self.leaves))
        ]

    def sums(self, rows: FloatArray, *, every_round: bool = False) -> FloatArray:
        """Add up what the trees say.

        Parameters
        ----------
        rows : (n, n_features) float64
            Features.
        every_round : bool
            Return the sums after each round too.

        Returns
        -------
        (n, n_scores) or (n, n_rounds, n_scores) float64
        """
        starts = range(0, max(len(rows), 1), _ROWS_AT_ONCE)
        pieces = [self._leaf_values(rows[start : start + _ROWS_AT_ONCE]) for start in starts]
        summed = [piece.cumsum(axis=1) if every_round else piece.sum(axis=1) for piece in pieces]
        return np.concatenate(summed)

    def _leaf_values(self, rows: FloatArray) -> FloatArray:
        """Return what each tree says, (n, n_rounds, n_scores)."""
        n_rounds, n_scores, n_leaves = self.leaves.shape
        tree = np.arange(n_rounds * n_scores)
        features = self.features.reshape(len(tree), n_leaves - 1)
        thresholds = self.thresholds.reshape(len(tree), n_leaves - 1)
        place = np.zeros((len(rows), len(tree)), dtype=np.int64)
        number = np.arange(len(rows))[:, None]
        for _ in range(self.depth):
            right = rows[number, features[tree, place]] > thresholds[tree, place]
            place = 2 * place + 1 + right
        values: FloatArray = self.leaves.reshape(len(tree), n_leaves)[tree, place - (n_leaves - 1)]
        return values.reshape(len(rows), n_rounds, n_scores)


def tree_of_nodes(nodes: Any, node: int = 0) -> Tree:
    """Return the JSON form of a tree of scikit-learn's histogram gradient boosting, from its table of nodes."""
    row = nodes[node]
    if row["is_leaf"]:
        return float(row["value"])
    below = [tree_of_nodes(nodes, int(row[side])) for side in ("left", "right")]
    return [int(row["feature_idx"]), float(row["num_threshold"]), *below]


def _depth(tree: Tree, n_features: int, above: int = 0) -> int:
    """Count the splits between a tree's root and its deepest leaf; refuse what is no tree."""
    if above > DEEPEST:
        raise DataError(f"a tree is more than {DEEPEST} splits deep")
    if _finite(tree):
        return 0
    if not (isinstance(tree, list) and len(tree) == 4 and type(tree[0]) is int and _finite(tree[1])):
        raise DataError("a tree must be a finite number, or a list of feature, threshold and two trees")
    if not 0 <= tree[0] < n_features:
        raise DataError(f"a tree looks at feature {tree[0]}; they are numbered from 0 to {n_features - 1}")
    return 1 + max(_depth(tree[2], n_features, above + 1), _depth(tree[3], n_features, above + 1))


def _finite(value: Tree) -> bool:
    return type(value) is float and math.isfinite(value)


def _lay_out(tree: Tree, features: IntArray, thresholds: FloatArray, leaves: FloatArray, place: int) -> None:
    if place >= len(features):
        leaves[place - len(features)] = tree
    elif isinstance(tree, list):
        features[place], thresholds[place] = tree[:2]
        for child, below in enumerate(tree[2:], start=1):
            _lay_out(below, features, thresholds, leaves, 2 * place + child)
    else:
        _lay_out(tree, features, thresholds, leaves, 2 * place + 1)


def _nested(features: IntArray, thresholds: FloatArray, leaves: FloatArray, place: int) -> Tree:
    if place >= len(features):
        return float(leaves[place - len(features)])
    if np.isinf(thresholds[place]):
        return _nested(features, thresholds, leaves, 2 * place + 1)
    below = [_nested(features, thresholds, leaves, 2 * place + child) for child in (1, 2)]
    return [int(features[place]), float(thresholds[place]), *below]
