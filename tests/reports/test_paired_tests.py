from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom, norm, ttest_rel
from sklearn.metrics import roc_auc_score
from sklearn_reference import as_predictions

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from reports.delong import correlated_areas
from reports.intervals import bootstrap
from reports.multiplicity import holm
from reports.paired_tests import corrected_t_test, delong_test, mcnemar_test
from reports.results import Estimate

# Albumin and Krebs-Goplerud score of the 43 patients without a missing value, with `popind` 0 and 1, as the example
# "Comparing Receiver Operating Characteristic Curves" of SAS/STAT's PROC LOGISTIC prints them. They are from DeLong,
# DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845, whose own results are of all 49 patients.
ALBUMIN_0 = [0.9, 1.7, 2.5, 2.8, 2.8, 2.9, 3.0, 3.0, 3.3, 3.6, 4.0, 4.2]
SCORE_0 = [5, 7, 8, 6, 8, 9, 8, 10, 6, 4, 6, 4]
ALBUMIN_1 = [
    3.2, 3.9, 3.2, 1.6, 3.8, 3.7, 3.2, 3.8, 4.1, 3.6, 4.3, 2.3, 3.5, 3.8, 4.5, 3.7,
    3.1, 4.1, 4.3, 4.3, 3.2, 2.6, 3.7, 3.3, 4.2, 3.5, 2.1, 4.0, 3.3, 3.7, 3.6,
]  # fmt: skip
SCORE_1 = [5, 3, 3, 5, 5, 6, 4, 6, 5, 5, 4, 6, 6, 7, 5, 5, 6, 6, 5, 4, 5, 6, 5, 7, 6, 5, 7, 7, 6, 5, 5]


def exact_areas(scores: Sequence[Sequence[Fraction]], positive: Sequence[bool]) -> tuple[list[Fraction], Fraction]:
    """Return both areas and the variance of their difference in whole fractions, as the paper's section 2 defines them.

    Every pair is looked at: 1 for a pair won, 1/2 for a tie. The components of an image are its share of pairs.
    """
    x = [[score for score, of_class in zip(model, positive, strict=True) if of_class] for model in scores]
    y = [[score for score, of_class in zip(model, positive, strict=True) if not of_class] for model in scores]
    m, n = len(x[0]), len(y[0])
    won = [
        [[Fraction(int(a > b) + int(a >= b), 2) for b in below] for a in above]
        for above, below in zip(x, y, strict=True)
    ]
    areas = [sum((sum(row, Fraction(0)) for row in pairs), Fraction(0)) / (m * n) for pairs in won]
    first, second = won
    of_x = [(sum(first[i]) - sum(second[i])) / n for i in range(m)]
    of_y = [sum(first[i][j] - second[i][j] for i in range(m)) / m for j in range(n)]
    difference = areas[0] - areas[1]
    variance = sum((part - difference) ** 2 for part in of_x) / (m - 1) / m
    return areas, variance + sum((part - difference) ** 2 for part in of_y) / (n - 1) / n


def test_areas_of_the_published_patients() -> None:
    """In whole fractions of all pairs, nothing can be mistyped; rounded, the figures are 0.7366, 0.7258 and 0.0953."""
    albumin = [Fraction(str(value)) for value in ALBUMIN_0 + ALBUMIN_1]
    score = [Fraction(10 - value) for value in SCORE_0 + SCORE_1]
    benefit = np.repeat([False, True], [12, 31])
    (of_albumin, of_score), variance = exact_areas([albumin, score], benefit.tolist())
    assert (of_albumin, of_score) == (Fraction(137, 186), Fraction(45, 62))
    scores = np.array([albumin, score], dtype=np.float64)
    areas = correlated_areas(scores, benefit, np.arange(43))
    assert areas.auc == pytest.approx([float(of_albumin), float(of_score)], abs=1e-15)
    for model, row in enumerate((albumin, score)):
        useless = [Fraction(0)] * 43
        assert areas.covariance[model, model] == pytest.approx(
            float(exact_areas([row, useless], benefit.tolist())[1]), abs=1e-16
        )
    outcome = delong_test(scores[0], scores[1], benefit, np.arange(43))
    error = float(variance) ** 0.5
    assert round(error, 4) == 0.0953
    assert outcome.difference.value == pytest.approx(float(of_albumin - of_score), abs=1e-15)
    assert outcome.statistic == pytest.approx(float(of_albumin - of_score) / error, rel=1e-12)
    assert outcome.p == pytest.approx(2 * norm.sf(float(of_albumin - of_score) / error), rel=1e-12)
    half = norm.ppf(0.975) * error
    middle = float(of_albumin - of_score)
    assert (outcome.difference.low, outcome.difference.high) == pytest.approx((middle - half, middle + half))


