from __future__ import annotations

import math

import numpy as np
import pytest

from ensemble.conformal import PredictionSets, calibrate_sets
from ensemble.cross_conformal import held_out_sets


def simulate(rng: np.random.Generator, n_groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of a lesion share their difficulty, and difficult lesions are photographed more often."""
    hard = rng.random(n_groups) < 0.3
    sizes = np.where(hard, rng.integers(3, 8, n_groups), 1)
    group = np.repeat(np.arange(n_groups), sizes)
    labels = rng.integers(4, size=n_groups)[group]
    logits = rng.normal(size=(len(group), 4))
    logits[np.arange(len(group)), labels] += np.where(hard, 0.5, 3.0)[group]
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True), labels, group.astype(str)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_new_lesions_are_covered_as_promised(coverage):
    rng = np.random.default_rng(1)
    covered, over_images = [], []
    for _ in range(300):
        sets = calibrate_sets(*simulate(rng, 60), coverage=coverage)
        rows, labels, groups = simulate(rng, 60)
        hits = sets.members(rows)[np.arange(len(labels)), labels]
        covered.append(np.mean([hits[groups == group].mean() for group in np.unique(groups)]))
        over_images.append(hits.mean())
    error = np.std(covered) / math.sqrt(len(covered))
    # The most probable class is in even below the threshold, which can only add coverage.
    assert coverage - 3 * error <= np.mean(covered) <= coverage + 1 / 61 + 0.02
    # The promise is about lesions: over images, the difficult ones count more.
    assert np.mean(over_images) < np.mean(covered) - 0.02


@pytest.mark.parametrize("n", [5, 19, 20, 100, 137])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_with_one_image_a_lesion_it_is_the_usual_order_statistic(n, coverage):
    rng = np.random.default_rng(n)
    rows = rng.dirichlet(np.ones(3), size=n)
    labels = rng.integers(3, size=n)
    rank = math.ceil(round((n + 1) * coverage, 9))
    scores = np.sort(1 - rows[np.arange(n), labels])
    threshold = calibrate_sets(rows, labels, np.arange(n).astype(str), coverage=coverage).thresholds[0]
    assert threshold == (scores[rank - 1] if rank <= n else 1.0)


def test_repeating_an_image_within_its_lesion_changes_nothing():
    rng = np.random.default_rng(3)
    rows, labels, groups = rng.dirichlet(np.ones(3), size=40), rng.integers(3, size=40), np.arange(40).astype(str)
    repeats = rng.integers(1, 5, size=40)
    once = calibrate_sets(rows, labels, groups, coverage=0.8)
    often = calibrate_sets(rows.repeat(repeats, axis=0), labels.repeat(repeats), groups.repeat(repeats), coverage=0.8)
    assert once == often


def test_too_few_lesions_exclude_nothing():
    rows = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1]])
    sets = calibrate_sets(rows, np.array([0, 0]), np.array(["a", "b"]), coverage=0.9)
    assert sets.thresholds == (1.0, 1.0, 1.0)
    assert sets.members(rows).all()


def test_sets_are_never_empty_and_keep_the_threshold_itself():
    sets = PredictionSets(method="lac", coverage=0.9, thresholds=(1 - 0.3,) * 4)
    inside = sets.members(np.array([[0.29, 0.28, 0.15, 0.28], [0.3, 0.3, 0.4, 0.0]]))
    assert inside.tolist() == [[True, False, False, False], [True, True, True, False]]


def test_the_true_class_of_the_deciding_row_is_inside():
    rng = np.random.default_rng(4)
    for _ in range(50):
        rows, labels, groups = simulate(rng, 30)
        sets = calibrate_sets(rows, labels, groups, coverage=0.7)
        scores = 1 - rows[np.arange(len(labels)), labels]
        deciding = np.flatnonzero(scores == sets.thresholds[0])
        assert len(deciding)
        assert sets.members(rows)[deciding, labels[deciding]].all()


def rare_and_common(rng: np.random.Generator, n_groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A rare class that is hard to tell, several images a lesion."""
    rare = rng.random(n_groups) < 0.15
    group = np.repeat(np.arange(n_groups), rng.integers(1, 4, n_groups))
    labels = rare.astype(int)[group]
    logits = rng.normal(size=(len(group), 3))
    logits[np.arange(len(group)), labels] += np.where(rare, 0.3, 3.0)[group]
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True), labels, group.astype(str)


@pytest.mark.parametrize("method", ["lac", "class_conditional"])
def test_only_thresholds_of_their_own_cover_every_class(method):
    rng = np.random.default_rng(5)
    covered = {0: [], 1: []}
    for _ in range(200):
        sets = calibrate_sets(*rare_and_common(rng, 150), coverage=0.8, method=method)
        rows, labels, groups = rare_and_common(rng, 150)
        hits = sets.members(rows)[np.arange(len(labels)), labels]
        for label, shares in covered.items():
            of_class = np.unique(groups[labels == label])
            shares.append(np.mean([hits[groups == group].mean() for group in of_class]))
    common, rare = (np.mean(covered[label]) for label in (0, 1))
    error = 3 * np.std(covered[1]) / math.sqrt(200)
    if method == "lac":
        assert rare < 0.6 < 0.8 < common
    else:
        assert 0.8 - error <= rare
        # More only because the most probable class is in anyway, and by the last 1 / (G + 1).
        assert common >= 0.8 - 0.01


def test_a_class_with_too_few_lesions_is_never_excluded():
    rng = np.random.default_rng(6)
    rows = rng.dirichlet(np.ones(3), size=60)
    labels = np.array([0] * 50 + [1] * 10)
    sets = calibrate_sets(rows, labels, np.arange(60).astype(str), coverage=0.95, method="class_conditional")
    assert sets.thresholds[0] < 1
    assert sets.thresholds[1:] == (1.0, 1.0)
    assert sets.never_excluded.tolist() == [False, True, True]
    assert sets.members(rows)[:, 1:].all()


@pytest.mark.parametrize("method", ["lac", "class_conditional"])
def test_a_fold_has_no_part_in_its_own_thresholds(method):
    rng = np.random.default_rng(7)
    rows, labels, groups = simulate(rng, 80)
    folds = (groups.astype(int) % 4).astype(np.int64)
    inside = held_out_sets(rows, labels, groups, folds, coverage=0.8, method=method)
    changed = np.where(folds == 2, (labels + 1) % 4, labels)
    again = held_out_sets(rows, changed, groups, folds, coverage=0.8, method=method)
    assert np.array_equal(again[folds == 2], inside[folds == 2])
    assert not np.array_equal(again, inside)
