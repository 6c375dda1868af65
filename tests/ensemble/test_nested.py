from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from ensemble_samples import synthetic_oof
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from cv_folds.arrays import FloatArray, IntArray, frozen
from cv_folds.nested_out_of_fold import NestedOutOfFold
from cv_folds.out_of_fold import OutOfFold
from ensemble.combiners import COMBINERS
from ensemble.crossfit import cross_fit
from ensemble.fitted import fit_model
from ensemble.nested import nested_predictions
from ensemble.rows import Rows
from ensemble.settings import EnsembleSettings
from ensemble.stacking import Stack

Learner = Callable[[IntArray, IntArray], FloatArray]
"""Takes the rows and labels that it may learn from; returns the logits of every row."""

QUICK = EnsembleSettings(combiners=("soft_vote", "stack"), penalties=(1e-2, 1.0), tree_rounds=3, selection_rounds=5)
FREE = EnsembleSettings(combiners=("stack",), penalties=(1e6,), calibration="none")


def nested_of(oof: NestedOutOfFold, settings: EnsembleSettings, name: str = "stack", power: float = 0.0) -> FloatArray:
    return nested_predictions(oof, settings, power=power).probabilities[name]


def usual_of(oof: NestedOutOfFold, settings: EnsembleSettings, name: str = "stack", power: float = 0.0) -> FloatArray:
    return cross_fit(oof.usual, settings, power=power).predictions.probabilities[name]


def trained(base: OutOfFold, learners: list[Learner]) -> NestedOutOfFold:
    """Train every learner without each fold and without each pair of folds."""

    def logits_without(*held_out: int) -> FloatArray:
        rows = np.flatnonzero(~np.isin(base.folds, held_out))
        return np.stack([learn(rows, base.labels[rows]) for learn in learners], axis=1)

    n_folds = int(base.folds.max()) + 1
    usual = np.empty((len(base.labels), len(learners), len(base.classes)))
    logits = np.empty((len(base.labels), n_folds, len(learners), len(base.classes)))
    for fold in range(n_folds):
        inside = base.folds == fold
        usual[inside] = logits_without(fold)[inside]
        for other in range(n_folds):
            logits[inside, other] = logits_without(fold, other)[inside]
    backbones = tuple(f"learner_{index}" for index in range(len(learners)))
    table = replace(base, backbones=backbones, logits=frozen(usual))
    return NestedOutOfFold(usual=table, logits=frozen(logits))


def neighbours(points: FloatArray, n_classes: int, width: float) -> Learner:
    """A learner that votes with nearby rows, and knows by heart those that it was given."""

    def learn(rows: IntArray, labels: IntArray) -> FloatArray:
        weights = np.exp(-((points[:, None] - points[None, rows]) ** 2).sum(axis=2) / width)
        votes = weights @ np.eye(n_classes)[labels] + 1e-3
        return np.log(votes)

    return learn


def prevalence(n_rows: int, n_classes: int) -> Learner:
    """A learner that knows nothing but how frequent the classes are in training."""

    def learn(rows: IntArray, labels: IntArray) -> FloatArray:
        return np.tile(np.log(np.bincount(labels, minlength=n_classes) / len(labels)), (n_rows, 1))

    return learn


def points_of(base: OutOfFold, rng: np.random.Generator) -> FloatArray:
    return rng.normal(size=(len(base.labels), 2)) + base.labels[:, None]


@pytest.mark.parametrize("name", COMBINERS)
def test_labels_of_a_fold_move_nothing_in_its_rows(name):
    base = synthetic_oof(0)
    rng = np.random.default_rng(0)
    learners = [neighbours(points_of(base, rng), 3, width) for width in (0.1, 1.0)]
    settings = QUICK.model_copy(update={"combiners": (name,), "deployed": name})
    before, usual = (of(trained(base, learners), settings, name, 0.5) for of in (nested_of, usual_of))
    moved = []
    for fold in range(3):
        inside = base.folds == fold
        labels = base.labels.copy()
        labels[inside] = rng.permutation((labels[inside] + 1) % 3)
        changed = trained(replace(base, labels=frozen(labels)), learners)
        np.testing.assert_array_equal(nested_of(changed, settings, name, 0.5)[inside], before[inside])
        moved.append((usual_of(changed, settings, name, 0.5) != usual)[inside].any())
    # Otherwise the test above would pass for the usual estimate too, which has a calibrator at least.
    assert all(moved)


def test_each_fold_is_combined_by_a_fit_on_networks_that_never_saw_it():
    base = synthetic_oof(1)
    oof = trained(base, [neighbours(points_of(base, np.random.default_rng(0)), 3, width) for width in (0.1, 1.0)])
    found = nested_of(oof, QUICK, power=0.5)
    for fold in range(3):
        rest = base.folds != fold
        rows = Rows.of(oof.without(fold))
        fitted = fit_model(Stack, rows.select(rest), base.folds[rest], QUICK, power=0.5)
        np.testing.assert_array_equal(found[~rest], fitted.probabilities(oof.usual.logits[~rest]))