def plain_covariance(scores: FloatArray, positive: BoolArray, clusters: IntArray) -> FloatArray:
    """Go through all pairs of images and all clusters, as the papers write it."""
    names = np.unique(clusters)
    x, y = scores[:, positive], scores[:, ~positive]
    wins = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
    auc, m, n = wins.mean(axis=(1, 2)), x.shape[1], y.shape[1]
    of_x, of_y = wins.mean(axis=2), wins.mean(axis=1)
    total = np.zeros((len(scores), len(scores)))
    first = [(of_x - auc[:, None])[:, clusters[positive] == name].sum(axis=1) for name in names]
    second = [(of_y - auc[:, None])[:, clusters[~positive] == name].sum(axis=1) for name in names]
    with_x, with_y, i = len(np.unique(clusters[positive])), len(np.unique(clusters[~positive])), len(names)
    for a, b in zip(first, second, strict=True):
        total += with_x / (with_x - 1) * np.outer(a, a) / m**2 + with_y / (with_y - 1) * np.outer(b, b) / n**2
        total += i / (i - 1) * (np.outer(a, b) + np.outer(b, a)) / (m * n)
    return total


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("n_clusters", [90, 40, 8])
def test_areas_and_covariances_are_those_of_all_pairs(n_clusters: int, decimals: int | None) -> None:
    generator = np.random.default_rng(n_clusters)
    positive = generator.random(90) < 0.4
    scores = generator.random((3, 90)) + 0.3 * positive
    if decimals is not None:
        scores = scores.round(decimals)
    clusters = generator.permutation(np.arange(90) % n_clusters)
    areas = correlated_areas(scores, positive, clusters)
    assert areas.auc == pytest.approx([roc_auc_score(positive, model) for model in scores])
    np.testing.assert_allclose(areas.covariance, plain_covariance(scores, positive, clusters), rtol=0, atol=1e-15)


def test_copies_of_an_image_add_nothing() -> None:
    generator = np.random.default_rng(1)
    positive = generator.random(60) < 0.5
    scores = generator.random((2, 60)) + 0.2 * positive
    once = correlated_areas(scores, positive, np.arange(60))
    thrice = correlated_areas(np.tile(scores, 3), np.tile(positive, 3), np.tile(np.arange(60), 3))
    np.testing.assert_allclose(thrice.covariance, once.covariance, rtol=1e-12)
    assert thrice.auc == pytest.approx(once.auc)


def test_standard_error_is_that_of_the_lesion_bootstrap() -> None:
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(300), 3)
    labels = np.repeat((generator.random(300) < 0.4).astype(np.int64), 3)
    of_lesion = np.repeat(generator.normal(size=300), 3)
    models = {}
    for model in ("resnet50", "stack"):
        odds = np.exp(labels + of_lesion + generator.normal(size=900))
        models[model] = np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)
    resampled = bootstrap(as_predictions(labels, models, groups=groups), resamples=2000, generator=generator)
    difference = resampled["resnet50"].overall["macro_auc"] - resampled["stack"].overall["macro_auc"]
    first, second = (rows[:, 1] for rows in models.values())
    outcome = delong_test(first, second, labels == 1, groups)
    assert outcome.difference.value is not None
    assert outcome.statistic is not None
    assert outcome.difference.value / outcome.statistic == pytest.approx(difference.std(), rel=0.08)
    areas = correlated_areas(np.stack([first, second]), labels == 1, groups)
    independent = correlated_areas(np.stack([first, second]), labels == 1, np.arange(900))
    assert areas.covariance[0, 0] ** 0.5 == pytest.approx(resampled["resnet50"].overall["macro_auc"].std(), rel=0.08)
    assert areas.covariance[0, 0] > 1.5 * independent.covariance[0, 0]


def test_equal_models_are_told_apart_one_time_in_twenty() -> None:
    generator = np.random.default_rng(3)
    groups = np.repeat(np.arange(80), 2)
    rejected = 0
    for _ in range(400):
        positive = np.repeat(generator.random(80) < 0.5, 2)
        shared = np.repeat(generator.normal(size=80), 2)
        first, second = (positive + shared + np.repeat(generator.normal(size=80), 2) for _ in range(2))
        p = delong_test(first, second, positive, groups).p
        assert p is not None
        rejected += p < 0.05
    assert binom.cdf(rejected, 400, 0.05) > 0.001
    assert binom.sf(rejected - 1, 400, 0.05) > 0.001


