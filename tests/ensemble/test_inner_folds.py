from __future__ import annotations

import numpy as np
import pytest
from ensemble_samples import synthetic_oof
from sklearn.model_selection import StratifiedGroupKFold

from cv_folds.splits import torn_groups
from ensemble.inner_folds import choose, inner_folds


def unevenness(labels: np.ndarray, folds: np.ndarray) -> float:
    counts = np.array([np.bincount(labels[folds == fold], minlength=labels.max() + 1) for fold in np.unique(folds)])
    return float((counts.std(axis=0) / counts.sum(axis=0)).mean())


@pytest.mark.parametrize("seed", range(20))
def test_inner_folds_never_separate_a_group_and_ignore_the_order_of_rows(seed):
    oof = synthetic_oof(seed)
    inner = inner_folds(oof.labels, oof.groups, most=5)
    assert torn_groups(oof.groups, inner) == []
    order = np.random.default_rng(seed).permutation(len(inner))
    np.testing.assert_array_equal(inner_folds(oof.labels[order], oof.groups[order], most=5), inner[order])


@pytest.mark.parametrize("seed", range(20))
def test_inner_folds_are_as_even_as_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    oof = synthetic_oof(seed, n_lesions=int(rng.integers(40, 120)), classes=tuple("abcdefg"[: rng.integers(2, 8)]))
    labels = oof.labels.copy()
    if seed % 2:
        # Groups of several classes, as when lesions are merged.
        labels[rng.random(len(labels)) < 0.1] = 0
    inner = inner_folds(labels, oof.groups, most=5)
    reference = np.empty_like(inner)
    splitter = StratifiedGroupKFold(n_splits=inner.max() + 1)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, oof.groups)):
        reference[held_out] = fold
    assert unevenness(labels, inner) <= unevenness(labels, reference) * 1.05 + 1e-12
    sizes = np.bincount(inner)
    assert sizes.min() > 0
    assert sizes.max() - sizes.min() <= np.ptp(np.bincount(reference)) + 3


def test_inner_folds_are_limited_by_the_rarest_class():
    labels = np.repeat([0, 1], [3, 30])
    groups = np.arange(33).astype(str)
    assert inner_folds(labels, groups, most=5).max() + 1 == 3
    assert inner_folds(labels[2:], groups[2:], most=5).max() + 1 == 2
    assert inner_folds(labels[3:], groups[3:], most=5).max() + 1 == 5


def test_the_candidate_with_the_least_loss_over_all_folds_is_chosen():
    oof = synthetic_oof(0)
    seen = []

    def losses(fitting: np.ndarray, scoring: np.ndarray) -> np.ndarray:
        seen.append(scoring)
        assert (fitting != scoring).all()
        # The second is best in all but the first fold, and all in all; the third is as good.
        return np.array([0.0, 1.0, 1.0]) if len(seen) == 1 else np.array([3.0, 2.0, 2.0])

    assert choose(oof.labels, oof.groups, most=3, losses=losses) == 1
    np.testing.assert_array_equal(np.sum(seen, axis=0), np.ones(len(oof.labels)))


@pytest.mark.parametrize(("labels", "groups"), [([1, 1, 1], ["a", "b", "c"]), ([0, 1, 1], ["a", "a", "a"])])
def test_without_anything_to_choose_by_it_is_the_first(labels, groups):
    def never(fitting: np.ndarray, scoring: np.ndarray) -> np.ndarray:
        raise AssertionError

    assert choose(np.array(labels), np.array(groups), most=5, losses=never) == 0