def test_the_table_holds_the_ensembles_alone():
    base = synthetic_oof(2)
    oof = trained(base, [neighbours(points_of(base, np.random.default_rng(0)), 3, 1.0)])
    table = nested_predictions(oof, QUICK.model_copy(update={"calibration": "none"}), power=0.0)
    assert table.kinds == dict.fromkeys(("soft_vote", "stack"), "ensemble")
    assert list(table.probabilities) == ["soft_vote", "stack"]
    assert table.image_ids.tolist() == base.image_ids.tolist()
    usual = cross_fit(oof.usual, QUICK.model_copy(update={"calibration": "none"}), power=0.0).predictions
    # A plain mean has learned nothing.
    np.testing.assert_array_equal(table.probabilities["soft_vote"], usual.probabilities["soft_vote"])
    assert (table.probabilities["stack"] != usual.probabilities["stack"]).any()


def drifting(seed: int, n_folds: int = 5, n_rows: int = 120) -> OutOfFold:
    """Folds of which each has a prevalence of its own, drawn independently of the others."""
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0.2, 0.8, size=n_folds)
    folds = np.repeat(np.arange(n_folds), n_rows)
    labels = (rng.random(len(folds)) < shares[folds]).astype(np.int64)
    names = frozen([f"image_{index:04d}" for index in range(len(folds))])
    return OutOfFold(
        image_ids=names, lesion_ids=names, groups=names, labels=frozen(labels), folds=frozen(folds),
        classes=("benign", "malignant"), backbones=(), logits=frozen(np.empty((len(folds), 0, 2))),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_the_usual_stack_finds_out_the_prevalence_of_the_scored_fold_and_the_nested_one_does_not(seed):
    base = drifting(seed)
    oof = trained(base, [prevalence(len(base.labels), 2)])
    usual, nested = (of(oof, FREE)[:, 1] for of in (usual_of, nested_of))
    for fold in range(5):
        inside = base.folds == fold
        # The prevalence of a fold is linear in that outside it. The stack learns this line, nearly straight in logits,
        # from the other folds, and reads off it what the scored fold is like.
        assert abs(usual[inside] - base.labels[inside].mean()).max() < 0.09
        # All that can be known without the fold.
        assert abs(nested[inside] - base.labels[~inside].mean()).max() < 0.02


def test_the_nested_loss_is_that_on_new_folds_and_the_usual_one_is_too_good():
    usual, nested, truth = [], [], []
    for seed in range(40):
        base = drifting(seed)
        oof = trained(base, [prevalence(len(base.labels), 2)])
        usual.append(loss(usual_of(oof, FREE), base.labels))
        rows = nested_of(oof, FREE)
        nested.append(loss(rows, base.labels))
        # The same combined networks, on folds that nobody has seen.
        truth.append(loss(rows, drifting(1000 + seed).labels))
    error = standard_error(np.subtract(nested, truth))
    assert abs(np.mean(nested) - np.mean(truth)) < 3 * error
    assert np.mean(usual) < np.mean(truth) - 10 * error


def permuted(seed: int) -> tuple[OutOfFold, FloatArray]:
    """Stratified, grouped folds of few lesions with shuffled labels, and a point for each that says nothing of them."""
    rng = np.random.default_rng(1000 + seed)
    base = synthetic_oof(seed, n_lesions=90)
    _, first, lesion = np.unique(base.groups, return_index=True, return_inverse=True)
    labels = rng.permutation(base.labels[first])[lesion]
    folds = np.empty(len(labels), dtype=np.int64)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for fold, (_, inside) in enumerate(splitter.split(labels, labels, base.groups)):
        folds[inside] = fold
    return replace(base, labels=frozen(labels), folds=frozen(folds)), rng.normal(size=(len(first), 2))[lesion]


def auc_within_folds(oof: OutOfFold, rows: FloatArray) -> float:
    """Return the mean macro AUC of the folds, which pooling does not bias."""
    inside = [oof.folds == fold for fold in range(5)]
    return np.mean(
        [
            roc_auc_score(oof.labels[fold], rows[fold], multi_class="ovr", average="macro")
            for fold in inside
            if set(oof.labels[fold].tolist()) == {0, 1, 2}
        ]
    )


def test_permuted_labels_are_predicted_by_chance_when_nested():
    settings = FREE.model_copy(update={"penalties": (1e2,)})
    usual, nested = [], []
    for seed in range(20):
        base, points = permuted(seed)
        oof = trained(base, [neighbours(points, 3, width) for width in (0.05, 1.0)])
        usual.append(auc_within_folds(base, usual_of(oof, settings)))
        nested.append(auc_within_folds(base, nested_of(oof, settings)))
    assert abs(np.mean(nested) - 0.5) < 3 * standard_error(nested)
    # So few lesions are learned by heart, and what the learners know of the scored fold shows.
    gain = np.subtract(usual, nested)
    assert np.mean(gain) > 3 * standard_error(gain)


def standard_error(values: Sequence[float] | FloatArray) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def loss(rows: FloatArray, labels: IntArray) -> float:
    return float(-np.log(rows[np.arange(len(labels)), labels]).mean())