def test_areas_that_cannot_be_compared() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    positive = np.array([False, False, True, True])
    every = np.arange(4)
    assert delong_test(scores, scores, np.zeros(4, dtype=np.bool_), every).reason == "no image of a malignant class"
    assert delong_test(scores, scores, np.ones(4, dtype=np.bool_), every).reason == "no image of a benign class"
    same = delong_test(scores, 2 * scores, positive, every)
    assert same.difference == Estimate(value=0.0, reason="the difference has no variance")
    assert (same.p, same.statistic, same.reason) == (1.0, 0.0, None)
    perfect = delong_test(positive.astype(np.float64), np.full(4, 0.5), positive, every)
    assert (perfect.difference.value, perfect.p, perfect.reason) == (0.5, None, "the difference has no variance")
    one = delong_test(scores, scores[::-1], positive, np.array([0, 1, 2, 2]))
    assert one.p is None
    assert one.reason == "the test needs at least two malignant and two benign lesions"


def test_mcnemar_by_hand() -> None:
    """Ten lesions against two: twice the probability of two or fewer heads in twelve throws, 79 of 4,096."""
    first = np.repeat([True, False, True, False], [10, 2, 30, 5])
    second = np.repeat([False, True, True, False], [10, 2, 30, 5])
    difference = Estimate(value=8 / 47, low=0.05, high=0.3)
    outcome = mcnemar_test(first, second, difference)
    assert outcome.p == pytest.approx(2 * 79 / 4096)
    assert (outcome.statistic, outcome.difference) == (10.0, difference)
    assert mcnemar_test(second, first, difference).p == outcome.p
    assert mcnemar_test(np.append(first, [True, False]), np.append(second, [False, True]), difference).p > outcome.p
    same = mcnemar_test(first, first, Estimate(value=0.0, reason="every resample gives the same value"))
    assert (same.p, same.statistic, same.reason) == (1.0, 0.0, None)


def test_corrected_t_of_independent_folds_is_that_of_scipy() -> None:
    generator = np.random.default_rng(4)
    first, second = generator.random(7), generator.random(7)
    outcome, expected = corrected_t_test(first - second, 0.0), ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert (outcome.statistic, outcome.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert (outcome.difference.low, outcome.difference.high) == pytest.approx((interval.low, interval.high))


def test_corrected_t_by_hand() -> None:
    """Five folds: 1/5 + 1/4 of the variance instead of 1/5, so t is two thirds of the uncorrected one."""
    differences = np.array([0.02, 0.01, 0.03, 0.02, 0.02])
    outcome = corrected_t_test(differences, 1 / 4)
    assert outcome.difference.value == pytest.approx(0.02)
    assert outcome.statistic == pytest.approx(0.02 / (0.45 * 5e-5) ** 0.5)
    assert outcome.statistic == pytest.approx(ttest_rel(differences, np.zeros(5)).statistic * 2 / 3)
    assert corrected_t_test(np.array([0.1]), 0.0).reason == "the test needs at least two folds"
    assert corrected_t_test(np.array([0.1, np.nan]), 1.0).reason == "undefined in a fold"
    constant = corrected_t_test(np.full(5, 0.01), 1 / 4)
    assert (constant.difference.value, constant.p) == (pytest.approx(0.01), None)
    assert constant.reason == "the difference is the same in every fold"
    alike = corrected_t_test(np.zeros(5), 1 / 4)
    assert (alike.difference.value, alike.statistic, alike.p) == (0.0, 0.0, 1.0)


def closed_testing(p_values: list[float]) -> list[float]:
    """Reject a hypothesis when Bonferroni's test rejects every set of hypotheses that it belongs to."""
    every = range(len(p_values))
    sets = [set(chosen) for size in range(1, len(p_values) + 1) for chosen in combinations(every, size)]
    return [
        max(min(1.0, len(chosen) * min(p_values[place] for place in chosen)) for chosen in sets if one in chosen)
        for one in every
    ]


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_closed_testing(seed: int) -> None:
    generator = np.random.default_rng(seed)
    p_values = (generator.random(7) ** 3).round(int(generator.integers(1, 6))).tolist()
    assert holm(p_values) == pytest.approx(closed_testing(p_values))


def test_holm_passes_over_what_was_not_tested() -> None:
    assert holm([0.01, None, 0.02, 0.03, 0.04]) == pytest.approx((0.04, None, 0.06, 0.06, 0.06))
    assert holm([None, None]) == (None, None)
    assert holm([]) == ()
    assert holm([0.9, 0.8]) == (1.0, 1.0)
