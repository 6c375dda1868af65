from __future__ import annotations

import numpy as np
import pytest
from further_reference import reference_aurc, reference_further, reference_malignant, reference_of_class
from sklearn_reference import random_labels, random_probabilities

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from reports.equal_mass import equal_mass_bins
from reports.further_metrics import (
    BRIER_PARTS,
    FURTHER_CLASS_METRICS,
    FURTHER_METRICS,
    FullScores,
    full_table,
    score_fully,
)
from reports.intervals import resample_groups
from reports.malignant import MALIGNANT_METRICS, THRESHOLDS


def first_two(n_classes: int) -> BoolArray:
    return np.arange(n_classes) < 2


def bins_of_classes(probabilities: FloatArray) -> IntArray:
    return np.stack([equal_mass_bins(column) for column in probabilities.T], axis=1)


def assert_row_is_that_of_the_references(
    scores: FullScores,
    row: int,
    labels: IntArray,
    probabilities: FloatArray,
    top_bins: IntArray,
    class_bins: IntArray,
) -> None:
    n_classes = probabilities.shape[1]
    found = {metric: float(scores.overall[metric][row]) for metric in FURTHER_METRICS}
    expected = reference_further(labels, probabilities, top_bins, class_bins)
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
    for label in range(n_classes):
        found = {metric: float(scores.per_class[metric][row, label]) for metric in FURTHER_CLASS_METRICS}
        assert found == pytest.approx(reference_of_class(label, labels, probabilities, class_bins[:, label]), abs=1e-9)
    malignant = first_two(n_classes)
    expected, benefit = reference_malignant(
        malignant[labels],
        probabilities[:, malignant].sum(axis=1),
        malignant[probabilities.argmax(axis=1)],
        THRESHOLDS,
    )
    assert scores.malignant is not None
    found = {metric: float(scores.malignant.metrics[metric][row]) for metric in MALIGNANT_METRICS}
    assert found == pytest.approx(expected, abs=1e-9)
    assert scores.malignant.net_benefit[row] == pytest.approx(benefit, abs=1e-9)


@pytest.mark.parametrize("decimals", [None, 2, 1])
@pytest.mark.parametrize("seed", range(4))
def test_values_are_those_of_the_references(seed: int, decimals: int | None) -> None:
    generator = np.random.default_rng(seed)
    n_classes = int(generator.integers(3, 8))
    labels = random_labels(int(generator.integers(40, 300)), n_classes, generator)
    probabilities = random_probabilities(labels, n_classes, generator, decimals=decimals)
    scores = score_fully(labels, probabilities, first_two(n_classes))
    top_bins = equal_mass_bins(probabilities.max(axis=1))
    assert_row_is_that_of_the_references(scores, 0, labels, probabilities, top_bins, bins_of_classes(probabilities))


@pytest.mark.parametrize("decimals", [None, 1])
def test_resamples_equal_repeated_rows(decimals: int | None) -> None:
    generator = np.random.default_rng(3)
    labels = random_labels(150, 4, generator)
    probabilities = random_probabilities(labels, 4, generator, decimals=decimals)
    groups = labels * 1000 + generator.integers(40, size=150)
    names, groups = np.unique(groups, return_inverse=True)
    (counts,) = resample_groups(len(names), 150, resamples=12, generator=generator)
    scores = full_table(labels, probabilities, first_two(4), groups, len(names)).score(counts)
    top_bins, class_bins = equal_mass_bins(probabilities.max(axis=1)), bins_of_classes(probabilities)
    compared = 0
    for number, drawn in enumerate(counts):
        rows = np.repeat(np.arange(150), drawn[groups])
        if len(np.unique(labels[rows])) < 4:
            assert np.isnan(scores.overall["geometric_mean"][number])
            continue
        compared += 1
        assert_row_is_that_of_the_references(
            scores, number, labels[rows], probabilities[rows], top_bins[rows], class_bins[rows]
        )
    assert compared > 8


