from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics
from sklearn_reference import random_labels, random_probabilities, reference_of_class, reference_overall

from cv_folds.arrays import FloatArray, IntArray
from reports.equal_mass import N_BINS, equal_mass_bins
from reports.metrics import CLASS_METRICS, LOWER_IS_BETTER, OVERALL_METRICS, Scores, score_images


def overall(scores: Scores) -> dict[str, float]:
    return {metric: float(scores.overall[metric][0]) for metric in OVERALL_METRICS}


def of_class(scores: Scores, label: int) -> dict[str, float]:
    return {metric: float(scores.per_class[metric][0, label]) for metric in CLASS_METRICS}


@pytest.mark.parametrize("decimals", [None, 2, 1])
@pytest.mark.parametrize("seed", range(6))
def test_values_are_those_of_scikit_learn(seed: int, decimals: int | None) -> None:
    generator = np.random.default_rng(seed)
    n_classes = int(generator.integers(3, 8))
    labels = random_labels(int(generator.integers(40, 400)), n_classes, generator)
    probabilities = random_probabilities(labels, n_classes, generator, decimals=decimals)

    scores = score_images(labels, probabilities)

    bins = equal_mass_bins(probabilities.max(axis=1))
    assert overall(scores) == pytest.approx(reference_overall(labels, probabilities, bins), abs=1e-12)
    for label in range(n_classes):
        expected = reference_of_class(label, labels, probabilities, equal_mass_bins(probabilities[:, label]))
        assert of_class(scores, label) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_two_classes_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    labels = random_labels(60, 2, generator)
    probabilities = random_probabilities(labels, 2, generator)
    scores = score_images(labels, probabilities)
    auc = metrics.roc_auc_score(labels, probabilities[:, 1])
    assert scores.per_class["auc"][0].tolist() == pytest.approx([auc, auc])
    assert scores.overall["macro_auc"][0] == pytest.approx(auc)


def test_perfect_predictions_score_best() -> None:
    labels = np.array([0, 1, 2, 2, 1, 0, 2])
    scores = score_images(labels, np.eye(3)[labels])
    for metric in OVERALL_METRICS:
        assert scores.overall[metric][0] == pytest.approx(0 if metric in LOWER_IS_BETTER else 1, abs=1e-15)
    for metric in CLASS_METRICS:
        if metric != "support":
            best = 0 if metric in LOWER_IS_BETTER else 1
            assert scores.per_class[metric][0].tolist() == [best] * 3
    assert scores.per_class["support"][0].tolist() == [2, 2, 3]


def test_wrong_and_certain_is_clipped_not_infinite() -> None:
    labels = np.array([0, 1])
    scores = score_images(labels, np.eye(2)[1 - labels])
    assert scores.overall["log_loss"][0] == pytest.approx(-np.log(np.finfo(np.float64).eps))
    assert scores.overall["brier"][0] == pytest.approx(2.0)
    assert scores.overall["ece"][0] == pytest.approx(1.0)
    assert scores.overall["mcc"][0] == pytest.approx(-1.0)


def test_constant_predictions() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    shares = np.array([0.5, 1 / 3, 1 / 6])
    scores = score_images(labels, np.tile(shares, (6, 1)))
    assert scores.per_class["auc"][0].tolist() == [0.5, 0.5, 0.5]
    assert scores.per_class["average_precision"][0].tolist() == pytest.approx(shares.tolist())
    assert scores.overall["kappa"][0] == pytest.approx(0)
    assert np.isnan(scores.overall["mcc"][0])
    assert scores.overall["ece"][0] == pytest.approx(0, abs=1e-15)
    assert np.isnan(scores.per_class["precision"][0, 1:]).all()
    assert scores.per_class["recall"][0].tolist() == [1, 0, 0]
    assert scores.per_class["f1"][0, 1:].tolist() == [0, 0]


