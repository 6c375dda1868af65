from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn_reference import as_predictions, random_labels, random_probabilities, reference_overall

from cv_folds.errors import DataError
from ensemble.predictions import Predictions
from reports.comparisons import COMPARED_METRICS, best_model, evidence_text, resampled_p
from reports.equal_mass import equal_mass_bins
from reports.evaluation import evaluate
from reports.metrics import CLASS_METRICS, OVERALL_METRICS
from reports.multiplicity import holm
from reports.results import Comparison, Estimate, Evaluation
from reports.settings import ReportSettings

FEW = ReportSettings(resamples=100)
BACKBONES = ("mobilenet_v3_large", "resnet50")


def run_of(models: tuple[str, ...], *, seed: int = 0, n: int = 200) -> Predictions:
    """Every model a different draw, each group two images."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(random_labels(n // 2, 3, generator), 2)
    groups = np.repeat(np.arange(n // 2), 2)
    return as_predictions(
        labels,
        {model: random_probabilities(labels, 3, generator) for model in models},
        groups=groups,
        folds=groups % 4,
    )


def evaluated(predictions: Predictions, seed: int = 0, settings: ReportSettings = FEW) -> Evaluation:
    return evaluate(predictions, demo=False, settings=settings, generator=np.random.default_rng(seed))


def strict(evaluation: Evaluation) -> object:
    return json.loads(json.dumps(evaluation.to_json(), allow_nan=False))


def test_every_metric_is_there_and_inside_a_finite_interval() -> None:
    evaluation = evaluated(run_of((*BACKBONES, "soft_vote", "stack")))
    assert (evaluation.n_images, evaluation.n_lesions, evaluation.demo) == (200, 100, False)
    assert list(evaluation.models) == [*BACKBONES, "soft_vote", "stack"]
    for scores in evaluation.models.values():
        assert tuple(scores.overall) == OVERALL_METRICS
        assert list(scores.per_class) == list(evaluation.classes)
        for estimate in scores.overall.values():
            assert estimate.low is not None
            assert estimate.high is not None
            assert estimate.low < estimate.high
        for metric in OVERALL_METRICS:
            estimate = scores.overall[metric]
            assert estimate.low < estimate.value < estimate.high  # type: ignore[operator]
        for metrics in scores.per_class.values():
            assert tuple(metrics) == CLASS_METRICS
            support = metrics["support"]
            assert (support.low, support.high, support.reason) == (None, None, "a count")
        assert sum(metrics["support"].value or 0 for metrics in scores.per_class.values()) == 200


def test_point_values_do_not_depend_on_the_resamples() -> None:
    predictions = run_of(BACKBONES)
    first, second = evaluated(predictions, 1), evaluated(predictions, 2)
    for model in BACKBONES:
        for metric in OVERALL_METRICS:
            assert first.models[model].overall[metric].value == second.models[model].overall[metric].value
    assert evaluated(predictions, 1) == first
    assert first != second


def test_folds_are_scored_alone() -> None:
    predictions = run_of(BACKBONES)
    folds = evaluated(predictions).models["resnet50"].folds
    assert len(folds) == 4
    for fold, values in enumerate(folds):
        rows = predictions.folds == fold
        probabilities = predictions.probabilities["resnet50"][rows]
        expected = reference_overall(
            predictions.labels[rows], probabilities, equal_mass_bins(probabilities.max(axis=1))
        )
        assert values == pytest.approx(expected, abs=1e-12)


def test_absent_class_gives_reasons_and_strict_json() -> None:
    labels = np.array([0, 0, 1, 1, 0, 1, 0, 0, 1, 1])
    probabilities = np.tile([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]], (5, 1))
    evaluation = evaluated(as_predictions(labels, {"resnet50": probabilities}))
    scores = evaluation.models["resnet50"]
    assert scores.overall["macro_auc"] == Estimate(value=None, reason="no image of class-2")
    absent = scores.per_class["class-2"]
    for metric in ("auc", "recall", "average_precision"):
        assert absent[metric] == Estimate(value=None, reason="no image of this class")
    assert absent["precision"] == Estimate(value=None, reason="never predicted")
    assert absent["f1"] == Estimate(value=None, reason="no image of this class, and it is never predicted")
    assert absent["support"].value == 0
    assert absent["brier"].value == pytest.approx(0.01)
    assert scores.folds[0]["macro_auc"] is None
    content = strict(evaluation)
    assert isinstance(content, dict)
    assert content["models"]["resnet50"]["overall"]["macro_auc"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "no image of class-2",
    }


def test_one_lesion_of_one_class() -> None:
    predictions = as_predictions(
        np.zeros(3, dtype=np.int64), {"resnet50": np.tile([0.9, 0.1], (3, 1))}, groups=np.zeros(3, dtype=np.int64)
    )
    evaluation = evaluated(predictions)
    scores = evaluation.models["resnet50"]
    assert scores.overall["accuracy"] == Estimate(value=1.0, reason="an interval needs at least two lesions")
    assert scores.overall["mcc"].reason == "every image is of one class"
    assert scores.overall["kappa"].reason == "every image is of one class, and only one is ever predicted"
    assert scores.per_class["class-0"]["specificity"].reason == "every image is of this class"
    assert strict(evaluation)


def test_constant_prediction_has_no_matthews_correlation() -> None:
    predictions = as_predictions(np.array([0, 1, 1, 0]), {"resnet50": np.tile([0.6, 0.4], (4, 1))})
    overall = evaluated(predictions).models["resnet50"].overall
    assert overall["mcc"] == Estimate(value=None, reason="only one class is ever predicted")
    assert overall["kappa"].value == pytest.approx(0)


def test_scores_at_their_bounds_keep_their_value_and_have_no_interval() -> None:
    labels = np.repeat([0, 1, 2], [40, 30, 10])
    rows = np.full((80, 3), 0.1)
    rows[np.arange(80), np.where(labels == 2, 0, labels)] = 0.8
    evaluation = evaluated(as_predictions(labels, {"resnet50": rows}))
    classes = evaluation.models["resnet50"].per_class
    bound = "every resample gives the same value"
    assert classes["class-2"]["recall"] == Estimate(value=0.0, reason=bound)
    assert classes["class-1"]["specificity"] == Estimate(value=1.0, reason=bound)
    assert classes["class-0"]["specificity"].low is not None
    content = strict(evaluation)
    assert isinstance(content, dict)
    assert content["models"]["resnet50"]["per_class"]["class-2"]["recall"] == {
        "value": 0.0,
        "low": None,
        "high": None,
        "reason": bound,
    }


def test_no_prediction_is_bad_data() -> None:
    with pytest.raises(DataError, match="no predictions"):
        evaluated(as_predictions(np.zeros(0, dtype=np.int64), {"resnet50": np.zeros((0, 2))}))


def pairs(evaluation: Evaluation) -> list[tuple[str, str]]:
    return list(dict.fromkeys((comparison.model, comparison.against) for comparison in evaluation.comparisons))


def test_stack_meets_every_model_and_soft_vote_the_best_backbone() -> None:
    evaluation = evaluated(run_of((*BACKBONES, "soft_vote", "stack")))
    best = max(BACKBONES, key=lambda model: evaluation.models[model].overall["macro_auc"].value or 0)
    assert pairs(evaluation) == [*(("stack", model) for model in (*BACKBONES, "soft_vote")), ("soft_vote", best)]
    assert [comparison.metric for comparison in evaluation.comparisons] == [*COMPARED_METRICS] * 4
    for comparison in evaluation.comparisons:
        model, against = (evaluation.models[name].overall for name in (comparison.model, comparison.against))
        expected = (model[comparison.metric].value or 0) - (against[comparison.metric].value or 0)
        assert comparison.difference.value == pytest.approx(expected, abs=1e-15)


def test_without_ensembles_the_best_meets_the_rest() -> None:
    evaluation = evaluated(run_of((*BACKBONES, "efficientnet_b0")))
    best = best_model({model: scores.overall for model, scores in evaluation.models.items()})
    assert pairs(evaluation) == [(best, model) for model in evaluation.models if model != best]
    assert evaluated(run_of(("resnet50",))).comparisons == ()
    assert evaluated(run_of(("stack",))).comparisons == ()


def test_equal_models_have_no_interval_and_unlike_ones_differ() -> None:
    predictions = run_of(BACKBONES)
    rows = predictions.probabilities["resnet50"]
    known = np.full_like(rows, 0.05)
    known[np.arange(len(rows)), predictions.labels] = 0.9
    groups = np.unique(predictions.groups, return_inverse=True)[1]
    # Three pairs: with a hundred resamples, no adjusted p-value could be below 0.05.
    evaluation = evaluated(
        as_predictions(predictions.labels, {"resnet50": rows, "soft_vote": rows, "stack": known}, groups=groups),
        settings=ReportSettings(resamples=300),
    )
    for comparison in evaluation.comparisons:
        if comparison.model == "soft_vote":
            assert comparison.difference == Estimate(value=0.0, reason="every resample gives the same value")
            assert (comparison.p, comparison.p_adjusted) == (1.0, 1.0)
            assert evidence_text(comparison).startswith("No evidence of a difference")
        else:
            assert comparison.evidence == "difference"
            assert evidence_text(comparison).startswith(f"stack is better than {comparison.against} in")


def test_p_values_of_resamples_belong_to_the_percentile_interval() -> None:
    values = np.arange(1.0, 101)
    assert resampled_p(values) == pytest.approx(2 / 101)
    assert resampled_p(-values) == pytest.approx(2 / 101)
    assert resampled_p(values - 10.5) == pytest.approx(2 * 11 / 101)
    assert resampled_p(np.append(values - 10.5, np.nan)) == pytest.approx(2 * 11 / 101)
    assert resampled_p(values - 50.5) == 1
    assert resampled_p(np.zeros(50)) == 1


def test_p_values_of_one_metric_are_adjusted_together() -> None:
    evaluation = evaluated(run_of((*BACKBONES, "soft_vote", "stack")))
    for metric in COMPARED_METRICS:
        found = [comparison for comparison in evaluation.comparisons if comparison.metric == metric]
        p_values = [comparison.p for comparison in found]
        adjusted = [comparison.p_adjusted for comparison in found]
        assert adjusted == list(holm(p_values))
        for comparison in found:
            assert comparison.p is not None
            assert comparison.p_adjusted is not None
            assert comparison.p <= comparison.p_adjusted <= 1
            assert (comparison.evidence == "difference") == (comparison.p_adjusted < 0.05)
            assert comparison.sentence == evidence_text(comparison)
            assert "adjusted" in comparison.sentence
    content = strict(evaluation)
    assert isinstance(content, dict)
    assert {"metric", "model", "against", "difference", "evidence", "p", "p_adjusted", "sentence"} == set(
        content["comparisons"][0]
    )


def test_an_interval_beside_zero_is_no_evidence_when_many_pairs_were_compared() -> None:
    comparison = Comparison(
        metric="macro_f1",
        model="stack",
        against="resnet50",
        difference=Estimate(value=0.02, low=0.001, high=0.04),
        evidence="no evidence of a difference",
        p=0.03,
        p_adjusted=0.27,
    )
    assert evidence_text(comparison) == (
        "No evidence of a difference in macro F1 between stack and resnet50 "
        "(+0.020, 95 % interval +0.001 to +0.040; p = 0.030, adjusted 0.270)."
    )


def test_differences_are_paired() -> None:
    """Two models that differ by little: the paired interval is far narrower than either model's own."""
    predictions = run_of(("resnet50",), n=400)
    rows = predictions.probabilities["resnet50"]
    nearly = 0.98 * rows + 0.02 / 3
    groups = np.unique(predictions.groups, return_inverse=True)[1]
    evaluation = evaluated(as_predictions(predictions.labels, {"resnet50": rows, "stack": nearly}, groups=groups))
    comparison = next(found for found in evaluation.comparisons if found.metric == "log_loss")
    own = evaluation.models["resnet50"].overall["log_loss"]
    assert comparison.difference.high is not None
    assert comparison.difference.low is not None
    assert own.high is not None
    assert own.low is not None
    assert comparison.difference.high - comparison.difference.low < 0.2 * (own.high - own.low)