@pytest.mark.parametrize("decimals", [None, 1])
def test_brier_parts_add_up_to_the_score(decimals: int | None) -> None:
    generator = np.random.default_rng(1)
    labels = random_labels(200, 5, generator)
    probabilities = random_probabilities(labels, 5, generator, decimals=decimals)
    scores = score_fully(labels, probabilities, first_two(5))
    signs = dict(zip(BRIER_PARTS, (1, -1, 1, 1, -1), strict=True))
    total = sum(sign * scores.overall[part][0] for part, sign in signs.items())
    assert total == pytest.approx(scores.scores.overall["brier"][0], abs=1e-13)
    of_class = sum(sign * scores.per_class[part][0] for part, sign in signs.items())
    assert of_class == pytest.approx(scores.scores.per_class["brier"][0], abs=1e-13)


def test_few_distinct_probabilities_leave_nothing_within_bins() -> None:
    """Then the parts are the three of Murphy, worked out by hand."""
    labels = np.array([0] * 4 + [1] * 4)
    of_first = np.array([0.8, 0.8, 0.8, 0.2, 0.8, 0.2, 0.2, 0.2])
    parts = score_fully(labels, np.stack([of_first, 1 - of_first], axis=1), np.array([True, False])).per_class
    # Three of four are right at either probability: frequencies 3/4 and 1/4 around a half.
    assert parts["brier_reliability"][0, 0] == pytest.approx(0.05**2)
    assert parts["brier_resolution"][0, 0] == pytest.approx(0.25**2)
    assert parts["brier_uncertainty"][0, 0] == pytest.approx(0.25)
    assert parts["brier_within_variance"][0] == pytest.approx(0, abs=1e-15)
    assert parts["brier_within_covariance"][0] == pytest.approx(0, abs=1e-15)


def test_risk_coverage_by_hand() -> None:
    """Confidences 0.9, 0.8, 0.7, 0.6 with the second wrong: risks 0, 1/2, 1/3, 1/4; at best 0, 0, 0, 1/4."""
    top = np.array([0.9, 0.8, 0.7, 0.6])
    scores = score_fully(np.array([0, 1, 0, 0]), np.stack([top, 1 - top], axis=1), np.array([True, False]))
    assert scores.overall["aurc"][0] == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert scores.overall["excess_aurc"][0] == pytest.approx((1 / 2 + 1 / 3) / 4)


def test_risk_coverage_at_its_bounds() -> None:
    generator = np.random.default_rng(0)
    wrong = generator.random(60) < 0.3
    labels = wrong.astype(np.int64)
    neither = np.array([True, False])
    sure_when_right = np.where(wrong, 0.6, 0.9) + generator.random(60) / 100
    perfect = score_fully(labels, np.stack([sure_when_right, 1 - sure_when_right], axis=1), neither)
    assert perfect.overall["excess_aurc"][0] == pytest.approx(0, abs=1e-12)
    assert perfect.overall["aurc"][0] > 0
    constant = score_fully(labels, np.tile([0.7, 0.3], (60, 1)), neither)
    assert constant.overall["aurc"][0] == pytest.approx(wrong.mean())
    assert score_fully(np.zeros(60, dtype=np.int64), np.tile([0.7, 0.3], (60, 1)), neither).overall["aurc"][0] == 0


def test_tied_confidences_are_the_mean_over_orders() -> None:
    generator = np.random.default_rng(4)
    confidence, wrong = generator.integers(3, size=30) / 3, generator.random(30) < 0.4
    orders = [reference_aurc(confidence + 1e-6 * generator.random(30), wrong) for _ in range(1000)]
    assert reference_aurc(confidence, wrong) == pytest.approx(np.mean(orders), abs=4 * np.std(orders) / 1000**0.5)


def test_debiased_error_is_right_on_average_where_the_plain_one_is_too_high() -> None:
    """Bins of one confidence each, whose true frequency is 0.1 lower: the true squared error is 0.01."""
    generator = np.random.default_rng(2)
    tops = np.repeat(np.linspace(0.55, 0.95, 15), 40)
    squares, plain = [], []
    for _ in range(150):
        wrong = generator.random(600) > tops - 0.1
        scores = score_fully(wrong.astype(np.int64), np.stack([tops, 1 - tops], axis=1), np.array([True, False]))
        squares.append(scores.overall["debiased_calibration_error"][0] ** 2)
        plain.append(scores.scores.overall["ece"][0])
    assert np.mean(squares) == pytest.approx(0.01, abs=4 * np.std(squares) / 150**0.5)
    assert np.mean(plain) > 0.1 + 4 * np.std(plain) / 150**0.5


