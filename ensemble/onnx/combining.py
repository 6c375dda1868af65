"""Every combiner as a torch module, for the graph of an ONNX file; in float64, as in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from cv_folds.arrays import BoolArray, FloatArray, frozen
from cv_folds.clinical import ClinicalTable
from ensemble.combiners import Combiner
from ensemble.member_outputs import FLOOR
from ensemble.penalised import ABSENT, PenalisedRegression
from ensemble.selection import GreedySelection
from ensemble.stack_meta import StackMeta
from ensemble.stack_trees import StackTrees
from ensemble.stacking import Stack
from ensemble.voting import LogVote, SoftVote
from ensemble.weighting import WeightedVote


def combining_module(combiner: Combiner) -> nn.Module:
    """Return a module from (n, n_backbones, n_classes) float64 logits to (n, n_classes) probabilities.

    Nothing is known about the patient: `StackMeta` answers as for an image without any clinical value.
    """
    return _MODULES[type(combiner)](combiner)


class _Mean(nn.Module):
    """Weighted mean of probabilities."""

    weights: torch.Tensor

    def __init__(self, weights: FloatArray) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights[:, None]))

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return (logits.softmax(dim=2) * self.weights).sum(dim=1)


class _GeometricMean(nn.Module):
    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return _member_logs(logits).mean(dim=1).softmax(dim=1)


class _Regression(nn.Module):
    """Softmax of a linear function of the members' log-probabilities."""

    coefficients: torch.Tensor
    intercepts: torch.Tensor

    def __init__(self, coefficients: FloatArray, intercepts: FloatArray, present: BoolArray) -> None:
        super().__init__()
        self.register_buffer("coefficients", torch.tensor(coefficients.T))
        self.register_buffer("intercepts", torch.tensor(intercepts))
        self.spread = _WithAbsent(present)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        scores = _member_logs(logits).flatten(1) @ self.coefficients + self.intercepts
        spread: torch.Tensor = self.spread(scores.softmax(dim=1))
        return spread


class _Trees(nn.Module):
    """Sums over the leaves that the members' log-probabilities lead to."""

    features: torch.Tensor
    thresholds: torch.Tensor
    leaves: torch.Tensor
    baseline: torch.Tensor

    def __init__(self, combiner: StackTrees) -> None:
        super().__init__()
        trees = combiner.boosted.trees
        _, self._n_scores, n_leaves = trees.leaves.shape
        self._depth, self._n_splits = trees.depth, n_leaves - 1
        # All trees in one row of numbers, those of a tree side by side.
        self.register_buffer("features", torch.tensor(trees.features.reshape(-1)))
        self.register_buffer("thresholds", torch.tensor(trees.thresholds.reshape(-1)))
        self.register_buffer("leaves", torch.tensor(trees.leaves.reshape(-1)))
        self.register_buffer("baseline", torch.tensor(combiner.boosted.baseline))
        self.register_buffer("tree", torch.arange(trees.leaves[..., 0].size))
        self.spread = _WithAbsent(combiner.boosted.present)

    tree: torch.Tensor

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        rows = _member_logs(logits).flatten(1)
        place = torch.zeros_like(rows[:, :1], dtype=torch.int64) + 0 * self.tree
        for _ in range(self._depth):
            split = self.tree * self._n_splits + place
            right = rows.gather(1, self.features[split]) > self.thresholds[split]
            place = 2 * place + 1 + right.to(torch.int64)
        values = self.leaves[self.tree * (self._n_splits + 1) + place - self._n_splits]
        sums = values.reshape(values.shape[0], -1, self._n_scores).sum(dim=1) + self.baseline
        if self._n_scores == 1:
            sums = torch.cat([torch.zeros_like(sums), sums], dim=1)
        spread: torch.Tensor = self.spread(sums.softmax(dim=1))
        return spread


class _WithAbsent(nn.Module):
    """Spreads the probabilities of present classes over all columns."""

    places: torch.Tensor
    absent: torch.Tensor

    def __init__(self, present: BoolArray) -> None:
        super().__init__()
        self.register_buffer("places", torch.tensor(np.eye(len(present))[present] * (1 - ABSENT * (~present).sum())))
        self.register_buffer("absent", torch.tensor(np.where(present, 0.0, ABSENT)))

    def forward(self, probabilities: torch.Tensor) -> torch.Tensor:
        return probabilities @ self.places + self.absent


def _member_logs(logits: torch.Tensor) -> torch.Tensor:
    return logits.log_softmax(dim=2).clamp(min=float(np.log(FLOOR)))


def _regression(regression: PenalisedRegression, others: FloatArray) -> nn.Module:
    """Return the module of a regression whose last features are always `others`."""
    n = regression.coefficients.shape[1] - len(others)
    fixed = regression.coefficients[:, n:] @ others
    return _Regression(regression.coefficients[:, :n], regression.intercepts + fixed, regression.present)


def _of_nobody(combiner: StackMeta) -> FloatArray:
    features: FloatArray = combiner.coding.features(ClinicalTable.blank(frozen(["image"], np.str_)))[0]
    return features


_MODULES: dict[type[Any], Callable[[Any], nn.Module]] = {
    SoftVote: lambda combiner: _Mean(np.full(combiner.n_backbones, 1 / combiner.n_backbones)),
    LogVote: lambda _: _GeometricMean(),
    WeightedVote: lambda combiner: _Mean(combiner.weights),
    GreedySelection: lambda combiner: _Mean(combiner.counts / combiner.counts.sum()),
    Stack: lambda combiner: _regression(combiner.regression, np.empty(0)),
    StackMeta: lambda combiner: _regression(combiner.regression, _of_nobody(combiner)),
    StackTrees: _Trees,
}