def test_comparison_of_an_undefined_metric_is_undefined() -> None:
    labels = np.array([0, 0, 1, 1] * 5)
    rows = random_probabilities(labels, 3, np.random.default_rng(0))
    evaluation = evaluated(as_predictions(labels, {"resnet50": rows, "stack": rows[::-1]}))
    comparison = next(found for found in evaluation.comparisons if found.metric == "macro_auc")
    assert comparison.evidence == "undefined"
    assert comparison.difference == Estimate(value=None, reason="no image of class-2")
    assert "cannot be compared: no image of class-2" in evidence_text(comparison)


def test_evidence_text_names_the_worse_model_and_missing_intervals() -> None:
    worse = Comparison(
        metric="log_loss",
        model="stack",
        against="resnet50",
        difference=Estimate(value=0.1, low=0.05, high=0.15),
        evidence="difference",
    )
    assert evidence_text(worse) == (
        "stack is worse than resnet50 in log-loss (+0.100, 95 % interval +0.050 to +0.150)."
    )
    unknown = Comparison(
        metric="macro_f1",
        model="stack",
        against="resnet50",
        difference=Estimate(value=0.1, reason="an interval needs at least two lesions"),
        evidence="undefined",
    )
    assert "there is no interval: an interval needs at least two lesions" in evidence_text(unknown)


def test_settings_refuse_what_makes_no_interval() -> None:
    for wrong in ({"resamples": 99}, {"formats": ("docx",)}, {"level": 0.9}):
        with pytest.raises(ValidationError):
            ReportSettings.model_validate(wrong)
