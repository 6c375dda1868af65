"""What members of an ensemble have in common."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, matthews_corrcoef
from sklearn_reference import as_predictions, random_labels, random_probabilities

from ensemble.predictions import ModelKind, Predictions
from reports.diversity import PAIR_METRICS, Diversity, measure_diversity
from reports.diversity_section import diversity_section
from reports.document import Figure, Table
from reports.evaluation import evaluate
from reports.intervals import percentile_interval, resample_groups
from reports.settings import ReportSettings

MEMBERS = ("resnet18", "resnet50", "densenet121")


def made(seed: int = 0, *, lesions: int = 60, models: tuple[str, ...] = (*MEMBERS, "stack")) -> Predictions:
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(lesions), generator.integers(1, 4, lesions))
    labels = random_labels(lesions, 3, generator)[groups]
    rows = {model: random_probabilities(labels, 3, generator) for model in models}
    return as_predictions(labels, rows, groups=groups, folds=groups % 3)


def measured(predictions: Predictions, resamples: int = 100) -> Diversity | None:
    return measure_diversity(predictions, resamples=resamples, generator=np.random.default_rng(2))


def some(predictions: Predictions, resamples: int = 100) -> Diversity:
    found = measured(predictions, resamples)
    assert found is not None
    return found


def by_hand(labels: np.ndarray, one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    a, b = one.argmax(axis=1) == labels, other.argmax(axis=1) == labels
    both, neither = (a & b).sum(), (~a & ~b).sum()
    first, second = (a & ~b).sum(), (~a & b).sum()
    down = both * neither + first * second
    return {
        "agreement": accuracy_score(one.argmax(axis=1), other.argmax(axis=1)),
        "disagreement": (first + second) / len(a),
        "double_fault": neither / len(a),
        "q": (both * neither - first * second) / down if down else np.nan,
        "error_correlation": matthews_corrcoef(a, b) if len(set(a)) == len(set(b)) == 2 else np.nan,
    }


def test_the_published_formulae_on_a_table_of_four_cells() -> None:
    """Both right 4, the first alone 1, the second alone 2, neither 3: Q = 10/14, correlation = 10/sqrt(5*5*6*4)."""
    labels = np.zeros(10, dtype=np.int64)
    right, wrong = [0.8, 0.2], [0.3, 0.7]
    first = np.array([right] * 5 + [wrong] * 5)
    second = np.array([right] * 4 + [wrong] + [right] * 2 + [wrong] * 3)
    pair = some(as_predictions(labels, {"a": first, "b": second})).pairs[0].metrics
    assert pair["q"].value == pytest.approx((4 * 3 - 1 * 2) / (4 * 3 + 1 * 2))
    assert pair["error_correlation"].value == pytest.approx(10 / np.sqrt(5 * 5 * 6 * 4))
    assert (pair["disagreement"].value, pair["double_fault"].value, pair["agreement"].value) == (0.3, 0.3, 0.7)


@pytest.mark.parametrize("seed", range(3))
def test_values_and_intervals_are_those_of_the_repeated_rows(seed: int) -> None:
    predictions = made(seed)
    names, groups = np.unique(predictions.groups, return_inverse=True)
    blocks = resample_groups(len(names), len(groups), resamples=100, generator=np.random.default_rng(2))
    drawn = [np.repeat(np.arange(len(groups)), counts[groups]) for counts in np.concatenate(list(blocks))]
    found = some(predictions)
    assert found.members == MEMBERS
    for pair in found.pairs:
        one, other = predictions.probabilities[pair.model], predictions.probabilities[pair.other]
        point = by_hand(predictions.labels, one, other)
        repeated = [by_hand(predictions.labels[which], one[which], other[which]) for which in drawn]
        for metric in PAIR_METRICS:
            interval = percentile_interval(np.array([values[metric] for values in repeated]))
            estimate = pair.metrics[metric]
            assert estimate.value == pytest.approx(point[metric], abs=1e-12)
            assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    right = np.stack([predictions.probabilities[name].argmax(axis=1) == predictions.labels for name in MEMBERS])
    assert found.all_right.value == pytest.approx(right.all(axis=0).mean())
    assert found.any_right.value == pytest.approx(right.any(axis=0).mean())
    assert found.any_right.low < found.any_right.value < found.any_right.high


def test_pairs_do_not_depend_on_which_comes_first() -> None:
    predictions = made(4)
    turned = replace(predictions, probabilities=dict(reversed(predictions.probabilities.items())))
    turned = replace(turned, kinds=dict(reversed(predictions.kinds.items())))
    one, other = some(predictions), some(turned)
    for pair in one.pairs:
        assert other.pair(pair.other, pair.model).metrics == pair.metrics


def test_independent_errors_have_a_q_near_nought_and_copies_of_one() -> None:
    generator = np.random.default_rng(0)
    labels = np.zeros(20_000, dtype=np.int64)
    one, other = (np.where(generator.random((20_000, 1)) < 0.7, [[0.8, 0.2]], [[0.2, 0.8]]) for _ in range(2))
    found = some(as_predictions(labels, {"a": one, "b": other, "c": one}), resamples=2)
    assert abs(found.pair("a", "b").metrics["q"].value or 1) < 0.05
    assert abs(found.pair("a", "b").metrics["error_correlation"].value or 1) < 0.03
    for metric, expected in (("q", 1), ("error_correlation", 1), ("agreement", 1), ("disagreement", 0)):
        assert found.pair("a", "c").metrics[metric].value == expected


def test_a_member_that_is_always_right_has_no_correlation() -> None:
    predictions = made(5)
    perfect = np.eye(3)[predictions.labels]
    found = some(replace(predictions, probabilities={**predictions.probabilities, "resnet18": perfect}))
    metrics = found.pair("resnet18", "resnet50").metrics
    assert metrics["q"].value is None
    assert metrics["q"].reason == "of the four combinations of right and wrong, too few occur"
    assert metrics["error_correlation"].reason == "one of the two is always right, or always wrong"
    assert metrics["double_fault"].value == 0
    json.dumps(found.to_json(), allow_nan=False)
    evaluation = replace(evaluated(predictions), diversity=found)
    figure = next(block for block in diversity_section(evaluation).blocks if isinstance(block, Figure))
    assert "n/a" in figure.svg


def test_one_lesion_gives_no_intervals() -> None:
    predictions = as_predictions(
        np.array([0, 1]), {"a": np.array([[0.7, 0.3]] * 2), "b": np.array([[0.4, 0.6]] * 2)}, groups=np.array([0, 0])
    )
    estimate = some(predictions).pairs[0].metrics["disagreement"]
    assert (estimate.value, estimate.low, estimate.reason) == (1.0, None, "an interval needs at least two lesions")


@pytest.mark.parametrize(("models", "expected"), [(("resnet18", "stack"), None), (("stack", "soft_vote"), None)])
def test_fewer_than_two_members_have_nothing_to_share(models: tuple[str, ...], expected: None) -> None:
    assert measured(made(6, models=models)) is expected
    assert diversity_section(evaluated(made(6, models=models))).blocks == ()


def test_models_from_elsewhere_are_compared_where_there_are_no_backbones() -> None:
    predictions = made(7, models=("a", "b"))
    kinds: dict[str, ModelKind] = {"a": "model", "b": "model"}
    assert some(replace(predictions, kinds=kinds)).members == ("a", "b")


def evaluated(predictions: Predictions):
    settings = ReportSettings(resamples=100, malignant=("class-1",))
    return evaluate(predictions, demo=False, settings=settings, generator=np.random.default_rng(2))


def test_the_evaluation_holds_the_same_from_the_same_resamples_and_the_scores_stay() -> None:
    predictions = made(8)
    evaluation = evaluated(predictions)
    assert evaluation.diversity == some(predictions)
    after = np.random.default_rng(2)
    evaluate(predictions, demo=False, settings=ReportSettings(resamples=100), generator=after)
    blocks = np.random.default_rng(2)
    for _ in resample_groups(60, len(predictions.labels), resamples=100, generator=blocks):
        pass
    # Nothing but the resamples of the scores was taken from the generator.
    assert after.bit_generator.state == blocks.bit_generator.state


def test_the_section_shows_every_pair() -> None:
    evaluation = evaluated(made(9))
    section = diversity_section(evaluation)
    table = next(block for block in section.blocks if isinstance(block, Table))
    figure = next(block for block in section.blocks if isinstance(block, Figure))
    diversity = evaluation.diversity
    assert diversity is not None
    assert [(row[0].text, row[1].text) for row in table.rows] == [
        ("resnet18", "resnet50"),
        ("resnet18", "densenet121"),
        ("resnet50", "densenet121"),
    ]
    for row, pair in zip(table.rows, diversity.pairs, strict=True):
        assert [cell.value for cell in row[2:]] == [pair.metrics[metric].value for metric in PAIR_METRICS]
        correlation = pair.metrics["error_correlation"].value
        assert correlation is not None
        assert figure.svg.count(f">{correlation:.2f}<".replace("-", "−")) >= 2
    assert json.loads(json.dumps(evaluation.to_json(), allow_nan=False))["diversity"]["members"] == list(MEMBERS)
