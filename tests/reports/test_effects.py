from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, log_loss

from cv_folds.arrays import frozen
from cv_folds.errors import DataError
from ensemble.decisions import DecisionRules, RuleName
from ensemble.predictions import Predictions
from reports import effect_tables
from reports.best_combiner import best_combiner
from reports.effects import CALIBRATION_METRICS, MEAN_COST, Effects
from reports.evaluation import evaluate
from reports.measure_effects import measure_effects
from reports.settings import ReportSettings

COSTS = frozen([[0, 1, 1], [20, 0, 10], [1, 2, 0]], np.float64)
RULES = DecisionRules(natural=np.array([0.1, 0.2, 0.7]), costs=COSTS)


def table(seed: int, *, n: int = 240, sharpness: float = 1.0) -> Predictions:
    """Two images a lesion, a backbone and two ensembles of different quality."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.choice(3, size=n // 2, p=[0.1, 0.2, 0.7]), 2)
    names = np.arange(n) // 2
    kinds = {"resnet18": "backbone", "soft_vote": "ensemble", "stack": "ensemble"}
    logits = rng.normal(size=(n, 3)) + np.log([0.1, 0.2, 0.7])
    gain = {"resnet18": 1.0, "soft_vote": 1.5, "stack": 2.5}
    return Predictions(
        image_ids=frozen([f"image_{index}" for index in range(n)]),
        lesion_ids=frozen([f"lesion_{index}" for index in names]),
        groups=frozen([f"lesion_{index}" for index in names]),
        folds=frozen(names % 4, np.int64),
        labels=frozen(labels, np.int64),
        classes=("bkl", "mel", "nv"),
        probabilities={
            model: frozen(softmax(sharpness * (logits + gain[model] * np.eye(3)[labels]), axis=1)) for model in kinds
        },
        kinds=kinds,  # type: ignore[arg-type]
    )


def decide(predictions: Predictions) -> dict[str, dict[RuleName, np.ndarray]]:
    return {
        model: {rule: RULES.decide(rows, rule) for rule in RULES.names}
        for model, rows in predictions.probabilities.items()
    }


def measure(after: Predictions, before: Predictions | None, seed: int = 5, resamples: int = 200) -> Effects:
    generator = np.random.default_rng(seed)
    return measure_effects(after, before, decide(after), costs=COSTS, resamples=resamples, generator=generator)


def test_either_side_has_the_scores_and_intervals_of_the_evaluation() -> None:
    after, before = table(0), table(0, sharpness=3.0)
    effects = measure(after, before)
    settings = ReportSettings(resamples=200)
    for side, predictions in (("after", after), ("before", before)):
        evaluation = evaluate(predictions, demo=False, settings=settings, generator=np.random.default_rng(5))
        for model, metrics in effects.calibration.items():
            assert tuple(metrics) == CALIBRATION_METRICS
            for metric, both in metrics.items():
                found, expected = getattr(both, side), evaluation.models[model].overall[metric]
                assert (found.value, found.low, found.high) == pytest.approx(
                    (expected.value, expected.low, expected.high), abs=1e-12
                )


def test_decisions_alone_are_those_beside_calibration() -> None:
    after = table(0)
    both = measure(after, table(0, sharpness=3.0))
    alone = measure(after, None)
    assert alone.decisions == both.decisions
    assert (alone.calibration, alone.best) == ({}, None)


def test_differences_are_paired_and_have_the_sign_of_after_minus_before() -> None:
    after, before = table(1), table(1, sharpness=4.0)
    calibration = measure(after, before).calibration
    for metrics in calibration.values():
        for both in metrics.values():
            assert both.difference.value == pytest.approx(both.after.value - both.before.value)
        assert metrics["accuracy"].difference.value == 0
        assert metrics["accuracy"].difference.reason == "every resample gives the same value"
    loss = calibration["resnet18"]["log_loss"]
    assert loss.difference.high < 0
    assert loss.difference.high - loss.difference.low < loss.before.high - loss.before.low


def test_decisions_are_scored_as_by_scikit_learn() -> None:
    after = table(2)
    effects = measure(after, after)
    for model, rules in effects.decisions.items():
        assert tuple(rules) == ("max_probability", "balanced", "costs")
        for rule, scores in rules.items():
            decided = RULES.decide(after.probabilities[model], rule)
            expected = {
                "accuracy": accuracy_score(after.labels, decided),
                "balanced_accuracy": balanced_accuracy_score(after.labels, decided),
                "macro_f1": f1_score(after.labels, decided, average="macro", labels=[0, 1, 2], zero_division=0),
                MEAN_COST: (confusion_matrix(after.labels, decided, labels=[0, 1, 2]) * COSTS).sum() / len(decided),
            }
            assert {metric: estimate.value for metric, estimate in scores.items()} == pytest.approx(expected)
            for estimate in scores.values():
                assert estimate.low <= estimate.value <= estimate.high
        costs = {rule: scores[MEAN_COST].value for rule, scores in rules.items()}
        assert min(costs, key=lambda rule: costs[rule]) == "costs"


def test_the_scores_of_a_decision_do_not_depend_on_the_order_of_the_rows() -> None:
    after, before = table(3), table(3, sharpness=2.0)
    order = np.random.default_rng(0).permutation(len(after.labels))

    def shuffled(predictions: Predictions) -> Predictions:
        columns = ("image_ids", "lesion_ids", "groups", "folds", "labels")
        return replace(
            predictions,
            **{name: getattr(predictions, name)[order] for name in columns},
            probabilities={model: rows[order] for model, rows in predictions.probabilities.items()},
        )

    one, other = measure(after, before).to_json(), measure(shuffled(after), shuffled(before)).to_json()
    for key in ("calibration", "decisions"):
        for model in after.kinds:
            assert str(one[key][model].keys()) == str(other[key][model].keys())
            for part, metrics in one[key][model].items():
                for metric, estimate in metrics.items():
                    assert estimate == pytest.approx(other[key][model][part][metric], abs=1e-12)


def test_a_single_group_has_scores_without_intervals() -> None:
    after = replace(table(4), groups=frozen(["one"] * 240))
    effects = measure(after, after)
    estimate = effects.calibration["stack"]["ece"].after
    assert estimate.low is None
    assert estimate.value == pytest.approx(abs(estimate.value))
    assert estimate.reason == "an interval needs at least two lesions"
    assert effects.best is not None
    assert effects.best.evidence == "undefined"
    assert "is not known: an interval needs at least two lesions" in effects.best.sentence


def test_tables_of_other_images_or_models_are_refused() -> None:
    after = table(0)
    other = replace(after, image_ids=after.image_ids[::-1])
    with pytest.raises(DataError, match="run `hamcv ensemble` again"):
        measure(after, other)


RESAMPLED = {"resnet18": np.linspace(0.5, 0.6, 50), "soft_vote": np.linspace(0.5, 0.6, 50)}
KINDS = {"resnet18": "backbone", "soft_vote": "ensemble", "stack": "ensemble", "greedy": "ensemble"}


@pytest.mark.parametrize(
    ("losses", "shift", "against", "evidence", "words"),
    [
        ({"resnet18": 0.1, "soft_vote": 0.6, "stack": 0.5}, -0.1, "soft_vote", "difference", "better than soft_vote"),
        ({"soft_vote": 0.6, "stack": 0.59}, 0.0, "soft_vote", "no evidence of a difference", "no evidence of a diff"),
        ({"soft_vote": 0.5, "stack": 0.6}, 0.1, "stack", "difference", "better than stack, the next best"),
        ({"stack": 0.5, "greedy": 0.7}, -0.1, "greedy", "difference", "better than greedy, the next best"),
        ({"soft_vote": 0.5}, 0.0, None, "undefined", "the only ensemble"),
        ({"soft_vote": 0.5, "stack": 0.5}, None, "stack", "no evidence of a difference", "has the same"),
    ],
)  # fmt: skip
def test_the_best_ensemble_and_what_it_is_compared_with(
    losses: dict[str, float], shift: float | None, against: str | None, evidence: str, words: str
) -> None:
    noise = 0 if shift is None else np.random.default_rng(0).normal(0, 0.02, 50)
    base = RESAMPLED["soft_vote"]
    resampled = {"resnet18": base, "soft_vote": base, "greedy": base, "stack": base + (shift or 0) + noise}
    kinds = {model: KINDS[model] for model in losses}
    found = best_combiner(losses, resampled, kinds, by="cross-fitted log_loss")  # type: ignore[arg-type]
    assert found is not None
    assert (found.against, found.evidence) == (against, evidence)
    assert words in found.sentence
    ensembles = {model: loss for model, loss in losses.items() if KINDS[model] == "ensemble"}
    assert found.model == min(ensembles, key=lambda model: ensembles[model])
    assert found.to_json()["by"] == "cross-fitted log_loss"


@pytest.mark.parametrize("by", ["cross-fitted log_loss", "log_loss on the test part"])
@pytest.mark.parametrize("losses", [{"soft_vote": 0.6, "stack": 0.5}, {"soft_vote": 0.6}])
def test_what_the_ensembles_are_ranked_by_is_said_as_it_is(by: Any, losses: dict[str, float]) -> None:
    resampled = dict.fromkeys(losses, RESAMPLED["soft_vote"])
    found = best_combiner(losses, resampled, dict.fromkeys(losses, "ensemble"), by=by)
    assert found is not None
    assert found.to_json()["by"] == by
    assert by.replace("_", "-") in found.sentence


def test_the_best_of_many_alike_ensembles_is_not_called_better() -> None:
    """Picked among equals, the best one seems better than soft voting far too often by an interval of its own."""
    generator = np.random.default_rng(0)
    names = ["soft_vote", "log_vote", "weighted_vote", "greedy", "stack", "stack_meta", "stack_trees"]
    kinds: dict[str, Any] = dict.fromkeys(names, "ensemble")
    claimed = {"difference": 0, "no evidence of a difference": 0}
    alone = 0
    for _ in range(400):
        offsets = generator.normal(0, 0.01, len(names))
        losses = {name: 0.5 + offset for name, offset in zip(names, offsets, strict=True)}
        resampled = {name: loss + generator.normal(0, 0.01, 1000) for name, loss in losses.items()}
        found = best_combiner(losses, resampled, kinds, by="cross-fitted log_loss")
        assert found is not None
        assert found.comparisons == 6
        claimed[found.evidence] += 1
        own = np.quantile(resampled[found.model] - resampled[str(found.against)], [0.025, 0.975])
        alone += not own[0] <= 0 <= own[1]
    assert claimed["difference"] / 400 < 0.05 < alone / 400
    assert (
        best_combiner(
            {"stack": 0.5, "greedy": 0.6, "stack_trees": 0.7}, resampled, kinds, by="cross-fitted log_loss"
        ).comparisons
        == 3
    )  # type: ignore[union-attr]


def test_without_ensembles_there_is_no_best_one() -> None:
    assert best_combiner({"resnet18": 0.5}, RESAMPLED, {"resnet18": "backbone"}, by="cross-fitted log_loss") is None


def test_the_pages_show_every_model_before_and_after_and_under_every_rule() -> None:
    after, before = table(0), table(0, sharpness=3.0)
    effects = measure(after, before)
    rows = effect_tables.calibration_table(effects).rows
    assert [(row[0].text, row[1].text) for row in rows] == [
        (model, side) for model in after.kinds for side in ("as trained", "calibrated")
    ]
    assert rows[0][2].value == pytest.approx(log_loss(before.labels, before.probabilities["resnet18"]))
    assert rows[1][2].value == pytest.approx(log_loss(after.labels, after.probabilities["resnet18"]))
    decisions = effect_tables.decision_table(effects)
    assert [column.label for column in decisions.columns][-1] == "Mean cost"
    assert len(decisions.rows) == 9
    assert sum(row[-1].best for row in decisions.rows) == 1
    plain = {model: {rule: rows[rule] for rule in ("max_probability",)} for model, rows in decide(after).items()}
    generator = np.random.default_rng(0)
    without = measure_effects(after, before, plain, costs=None, resamples=100, generator=generator)  # type: ignore[arg-type]
    assert [column.label for column in effect_tables.decision_table(without).columns][-1] == "Macro F1"