def test_perfect_predictions() -> None:
    labels = np.repeat([0, 1, 2], 20)
    scores = score_fully(labels, np.eye(3)[labels], first_two(3))
    for metric in ("balanced_multiclass_accuracy", "geometric_mean", "index_balanced_accuracy", "top2_accuracy"):
        assert scores.overall[metric][0] == 1
    for metric in ("aurc", "excess_aurc", "ece_equal_width", "classwise_ece", "max_calibration_error"):
        assert scores.overall[metric][0] == 0
    assert scores.overall["brier_resolution"] == pytest.approx(scores.overall["brier_uncertainty"])
    assert scores.malignant is not None
    values = dict(scores.malignant.metrics)
    assert values.pop("partial_auc_raw")[0] == pytest.approx(0.2)
    assert [value[0] for value in values.values()] == pytest.approx([1] * len(values))
    assert scores.malignant.net_benefit[0] == pytest.approx([2 / 3] * len(THRESHOLDS))


def test_constant_predictions() -> None:
    labels = np.repeat([0, 1, 2], [10, 10, 30])
    scores = score_fully(labels, np.tile([0.2, 0.2, 0.6], (50, 1)), first_two(3))
    assert scores.overall["geometric_mean"][0] == 0
    assert scores.overall["index_balanced_accuracy"][0] == 0
    assert scores.overall["brier_reliability"][0] == pytest.approx(0, abs=1e-15)
    assert scores.overall["brier_resolution"][0] == pytest.approx(0, abs=1e-15)
    assert scores.malignant is not None
    values = {metric: value[0] for metric, value in scores.malignant.metrics.items()}
    assert values == pytest.approx(
        {
            "auc": 0.5, "average_precision": 0.4, "partial_auc": 0.5, "partial_auc_raw": 0.02, "sensitivity": 0,
            "specificity": 1, "sensitivity_at_90_specificity": 0, "sensitivity_at_95_specificity": 0,
            "specificity_at_90_sensitivity": 0, "specificity_at_95_sensitivity": 0,
        }
    )  # fmt: skip


def test_what_is_undefined_is_nan() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.7, 0.2], [0.5, 0.1, 0.4], [0.2, 0.5, 0.3]])
    scores = score_fully(labels, probabilities, np.array([False, False, True]))
    for metric in ("balanced_multiclass_accuracy", "geometric_mean", "index_balanced_accuracy"):
        assert np.isnan(scores.overall[metric][0])
    assert np.isnan(scores.per_class["geometric_mean"][0]).tolist() == [False, False, True]
    # Fewer images than bins: each is alone in its own.
    assert np.isnan(scores.overall["debiased_calibration_error"][0])
    assert scores.malignant is not None
    for metric, value in scores.malignant.metrics.items():
        assert np.isnan(value[0]) == (metric != "specificity")
    assert np.isnan(scores.malignant.net_benefit).all()
    every_one = score_fully(labels, probabilities, np.array([True, True, False])).malignant
    assert every_one is not None
    for metric, value in every_one.metrics.items():
        assert np.isnan(value[0]) == (metric not in ("sensitivity", "average_precision"))
    assert np.isnan(score_fully(labels, probabilities[:, :2] + 0.1, first_two(2)).overall["top2_accuracy"][0])
    for malignant in (np.zeros(3, dtype=np.bool_), np.ones(3, dtype=np.bool_)):
        assert score_fully(labels, probabilities, malignant).malignant is None


def test_net_benefit_by_hand() -> None:
    """Of ten images three are malignant; at one fifth, two of them and one benign image are called."""
    score = np.array([0.9, 0.2, 0.1, 0.3, 0.05, 0.05, 0.1, 0.15, 0.0, 0.1])
    labels = np.array([0] * 3 + [1] * 7)
    found = score_fully(labels, np.stack([score, 1 - score], axis=1), np.array([True, False])).malignant
    assert found is not None
    assert found.net_benefit[0, THRESHOLDS.index(0.2)] == pytest.approx(2 / 10 - 1 / 10 * 0.25)
