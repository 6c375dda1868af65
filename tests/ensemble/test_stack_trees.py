from __future__ import annotations

import json

import numpy as np
import pytest
from ensemble_samples import synthetic_oof
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss

from cv_folds.errors import DataError
from ensemble.inner_folds import inner_folds
from ensemble.member_outputs import member_features
from ensemble.penalised import ABSENT
from ensemble.settings import EnsembleSettings
from ensemble.stack_trees import DEPTH, FEWEST_ROWS, LEARNING_RATE, LEAVES, MOST_INNER_FOLDS, SHRINKAGE, StackTrees
from ensemble.trees import DEEPEST, Trees, tree_of_nodes

SETTINGS = EnsembleSettings(tree_rounds=6)


def scikit_learns(rounds: int) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=rounds, learning_rate=LEARNING_RATE, max_leaf_nodes=LEAVES, max_depth=DEPTH,
        min_samples_leaf=FEWEST_ROWS, l2_regularization=SHRINKAGE, early_stopping=False,
    )  # fmt: skip


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c"), tuple("abcdefg")])
@pytest.mark.parametrize("seed", range(3))
def test_the_probabilities_are_those_of_scikit_learn(classes, seed):
    oof = synthetic_oof(seed, classes=classes, n_lesions=150)
    rest = oof.folds != 0
    fitted = StackTrees.fit(oof.logits[rest], oof.labels[rest], oof.groups[rest], SETTINGS)
    features = member_features(oof.logits)
    reference = scikit_learns(fitted.rounds).fit(features[rest], oof.labels[rest])
    # Of rows that it saw and of others.
    np.testing.assert_allclose(fitted.combine(oof.logits), reference.predict_proba(features), rtol=0, atol=1e-12)
    after = np.array(fitted.boosted.after_each_round(features))
    np.testing.assert_allclose(after, list(reference.staged_predict_proba(features)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"max_depth": 1}, {"max_leaf_nodes": 5}, {"max_leaf_nodes": 31, "max_depth": 6}])
def test_trees_of_other_shapes_are_copied_too(options):
    rng = np.random.default_rng(0)
    # Many equal values, so that rows lie exactly on thresholds.
    features = rng.integers(0, 6, size=(400, 4)).astype(float)
    labels = (features @ [1, -2, 0.5, 0] + rng.normal(size=400) > -2).astype(int)
    model = HistGradientBoostingClassifier(max_iter=9, early_stopping=False, **options).fit(features, labels)
    trees = Trees.of_json([[tree_of_nodes(tree.nodes) for tree in trees] for trees in model._predictors], 1, 4)
    raw = model._baseline_prediction + trees.sums(features)
    np.testing.assert_allclose(raw[:, 0], model.decision_function(features), rtol=0, atol=1e-12)
    again = Trees.of_json(json.loads(json.dumps(trees.to_json())), 1, 4)
    np.testing.assert_array_equal(again.sums(features), trees.sums(features))


def test_many_rows_are_evaluated_in_pieces(monkeypatch):
    oof = synthetic_oof(0)
    fitted = StackTrees.fit(oof.logits, oof.labels, oof.groups, SETTINGS)
    whole = fitted.combine(oof.logits)
    monkeypatch.setattr("ensemble.trees._ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(fitted.combine(oof.logits), whole)


@pytest.mark.parametrize("seed", range(2))
def test_the_number_of_rounds_is_the_best_of_the_inner_cross_validation(seed):
    oof = synthetic_oof(seed, n_lesions=150)
    features = member_features(oof.logits)
    inner = inner_folds(oof.labels, oof.groups, most=MOST_INNER_FOLDS)
    losses = np.zeros(40)
    for fold in np.unique(inner):
        out = inner == fold
        stages = scikit_learns(40).fit(features[~out], oof.labels[~out]).staged_predict_proba(features[out])
        losses += [log_loss(oof.labels[out], rows, normalize=False, labels=[0, 1, 2]) for rows in stages]
    fitted = StackTrees.fit(oof.logits, oof.labels, oof.groups, EnsembleSettings(tree_rounds=40))
    assert fitted.rounds == 1 + losses.argmin()
    assert 1 < fitted.rounds < 40


@pytest.mark.parametrize("absent", [[1], [0, 2], [0, 1, 3]])
def test_an_absent_class_keeps_its_column_near_zero(absent):
    oof = synthetic_oof(6, classes=("a", "b", "c", "d"), n_lesions=120)
    keep = ~np.isin(oof.labels, absent)
    fitted = StackTrees.fit(oof.logits[keep], oof.labels[keep], oof.groups[keep], SETTINGS)
    rows = fitted.combine(oof.logits)
    assert (rows[:, absent] == ABSENT).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-12)
    again = StackTrees.from_parameters(json.loads(json.dumps(fitted.parameters())))
    np.testing.assert_array_equal(again.combine(oof.logits), rows)


def test_constant_members_give_the_prevalence():
    oof = synthetic_oof(7)
    fitted = StackTrees.fit(np.zeros_like(oof.logits), oof.labels, oof.groups, SETTINGS)
    prevalence = np.bincount(oof.labels) / len(oof.labels)
    np.testing.assert_allclose(fitted.combine(np.zeros((1, 2, 3)))[0], prevalence, atol=1e-6)


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ("pickle", "finite number"),
        (float("nan"), "finite number"),
        (True, "finite number"),
        ([0, 0.5, 1.0], "two trees"),
        ([0.0, 0.5, 1.0, 2.0], "two trees"),
        ([0, float("inf"), 1.0, 2.0], "two trees"),
        ([6, 0.5, 1.0, 2.0], "feature 6"),
        ([-1, 0.5, 1.0, 2.0], "feature -1"),
    ],
)
def test_a_malformed_tree_is_refused(tree, named):
    oof = synthetic_oof(3)
    parameters = StackTrees.fit(oof.logits, oof.labels, oof.groups, SETTINGS).parameters()
    parameters["trees"][0][0] = tree
    with pytest.raises(DataError, match=f"stack_trees.*{named}"):
        StackTrees.from_parameters(parameters)


def test_a_tree_without_end_is_refused():
    tree: object = 1.0
    for _ in range(DEEPEST):
        tree = [0, 0.5, tree, 1.0]
    assert Trees.of_json([[tree]], 1, 1).depth == DEEPEST
    with pytest.raises(DataError, match="deep"):
        Trees.of_json([[[0, 0.5, tree, 1.0]]], 1, 1)
