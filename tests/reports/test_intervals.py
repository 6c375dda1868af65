from __future__ import annotations

import numpy as np
import pytest
from sklearn_reference import (
    as_predictions,
    random_labels,
    random_probabilities,
    reference_of_class,
    reference_overall,
)

import reports.intervals
from cv_folds.arrays import FloatArray, IntArray
from ensemble.predictions import Predictions
from reports.equal_mass import equal_mass_bins
from reports.intervals import Interval, bootstrap, centred_interval, percentile_interval, resample_groups
from reports.metrics import CLASS_METRICS, OVERALL_METRICS, Scores, score_images

NO_WIDTH = Interval(low=None, high=None, reason="every resample gives the same value")


def lesions(labels: IntArray, generator: np.random.Generator) -> IntArray:
    """Put images of one class together in lesions of one to four."""
    groups = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        groups[rows] = label * 1000 + generator.integers(max(2, len(rows) // 2), size=len(rows))
    return groups


def small_run(seed: int, *, decimals: int | None = None, n: int = 120, n_classes: int = 4) -> Predictions:
    generator = np.random.default_rng(seed)
    labels = random_labels(n, n_classes, generator)
    models = {
        model: random_probabilities(labels, n_classes, generator, decimals=decimals) for model in ("resnet50", "stack")
    }
    return as_predictions(labels, models, groups=lesions(labels, generator))


def repeated_rows(predictions: Predictions, resamples: int, seed: int) -> list[IntArray]:
    """Return the row numbers of each resample, each row as often as its group was drawn."""
    names, groups = np.unique(predictions.groups, return_inverse=True)
    blocks = resample_groups(len(names), len(groups), resamples=resamples, generator=np.random.default_rng(seed))
    return [np.repeat(np.arange(len(groups)), counts[groups]) for counts in np.concatenate(list(blocks))]


def assert_same(found: Scores, expected: Scores, tolerance: float) -> None:
    for metric in OVERALL_METRICS:
        np.testing.assert_allclose(found.overall[metric], expected.overall[metric], rtol=0, atol=tolerance)
    for metric in CLASS_METRICS:
        np.testing.assert_allclose(found.per_class[metric], expected.per_class[metric], rtol=0, atol=tolerance)


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("seed", range(2))
def test_bootstrap_equals_a_loop_of_scikit_learn(seed: int, decimals: int | None) -> None:
    predictions = small_run(seed, decimals=decimals)
    resampled = bootstrap(predictions, resamples=12, generator=np.random.default_rng(seed))
    compared = 0
    for model, probabilities in predictions.probabilities.items():
        top_bins = equal_mass_bins(probabilities.max(axis=1))
        class_bins = [equal_mass_bins(probabilities[:, label]) for label in range(4)]
        for number, rows in enumerate(repeated_rows(predictions, 12, seed)):
            labels = predictions.labels[rows]
            if len(np.unique(labels)) < 4:
                assert np.isnan(resampled[model].overall["macro_auc"][number])
                continue
            compared += 1
            expected = reference_overall(labels, probabilities[rows], top_bins[rows])
            found = {metric: resampled[model].overall[metric][number] for metric in OVERALL_METRICS}
            assert found == pytest.approx(expected, abs=1e-9)
            for label in range(4):
                expected = reference_of_class(label, labels, probabilities[rows], class_bins[label][rows])
                found = {metric: resampled[model].per_class[metric][number, label] for metric in CLASS_METRICS}
                assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert compared > 10


def test_same_seed_same_resamples_other_seed_others() -> None:
    predictions = small_run(1)
    first, again, other = (
        bootstrap(predictions, resamples=40, generator=np.random.default_rng(seed))["stack"] for seed in (7, 7, 8)
    )
    assert_same(first, again, 0.0)
    assert not np.array_equal(first.overall["accuracy"], other.overall["accuracy"])


def test_order_of_rows_does_not_matter() -> None:
    predictions = small_run(2, decimals=1)
    order = np.random.default_rng(0).permutation(len(predictions.labels))
    shuffled = Predictions(
        image_ids=predictions.image_ids[order],
        lesion_ids=predictions.lesion_ids[order],
        groups=predictions.groups[order],
        folds=predictions.folds[order],
        labels=predictions.labels[order],
        classes=predictions.classes,
        probabilities={model: rows[order] for model, rows in predictions.probabilities.items()},
        kinds=predictions.kinds,
    )
    first, second = (
        bootstrap(table, resamples=40, generator=np.random.default_rng(3))["stack"] for table in (predictions, shuffled)
    )
    assert_same(first, second, 1e-12)


def test_size_of_the_blocks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = small_run(4)
    whole = bootstrap(predictions, resamples=50, generator=np.random.default_rng(3))["stack"]
    monkeypatch.setattr(reports.intervals, "CELLS_AT_A_TIME", 7 * len(predictions.labels))
    assert_same(whole, bootstrap(predictions, resamples=50, generator=np.random.default_rng(3))["stack"], 1e-12)


def test_every_resample_draws_as_many_groups_as_there_are() -> None:
    blocks = list(resample_groups(30, 100_000, resamples=11, generator=np.random.default_rng(0)))
    counts = np.concatenate(blocks)
    assert len(blocks) > 1
    assert counts.shape == (11, 30)
    assert (counts.sum(axis=1) == 30).all()
    assert (counts.max(axis=1) > 1).all()


def test_images_of_a_lesion_come_along_together() -> None:
    predictions = small_run(5)
    n = len(predictions.labels)
    copied = as_predictions(
        np.tile(predictions.labels, 3),
        {model: np.tile(rows, (3, 1)) for model, rows in predictions.probabilities.items()},
        groups=np.tile(np.unique(predictions.groups, return_inverse=True)[1], 3),
    )
    assert len(copied.labels) == 3 * n
    once, thrice = (
        bootstrap(table, resamples=60, generator=np.random.default_rng(1))["stack"] for table in (predictions, copied)
    )
    for metric in OVERALL_METRICS:
        np.testing.assert_allclose(once.overall[metric], thrice.overall[metric], atol=1e-12)


def test_spread_is_the_cluster_standard_error() -> None:
    """Against the linearised standard error of a ratio estimate: Cochran, Sampling Techniques (1977), section 9A.3."""
    generator = np.random.default_rng(8)
    n_groups, size = 400, 4
    skill = generator.beta(2, 1, size=n_groups)
    groups = np.repeat(np.arange(n_groups), size)
    labels = generator.integers(2, size=len(groups))
    right = generator.random(len(groups)) < skill[groups]
    probabilities = np.eye(2)[np.where(right, labels, 1 - labels)] * 0.8 + 0.1
    predictions = as_predictions(labels, {"resnet50": probabilities}, groups=groups)

    accuracy = bootstrap(predictions, resamples=4000, generator=generator)["resnet50"].overall["accuracy"]

    residuals = np.bincount(groups, weights=right - right.mean())
    clustered = np.sqrt((residuals**2).sum()) / len(groups)
    independent = np.sqrt(right.var() / len(groups))
    assert accuracy.std() == pytest.approx(clustered, rel=0.06)
    assert accuracy.std() > 1.15 * independent
    interval = percentile_interval(accuracy)
    assert interval.low == pytest.approx(right.mean() - 1.96 * clustered, abs=0.1 * clustered + 0.002)
    assert interval.high == pytest.approx(right.mean() + 1.96 * clustered, abs=0.1 * clustered + 0.002)


def test_a_single_lesion_gives_no_interval() -> None:
    labels = np.array([0, 0, 0])
    predictions = as_predictions(labels, {"resnet50": np.full((3, 2), 0.5)}, groups=np.zeros(3, dtype=np.int64))
    scores = bootstrap(predictions, resamples=100, generator=np.random.default_rng(0))["resnet50"]
    interval = percentile_interval(scores.overall["accuracy"])
    assert (interval.low, interval.high) == (None, None)
    assert interval.reason == "an interval needs at least two lesions"


def test_a_class_of_one_lesion_gives_no_interval_for_its_recall() -> None:
    generator = np.random.default_rng(0)
    labels = np.concatenate([np.zeros(20, dtype=np.int64), np.ones(20, dtype=np.int64), [2, 2]])
    groups = np.concatenate([np.arange(40), [40, 40]])
    predictions = as_predictions(labels, {"resnet50": random_probabilities(labels, 3, generator)}, groups=groups)
    scores = bootstrap(predictions, resamples=400, generator=generator)["resnet50"]
    rare = percentile_interval(scores.per_class["recall"][:, 2])
    assert (rare.low, rare.high) == (None, None)
    assert rare.reason is not None
    # A lesion is in a resample with probability 1 - 1/e.
    assert "defined in only 6" in rare.reason
    assert percentile_interval(scores.per_class["recall"][:, 0]).reason is None
    assert percentile_interval(scores.overall["macro_auc"]).low is None


def values_with_gaps(n_defined: int) -> FloatArray:
    values = np.full(100, np.nan)
    values[:n_defined] = np.linspace(0, 1, n_defined)
    return values


def test_interval_needs_nine_in_ten_resamples() -> None:
    assert percentile_interval(values_with_gaps(89)).low is None
    interval = percentile_interval(values_with_gaps(90))
    assert (interval.low, interval.high) == (pytest.approx(0.025), pytest.approx(0.975))
    assert interval.reason is None


def test_perfect_predictions_have_no_interval() -> None:
    labels = np.repeat([0, 1], 30)
    predictions = as_predictions(labels, {"resnet50": np.eye(2)[labels]})
    scores = bootstrap(predictions, resamples=100, generator=np.random.default_rng(0))["resnet50"]
    for metric in ("accuracy", "macro_auc", "brier", "ece"):
        assert percentile_interval(scores.overall[metric]) == NO_WIDTH
    assert centred_interval(scores.overall["ece"], 0.0) == NO_WIDTH


def test_values_that_differ_by_rounding_only_have_no_interval() -> None:
    rounding = np.random.default_rng(0).choice([-2.2e-16, 0, 2.2e-16], size=300)
    for value in (0.0, 0.3, 1.0):
        assert percentile_interval(value + rounding) == NO_WIDTH
        assert centred_interval(value + rounding, value) == NO_WIDTH
    with_gaps = np.where(np.arange(100) < 5, np.nan, 0.0)
    assert percentile_interval(with_gaps) == NO_WIDTH
    assert percentile_interval(np.append(np.zeros(50), np.full(50, 1e-6))).reason is None


@pytest.mark.parametrize("seed", range(5))
def test_calibration_error_lies_within_its_interval(seed: int) -> None:
    """The model knows the true probabilities, the case in which plain percentiles miss the estimate."""
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet([0.3, 0.5, 2.0], size=600)
    labels = (generator.random((600, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    resampled = bootstrap(as_predictions(labels, {"stack": probabilities}), resamples=300, generator=generator)["stack"]
    estimate = float(score_images(labels, probabilities).overall["ece"][0])
    interval = centred_interval(resampled.overall["ece"], estimate)
    assert interval.low is not None
    assert interval.high is not None
    assert 0 <= interval.low < estimate < interval.high


def test_centred_interval_of_unbiased_values_is_the_percentile_interval() -> None:
    values = np.linspace(0.2, 0.4, 101)
    centred, plain = centred_interval(values, 0.3), percentile_interval(values)
    assert (centred.low, centred.high) == (pytest.approx(plain.low), pytest.approx(plain.high))
    assert centred_interval(np.empty(0), 0.3).reason == "an interval needs at least two lesions"
    assert centred_interval(values, 0.05).low == 0


def test_an_interval_for_many_comparisons_needs_resamples_in_its_tails():
    values = np.random.default_rng(0).normal(size=2000)
    single, many = percentile_interval(values), percentile_interval(values, comparisons=6)
    assert [many.low, many.high] == pytest.approx(np.quantile(values, [0.025 / 6, 1 - 0.025 / 6]).tolist())
    assert many.low < single.low < single.high < many.high
    few = percentile_interval(values[:239], comparisons=6)
    assert (few.low, few.reason) == (None, "an interval for a choice among 6 comparisons needs 240 resamples")
    assert percentile_interval(values[:241], comparisons=6).low is not None
    assert percentile_interval(values[:20]).low is not None
