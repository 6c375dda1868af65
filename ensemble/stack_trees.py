"""Stacking with gradient-boosted trees on the members' log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray, frozen
from cv_folds.clinical import ClinicalTable
from cv_folds.errors import DataError
from ensemble.inner_folds import choose
from ensemble.member_outputs import member_features
from ensemble.penalised import log_loss, with_absent
from ensemble.settings import EnsembleSettings
from ensemble.stored import read_stored
from ensemble.trees import Tree, Trees, tree_of_nodes

LEARNING_RATE = 0.1
DEPTH = 3
LEAVES = 8
FEWEST_ROWS = 20
"""In a leaf."""
SHRINKAGE = 1.0
"""L2 penalty on the leaves."""
MOST_INNER_FOLDS = 3
"""Each of them costs as much as `tree_rounds` rounds."""


@dataclass(frozen=True, kw_only=True)
class StackTrees:
    """Gradient boosting with shallow trees on the concatenated log-softmax of all backbones.

    Notes
    -----
    Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 2001, on histograms as
    in LightGBM; fitted by scikit-learn's HistGradientBoostingClassifier and evaluated by `ensemble.trees`. Learning
    rate 0.1, trees of at most 8 leaves and 3 splits deep, at least 20 rows a leaf, L2 penalty 1. The number of rounds
    is chosen by lesion-grouped inner cross-validation in at most 3 folds, at most `tree_rounds`.

    The features are those of `ensemble.stacking.Stack`; a class without any row in the fit gets the probability
    `ensemble.penalised.ABSENT` everywhere.
    """

    n_backbones: int
    """Length of the second axis of the logits."""
    rounds: int
    """The chosen number of rounds."""
    boosted: Boosted
    """What was fitted."""

    @property
    def n_classes(self) -> int:
        """Length of the last axis of the logits."""
        return len(self.boosted.present)

    @classmethod
    def fit(
        cls,
        logits: FloatArray,
        labels: IntArray,
        groups: StrArray,
        settings: EnsembleSettings,
        clinical: ClinicalTable | None = None,  # noqa: ARG003
    ) -> Self:
        """Choose the number of rounds by inner cross-validation and fit on all rows.

        Parameters
        ----------
        logits : (n, n_backbones, n_classes) float64
            Outputs of models that had not seen these rows.
        labels : (n,) int
            Class numbers.
        groups : (n,) str
            Rows of one group stay together in the inner folds.
        settings : EnsembleSettings
            `tree_rounds` and `inner_folds`.
        clinical : ClinicalTable, optional
            Not used.
        """
        features, n_classes = member_features(logits), logits.shape[2]

        def losses(fitting: BoolArray, scoring: BoolArray) -> FloatArray:
            boosted = Boosted.fit(features[fitting], labels[fitting], n_classes, settings.tree_rounds)
            found = [log_loss(rows, labels[scoring]) for rows in boosted.after_each_round(features[scoring])]
            # One class alone needs no round; all numbers of rounds are the same then.
            return np.array(found or [log_loss(boosted.probabilities(features[scoring]), labels[scoring])])

        rounds = 1 + choose(labels, groups, most=min(settings.inner_folds, MOST_INNER_FOLDS), losses=losses)
        boosted = Boosted.fit(features, labels, n_classes, rounds)
        return cls(n_backbones=logits.shape[1], rounds=rounds, boosted=boosted)

    def refit(
        self,
        logits: FloatArray,
        labels: IntArray,
        groups: StrArray,  # noqa: ARG002
        clinical: ClinicalTable | None = None,  # noqa: ARG002
    ) -> Self:
        """Fit on other rows with the number of rounds that was chosen."""
        boosted = Boosted.fit(member_features(logits), labels, logits.shape[2], self.rounds)
        return type(self)(n_backbones=logits.shape[1], rounds=self.rounds, boosted=boosted)

    def combine(self, logits: FloatArray, clinical: ClinicalTable | None = None) -> FloatArray:  # noqa: ARG002
        """Return (n, n_classes) probabilities from (n, n_backbones, n_classes) logits."""
        assert logits.shape[1:] == (self.n_backbones, self.n_classes)
        return self.boosted.probabilities(member_features(logits))

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "n_backbones": self.n_backbones,
            "rounds": self.rounds,
            "present": self.boosted.present.tolist(),
            "baseline": self.boosted.baseline.tolist(),
            "trees": self.boosted.trees.to_json(),
        }

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        stored = read_stored(_Parameters, parameters, "stack_trees")
        n_scores = _n_scores(sum(stored.present))
        if not n_scores or len(stored.baseline) != n_scores:
            raise DataError(f"parameters of stack_trees: needs a present class, and {n_scores} baselines")
        try:
            trees = Trees.of_json(stored.trees, n_scores, stored.n_backbones * len(stored.present))
        except DataError as error:
            raise DataError(f"parameters of stack_trees: {error}") from error
        boosted = Boosted(
            present=frozen(stored.present, np.bool_), baseline=frozen(stored.baseline, np.float64), trees=trees
        )
        return cls(n_backbones=stored.n_backbones, rounds=stored.rounds, boosted=boosted)


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    n_backbones: int = Field(ge=1)
    rounds: int = Field(ge=1)
    present: list[bool] = Field(min_length=1)
    baseline: list[float]
    trees: list[list[Tree]]


@dataclass(frozen=True, kw_only=True)
class Boosted:
    """Trees over the classes that the fitted rows had."""

    present: BoolArray
    """(n_classes,) which classes these are."""
    baseline: FloatArray
    """(n_scores,) the scores before any tree: one a present class, or that of the second of two alone."""
    trees: Trees
    """What each round adds."""

    @classmethod
    def fit(cls, features: FloatArray, labels: IntArray, n_classes: int, rounds: int) -> Self:
        """Fit on (n, n_features) rows with (n,) class numbers."""
        present = np.isin(np.arange(n_classes), labels)
        n_scores, n_features = _n_scores(int(present.sum())), features.shape[1]
        if present.sum() == 1:
            nothing = Trees.of_json([], n_scores, n_features)
            return cls(present=frozen(present), baseline=frozen(np.zeros(n_scores)), trees=nothing)
        # Imported when needed: a bundle that is only read does without its seconds.
        from sklearn.ensemble import HistGradientBoostingClassifier

        model = HistGradientBoostingClassifier(
            max_iter=rounds,
            learning_rate=LEARNING_RATE,
            max_leaf_nodes=LEAVES,
            max_depth=DEPTH,
            min_samples_leaf=FEWEST_ROWS,
            l2_regularization=SHRINKAGE,
            early_stopping=False,
            # Draws the rows that the histograms' bins come from, where there are more than 200,000.
            random_state=0,
        )
        with threadpool_limits(limits=1):
            model.fit(features, labels)
        grown = [[tree_of_nodes(predictor.nodes) for predictor in trees] for trees in model._predictors]
        return cls(
            present=frozen(present),
            baseline=frozen(model._baseline_prediction.ravel()),
            trees=Trees.of_json(grown, n_scores, n_features),
        )

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Return (n, n_classes) probabilities."""
        return self._of_scores(self.baseline + self.trees.sums(features))

    def after_each_round(self, features: FloatArray) -> list[FloatArray]:
        """Return the (n, n_classes) probabilities after the first round, the first two, and so on."""
        sums = self.baseline + self.trees.sums(features, every_round=True)
        return [self._of_scores(sums[:, number]) for number in range(sums.shape[1])]

    def _of_scores(self, scores: FloatArray) -> FloatArray:
        if self.present.sum() == 2:
            scores = np.column_stack([np.zeros(len(scores)), scores])
        return with_absent(softmax(scores, axis=1), self.present)


def _n_scores(n_present: int) -> int:
    return 1 if n_present == 2 else n_present
