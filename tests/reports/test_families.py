from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp
from sklearn.metrics import roc_auc_score
from sklearn_reference import as_predictions, random_labels, random_probabilities

from ensemble.predictions import Predictions
from reports.comparisons import COMPARED_METRICS
from reports.evaluation import evaluate
from reports.families import Family, PairTest
from reports.lesions import by_lesion
from reports.multiplicity import holm
from reports.results import Evaluation
from reports.settings import ReportSettings

SETTINGS = ReportSettings(resamples=100, malignant=("class-0",))
MODELS = ("mobilenet_v3_large", "resnet50", "stack")


def some_run(seed: int = 0, *, n: int = 240, models: tuple[str, ...] = MODELS, n_folds: int = 4) -> Predictions:
    """Two images a lesion, every model a different draw."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(random_labels(n // 2, 3, generator), 2)
    groups = np.repeat(np.arange(n // 2), 2)
    drawn = {model: random_probabilities(labels, 3, generator) for model in models}
    return as_predictions(labels, drawn, groups=groups, folds=groups % n_folds)


def evaluated(predictions: Predictions, settings: ReportSettings = SETTINGS) -> Evaluation:
    evaluation = evaluate(predictions, demo=False, settings=settings, generator=np.random.default_rng(0))
    json.dumps(evaluation.to_json(), allow_nan=False)
    return evaluation


def family(evaluation: Evaluation, method: str, unit: str, metric: str | None = None) -> Family:
    (found,) = (
        one for one in evaluation.tests if (one.method, one.unit) == (method, unit) and metric in (None, one.metric)
    )
    return found


def pair(found: Family, against: str) -> PairTest:
    return next(one for one in found.pairs if one.against == against)


def test_every_family_has_the_pairs_of_the_comparisons() -> None:
    evaluation = evaluated(some_run())
    pairs = list(dict.fromkeys((found.model, found.against) for found in evaluation.comparisons))
    assert [(one.method, one.metric, one.unit) for one in evaluation.tests] == [
        ("delong", "malignant_auc", "image"),
        ("delong", "malignant_auc", "lesion"),
        ("mcnemar", "accuracy", "lesion"),
        *(("corrected_t", metric, "fold") for metric in COMPARED_METRICS),
    ]
    for one in evaluation.tests:
        assert [(test.model, test.against) for test in one.pairs] == pairs
        p_values = [test.outcome.p for test in one.pairs]
        assert [test.p_adjusted for test in one.pairs] == list(holm(p_values))
        for test in one.pairs:
            assert test.p_adjusted is not None
            assert (test.evidence == "difference") == (test.p_adjusted < 0.05)
            assert test.sentence.startswith("No evidence of a difference") == (test.evidence != "difference")
    content = evaluation.to_json()["tests"]
    assert len(content) == len(evaluation.tests)
    assert content[0]["test"] == "delong"
    assert set(content[0]["pairs"][0]) == {
        "model", "against", "difference", "statistic", "p", "p_adjusted", "evidence", "sentence",
    }  # fmt: skip
    assert evaluated(some_run(models=("resnet50",))).tests == ()


def test_values_are_those_of_the_units() -> None:
    predictions = some_run()
    evaluation = evaluated(predictions)
    lesions = by_lesion(predictions)
    assert isinstance(lesions, Predictions)
    for unit, table in (("image", predictions), ("lesion", lesions)):
        found = pair(family(evaluation, "delong", unit), "resnet50").outcome
        first, second = (roc_auc_score(table.labels == 0, table.probabilities[model][:, 0]) for model in MODELS[:0:-1])
        assert found.difference.value == pytest.approx(first - second)
    right, other = (lesions.probabilities[model].argmax(axis=1) == lesions.labels for model in MODELS[:0:-1])
    found = pair(family(evaluation, "mcnemar", "lesion"), "resnet50").outcome
    only, discordant = int((right & ~other).sum()), int((right != other).sum())
    assert found.p == pytest.approx(binomtest(only, discordant).pvalue)
    assert found.difference.value == pytest.approx(right.mean() - other.mean())
    assert found.difference.low is not None
    assert found.difference.low < found.difference.value
    folds = [
        (evaluation.models["stack"].folds[fold]["log_loss"] or 0)
        - (evaluation.models["resnet50"].folds[fold]["log_loss"] or 0)
        for fold in range(4)
    ]
    tested = pair(family(evaluation, "corrected_t", "fold", "log_loss"), "resnet50").outcome
    plain = ttest_1samp(folds, 0)
    assert tested.statistic == pytest.approx(plain.statistic * (0.25 / (0.25 + 1 / 3)) ** 0.5)


def test_sentences_name_the_better_model() -> None:
    predictions = some_run()
    known = 0.05 + 0.85 * np.eye(3)[predictions.labels]
    noise = np.random.default_rng(1).dirichlet(np.full(3, 50.0), size=len(known))
    models = {"resnet50": predictions.probabilities["resnet50"], "stack": 0.9 * known + 0.1 * noise}
    evaluation = evaluated(
        replace(predictions, probabilities=models, kinds={"resnet50": "backbone", "stack": "ensemble"})
    )
    for one in evaluation.tests:
        assert one.pairs[0].evidence == "difference"
        assert one.pairs[0].sentence.startswith("stack is better than resnet50 in ")
    assert "log-loss per fold (−" in family(evaluation, "corrected_t", "fold", "log_loss").pairs[0].sentence
    mcnemar = family(evaluation, "mcnemar", "lesion").pairs[0].sentence
    assert "accuracy per lesion (+" in mcnemar
    assert "; McNemar’s exact test: p < 0.001, adjusted < 0.001)." in mcnemar


def test_equal_models_do_not_differ() -> None:
    predictions = some_run()
    rows = predictions.probabilities["resnet50"]
    evaluation = evaluated(
        replace(
            predictions,
            probabilities={"resnet50": rows, "stack": rows},
            kinds={"resnet50": "backbone", "stack": "ensemble"},
        )
    )
    assert len(evaluation.comparisons) == len(COMPARED_METRICS)
    for comparison in evaluation.comparisons:
        assert (comparison.difference.value, comparison.p, comparison.p_adjusted) == (0.0, 1.0, 1.0)
        assert comparison.sentence.startswith("No evidence of a difference")
        assert "(0.000; p = 1.000, adjusted 1.000)" in comparison.sentence
    for one in evaluation.tests:
        (test,) = one.pairs
        assert (test.outcome.difference.value, test.outcome.statistic) == (0.0, 0.0)
        assert (test.outcome.p, test.p_adjusted, test.evidence) == (1.0, 1.0, "no evidence of a difference")
        assert test.outcome.difference.reason is not None
        assert test.sentence.startswith("No evidence of a difference")


def test_reasons_of_what_cannot_be_tested() -> None:
    one_part = evaluated(some_run(n_folds=1))
    folds = family(one_part, "corrected_t", "fold", "macro_f1").pairs[0]
    assert folds.outcome.reason == "the test needs at least two folds"
    assert folds.sentence == (
        "stack and mobilenet_v3_large cannot be compared in macro F1 per fold by corrected t-test over folds: "
        "the test needs at least two folds."
    )
    benign = evaluated(some_run(), ReportSettings(resamples=100, malignant=()))
    for unit in ("image", "lesion"):
        reason = family(benign, "delong", unit).pairs[0].outcome.reason
        assert reason == "none of the classes counts as malignant (report.malignant: no name)"
    predictions = some_run()
    labels = predictions.labels.copy()
    labels[0] = (labels[0] + 1) % 3
    two = evaluated(replace(predictions, labels=labels))
    for method in ("delong", "mcnemar"):
        reason = family(two, method, "lesion").pairs[0].outcome.reason
        assert reason == f"lesions with two diagnoses: {predictions.lesion_ids[0]}"