def test_random_predictions_carry_no_information() -> None:
    generator = np.random.default_rng(5)
    labels = generator.integers(4, size=20_000)
    scores = score_images(labels, generator.dirichlet(np.ones(4), size=20_000))
    assert scores.overall["macro_auc"][0] == pytest.approx(0.5, abs=0.02)
    assert scores.overall["kappa"][0] == pytest.approx(0, abs=0.02)
    assert scores.overall["mcc"][0] == pytest.approx(0, abs=0.02)


def with_absent_class() -> tuple[IntArray, FloatArray]:
    """Label 1 of 3 never occurs; it is predicted once."""
    labels = np.array([0, 0, 2, 2, 2])
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7], [0.5, 0.1, 0.4], [0.2, 0.3, 0.5]])
    return labels, probabilities


def test_class_without_images() -> None:
    labels, probabilities = with_absent_class()
    scores = score_images(labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    assert np.isnan(scores.overall["macro_auc"][0])
    assert np.isnan([scores.per_class[metric][0, 1] for metric in ("auc", "average_precision", "recall")]).all()
    assert scores.per_class["f1"][0, 1] == 0
    assert scores.per_class["specificity"][0, 1] == pytest.approx(0.8)
    assert scores.per_class["brier"][0, 1] == pytest.approx((probabilities[:, 1] ** 2).mean())
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        balanced = metrics.balanced_accuracy_score(labels, predicted)
    assert scores.overall["balanced_accuracy"][0] == pytest.approx(balanced)
    macro = metrics.f1_score(labels, predicted, labels=[0, 1, 2], average="macro", zero_division=0)
    assert scores.overall["macro_f1"][0] == pytest.approx(macro)


def test_class_without_images_and_predictions_has_no_f1_but_counts_in_the_macro_mean() -> None:
    labels = np.array([0, 1, 1])
    scores = score_images(labels, np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]]))
    assert np.isnan(scores.per_class["f1"][0, 2])
    assert np.isnan(scores.per_class["precision"][0, 2])
    assert scores.overall["macro_f1"][0] == pytest.approx(2 / 3)
    assert scores.overall["balanced_accuracy"][0] == 1


def test_all_images_of_one_class() -> None:
    scores = score_images(np.zeros(4, dtype=np.int64), np.tile([0.9, 0.1], (4, 1)))
    assert scores.overall["accuracy"][0] == 1
    for metric in ("macro_auc", "mcc", "kappa"):
        assert np.isnan(scores.overall[metric][0])
    assert np.isnan(scores.per_class["specificity"][0, 0])
    assert np.isnan(scores.per_class["auc"][0]).all()
    assert scores.per_class["average_precision"][0, 0] == 1


@pytest.mark.parametrize("decimals", [None, 1])
def test_order_of_rows_does_not_matter(decimals: int | None) -> None:
    generator = np.random.default_rng(11)
    labels = random_labels(150, 4, generator)
    probabilities = random_probabilities(labels, 4, generator, decimals=decimals)
    order = generator.permutation(150)
    first, second = score_images(labels, probabilities), score_images(labels[order], probabilities[order])
    assert overall(first) == pytest.approx(overall(second), abs=1e-13)
    for label in range(4):
        assert of_class(first, label) == pytest.approx(of_class(second, label), abs=1e-13)


@pytest.mark.parametrize("n", [1, 7, 15, 16, 100, 1001])
def test_equal_mass_bins_without_ties_differ_by_at_most_one(n: int) -> None:
    values = np.random.default_rng(n).permutation(np.linspace(0, 1, n))
    bins = equal_mass_bins(values)
    sizes = np.bincount(bins, minlength=N_BINS)
    assert len(sizes) == N_BINS
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(bins[np.argsort(values)]) >= 0).all()


def test_equal_values_share_a_bin_in_any_order() -> None:
    generator = np.random.default_rng(2)
    values = generator.integers(6, size=200) / 5
    bins = equal_mass_bins(values)
    for value in np.unique(values):
        assert len(np.unique(bins[values == value])) == 1
    order = generator.permutation(200)
    assert (equal_mass_bins(values[order]) == bins[order]).all()
    assert set(equal_mass_bins(np.full(30, 0.4)).tolist()) == {7}
