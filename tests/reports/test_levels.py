from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn_reference import as_predictions, random_labels, random_probabilities

from cv_folds.arrays import FloatArray, IntArray
from ensemble.predictions import Predictions
from reports.evaluation import evaluate
from reports.further_metrics import FURTHER_CLASS_METRICS, FURTHER_METRICS, score_fully
from reports.intervals import bootstrap, percentile_interval
from reports.lesions import by_lesion
from reports.levels import Level, Levels
from reports.malignant import MALIGNANT_METRICS, THRESHOLDS, malignant_classes, treat_all
from reports.metrics import CLASS_METRICS, OVERALL_METRICS
from reports.operating_points import operating_points
from reports.results import Estimate
from reports.settings import ReportSettings

MALIGNANT = ReportSettings(resamples=100, malignant=("class-0", "class-2"))


def some_run(seed: int = 0, *, n: int = 240, n_classes: int = 4, images: int = 2) -> Predictions:
    """Every lesion has as many images, in an order that says nothing."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(random_labels(n // images, n_classes, generator), images)
    groups = np.repeat(np.arange(n // images), images)
    order = generator.permutation(n)
    rows = random_probabilities(labels, n_classes, generator)
    return as_predictions(labels[order], {"resnet50": rows[order]}, groups=groups[order], folds=groups[order] % 3)


def levels_of(predictions: Predictions, settings: ReportSettings = MALIGNANT, seed: int = 0) -> Levels:
    evaluation = evaluate(predictions, demo=False, settings=settings, generator=np.random.default_rng(seed))
    json.dumps(evaluation.to_json(), allow_nan=False)
    assert evaluation.levels is not None
    return evaluation.levels


def lesion_level(levels: Levels) -> Level:
    assert levels.by_lesion is not None
    return levels.by_lesion


def test_lesions_have_the_mean_of_their_images() -> None:
    predictions = some_run(images=3)
    lesions = by_lesion(predictions)
    assert isinstance(lesions, Predictions)
    assert len(lesions.labels) == 80
    for place, lesion in enumerate(lesions.lesion_ids):
        rows = predictions.lesion_ids == lesion
        assert lesions.probabilities["resnet50"][place] == pytest.approx(
            predictions.probabilities["resnet50"][rows].mean(axis=0)
        )
        assert set(predictions.labels[rows].tolist()) == {lesions.labels[place]}
        assert set(predictions.groups[rows].tolist()) == {lesions.groups[place]}


def test_lesions_need_one_diagnosis_and_one_group() -> None:
    predictions = some_run()
    labels = predictions.labels.copy()
    lesion = str(predictions.lesion_ids[5])
    labels[5] = (labels[5] + 1) % 4
    assert by_lesion(replace(predictions, labels=labels)) == f"lesions with two diagnoses: {lesion}"
    groups = predictions.groups.copy()
    groups[5] = "another"
    assert by_lesion(replace(predictions, groups=groups)) == f"lesions in two groups: {lesion}"
    levels = levels_of(replace(predictions, labels=labels))
    assert levels.by_lesion is None
    assert levels.to_json()["by_lesion"] == {"models": None, "reason": f"lesions with two diagnoses: {lesion}"}


def test_every_metric_is_there_on_both_levels() -> None:
    predictions = some_run()
    levels = levels_of(predictions)
    assert levels.malignant_classes == ("class-0", "class-2")
    malignant = np.array([True, False, True, False])
    lesions = by_lesion(predictions)
    assert isinstance(lesions, Predictions)
    for level, table in ((levels.by_image, predictions), (lesion_level(levels), lesions)):
        assert level.n == len(table.labels)
        assert level.n_malignant == malignant[table.labels].sum()
        scores = level.models["resnet50"]
        assert tuple(scores.overall) == (*OVERALL_METRICS, *FURTHER_METRICS)
        expected = score_fully(table.labels, table.probabilities["resnet50"], malignant)
        for metric in FURTHER_METRICS:
            assert scores.overall[metric].value == expected.overall[metric][0]
        for metric in OVERALL_METRICS:
            assert scores.overall[metric].value == expected.scores.overall[metric][0]
        for index, metrics in enumerate(scores.per_class.values()):
            assert tuple(metrics) == (*CLASS_METRICS, *FURTHER_CLASS_METRICS)
            for metric in FURTHER_CLASS_METRICS:
                assert metrics[metric].value == expected.per_class[metric][0, index]
        assert tuple(scores.malignant) == MALIGNANT_METRICS
        assert len(scores.net_benefit) == len(level.treat_all) == len(THRESHOLDS)
        for estimate in (*scores.overall.values(), *scores.malignant.values()):
            assert estimate.low is not None, estimate
            assert estimate.low <= estimate.value <= estimate.high  # type: ignore[operator]


def test_both_levels_see_the_resamples_of_the_plain_bootstrap() -> None:
    predictions = some_run()
    levels = levels_of(predictions, seed=5)
    plain = bootstrap(predictions, resamples=100, generator=np.random.default_rng(5))["resnet50"]
    lesions = by_lesion(predictions)
    assert isinstance(lesions, Predictions)
    of_lesions = bootstrap(lesions, resamples=100, generator=np.random.default_rng(5))["resnet50"]
    for level, resampled in ((levels.by_image, plain), (lesion_level(levels), of_lesions)):
        interval = percentile_interval(resampled.overall["accuracy"])
        found = level.models["resnet50"].overall["accuracy"]
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_one_image_a_lesion_makes_both_levels_equal() -> None:
    levels = levels_of(some_run(images=1))
    of_images, of_lesions = levels.by_image.models["resnet50"], lesion_level(levels).models["resnet50"]
    for metric, estimate in of_images.overall.items():
        other = of_lesions.overall[metric]
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((other.value, other.low, other.high))
    assert of_images.malignant["auc"].value == of_lesions.malignant["auc"].value


def test_merged_lesions_stay_two_lesions_of_one_group() -> None:
    predictions = some_run()
    groups = predictions.groups.copy()
    first, second = np.unique(predictions.lesion_ids)[:2]
    groups[predictions.lesion_ids == second] = groups[predictions.lesion_ids == first][0]
    assert lesion_level(levels_of(replace(predictions, groups=groups))).n == 120


def test_data_without_malignant_classes_give_a_reason() -> None:
    levels = levels_of(some_run(), ReportSettings(resamples=100, malignant=("mel",)))
    scores = levels.by_image.models["resnet50"]
    reason = "none of the classes counts as malignant (report.malignant: mel)"
    assert set(scores.malignant.values()) == {Estimate(value=None, reason=reason)}
    assert set(scores.net_benefit) == {Estimate(value=None, reason=reason)}
    assert scores.operating_points == ()
    assert levels.by_image.treat_all == (None,) * len(THRESHOLDS)
    assert (levels.malignant_classes, levels.by_image.n_malignant) == ((), 0)
    every = malignant_classes(("mel", "bcc"), ("mel", "bcc", "scc"))
    assert every.undefined == "every class counts as malignant"
    assert malignant_classes(("mel", "nv"), ()).undefined is not None
    default = malignant_classes(("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"), ReportSettings().malignant)
    assert default.names == ("akiec", "bcc", "mel")


def known(labels: IntArray, n_classes: int) -> FloatArray:
    return 0.1 / n_classes + 0.9 * np.eye(n_classes)[labels]


def test_absent_classes_give_reasons() -> None:
    labels = np.repeat([1, 3], 30)
    scores = levels_of(as_predictions(labels, {"resnet50": known(labels, 4)})).by_image.models["resnet50"]
    for metric in ("balanced_multiclass_accuracy", "geometric_mean", "index_balanced_accuracy"):
        assert scores.overall[metric] == Estimate(value=None, reason="no image of class-0, class-2")
    assert scores.per_class["class-0"]["geometric_mean"].reason == "no image of this class"
    assert scores.malignant["auc"] == Estimate(value=None, reason="no image of a malignant class")
    assert scores.malignant["specificity"] == Estimate(value=1.0, reason="every resample gives the same value")
    assert {estimate.reason for estimate in scores.net_benefit} == {"no image of a malignant class"}
    labels = np.repeat([0, 2], 30)
    scores = levels_of(as_predictions(labels, {"resnet50": known(labels, 4)})).by_image.models["resnet50"]
    assert scores.malignant["auc"] == Estimate(value=None, reason="every image is of a malignant class")
    assert scores.malignant["sensitivity"].value == 1
    assert scores.net_benefit[0].value == pytest.approx(1)


def test_one_lesion_two_classes_and_few_images() -> None:
    rows = np.tile([0.9, 0.1], (3, 1))
    predictions = as_predictions(np.zeros(3, dtype=np.int64), {"resnet50": rows}, groups=np.zeros(3, dtype=np.int64))
    levels = levels_of(predictions)
    overall = levels.by_image.models["resnet50"].overall
    assert overall["top2_accuracy"].reason == "with fewer than three classes it is always 1"
    assert overall["aurc"] == Estimate(value=0.0, reason="an interval needs at least two lesions")
    of_lesions = lesion_level(levels).models["resnet50"].overall
    assert of_lesions["debiased_calibration_error"].reason == "of the 15 bins of confidence, one holds a single lesion"
    assert levels.by_image.models["resnet50"].malignant["auc"].reason == "every image is of a malignant class"


def test_net_benefit_of_treating_all_and_none() -> None:
    """Vickers and Elkin (2006): at the threshold of the prevalence, treating all is worth nothing."""
    assert treat_all(0.3)[THRESHOLDS.index(0.3)] == pytest.approx(0)
    assert treat_all(0.3)[THRESHOLDS.index(0.1)] == pytest.approx(0.3 - 0.7 / 9)
    labels = np.repeat([0, 1], [30, 70])
    everything = np.tile([0.99, 0.01], (100, 1))
    for rows, expected in ((everything, treat_all(0.3)), (np.tile([0.001, 0.999], (100, 1)), 0)):
        found = score_fully(labels, rows, np.array([True, False])).malignant
        assert found is not None
        assert found.net_benefit[0] == pytest.approx(np.broadcast_to(expected, len(THRESHOLDS)))


@pytest.mark.parametrize("decimals", [None, 1])
def test_operating_points_keep_what_they_promise(decimals: int | None) -> None:
    generator = np.random.default_rng(3)
    labels = random_labels(200, 3, generator)
    rows = random_probabilities(labels, 3, generator, decimals=decimals)
    malignant = np.array([True, False, False])
    score, is_malignant = rows[:, 0], labels == 0
    scores = score_fully(labels, rows, malignant).malignant
    assert scores is not None
    for point in operating_points(score, is_malignant):
        assert point.threshold is not None
        called = score >= point.threshold
        assert point.sensitivity == called[is_malignant].mean()
        assert point.specificity == pytest.approx((~called)[~is_malignant].mean())
        other = "specificity" if point.demand == "sensitivity" else "sensitivity"
        assert getattr(point, point.demand) >= point.percent / 100
        best = scores.metrics[f"{other}_at_{point.percent}_{point.demand}"][0]
        assert getattr(point, other) == pytest.approx(best)
    assert operating_points(score, np.ones(200, dtype=np.bool_)) == ()


def test_no_threshold_may_be_good_enough() -> None:
    points = operating_points(np.array([0.9, 0.8, 0.1]), np.array([False, True, False]))
    assert [(point.threshold, point.sensitivity, point.specificity) for point in points[:2]] == [(None, 0, 1)] * 2
    assert [(point.threshold, point.sensitivity, point.specificity) for point in points[2:]] == [(0.8, 1, 0.5)] * 2
