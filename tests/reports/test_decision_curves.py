"""Decision curves and risk-coverage curves: what is drawn is what was measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from further_reference import reference_aurc
from sklearn_reference import as_predictions, random_labels, random_probabilities

from ensemble.predictions import Predictions
from reports.decision_section import decision_curves
from reports.document import Figure, Group, Paragraph, Section, Table
from reports.evaluation import evaluate
from reports.figures.style import model_looks
from reports.intervals import percentile_interval, resample_groups
from reports.levels import Level
from reports.malignant import treat_all
from reports.ranking import descend, rank
from reports.results import Estimate, Evaluation
from reports.risk_coverage import COVERAGES, curve_at
from reports.risk_section import SHOWN_COVERAGES, risk_and_coverage
from reports.set_coverage import measure_sets
from reports.settings import ReportSettings

LOOKS = model_looks({"resnet50": "backbone", "stack": "ensemble"})


def made(seed: int, *, lesions: int = 90, decimals: int | None = None) -> Predictions:
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(lesions), generator.integers(1, 4, lesions))
    labels = random_labels(lesions, 3, generator)[groups]
    rows = {model: random_probabilities(labels, 3, generator, decimals=decimals) for model in ("resnet50", "stack")}
    return as_predictions(labels, rows, groups=groups, folds=groups % 3)


def evaluated(predictions: Predictions, *malignant: str, resamples: int = 100) -> Evaluation:
    settings = ReportSettings(resamples=resamples, malignant=malignant or ("class-1",))
    return evaluate(predictions, demo=False, settings=settings, generator=np.random.default_rng(5))


def risks(confidence: np.ndarray, wrong: np.ndarray) -> list[float]:
    """The risk at coverages 1/n, 2/n, ..., 1, run by run of equal confidences."""
    errors, found = 0.0, []
    for value in np.unique(confidence)[::-1]:
        tied = wrong[confidence == value]
        start = len(found)
        found += [(errors + tied.mean() * (place + 1)) / (start + place + 1) for place in range(len(tied))]
        errors += tied.sum()
    return found


def curve(confidence: np.ndarray, wrong: np.ndarray, coverages: np.ndarray) -> np.ndarray:
    together = np.zeros(len(wrong), dtype=np.int64)
    ranking = rank(confidence, wrong, together, 1)
    return curve_at(coverages, ranking, descend(ranking, np.ones((1, 1), dtype=np.int32)))[0]


@pytest.mark.parametrize("decimals", [1, 2, 12])
def test_the_curve_is_that_of_the_sorted_images_and_its_mean_the_area(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    for _ in range(20):
        n = int(generator.integers(1, 40))
        confidence, wrong = generator.random(n).round(decimals), generator.random(n) < 0.3
        found = curve(confidence, wrong, np.arange(1, n + 1) / n)
        assert found == pytest.approx(risks(confidence, wrong), abs=1e-12)
        assert found.mean() == pytest.approx(reference_aurc(confidence, wrong), abs=1e-12)


@pytest.mark.parametrize("wrong", [False, True])
def test_all_right_and_all_wrong(wrong: bool) -> None:
    found = curve(np.linspace(0.4, 0.9, 30), np.full(30, wrong), np.array(COVERAGES))
    assert found == pytest.approx(float(wrong))


@pytest.mark.parametrize("decimals", [1, None])
def test_intervals_of_the_risk_are_those_of_the_repeated_rows(decimals: int | None) -> None:
    predictions = made(1, lesions=40, decimals=decimals)
    evaluation = evaluated(predictions)
    assert evaluation.levels is not None
    found = evaluation.levels.by_image.models["stack"].risk
    rows = predictions.probabilities["stack"]
    top, wrong = rows.max(axis=1), rows.argmax(axis=1) != predictions.labels
    names, groups = np.unique(predictions.groups, return_inverse=True)
    blocks = resample_groups(len(names), len(groups), resamples=100, generator=np.random.default_rng(5))
    resampled = []
    for counts in np.concatenate(list(blocks)):
        which = np.repeat(np.arange(len(groups)), counts[groups])
        resampled.append(curve(top[which], wrong[which], np.array(COVERAGES)))
    for place, estimate in enumerate(found):
        interval = percentile_interval(np.array(resampled)[:, place])
        assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert found[-1].value == pytest.approx(wrong.mean())
    assert found[-1].value == pytest.approx(1 - (evaluation.models["stack"].overall["accuracy"].value or 0))


def parts(section: Section) -> dict[str, Any]:
    blocks = [part for block in section.blocks for part in (block.blocks if isinstance(block, Group) else (block,))]
    return {part.name: part for part in blocks if isinstance(part, Table | Figure)}


def test_what_is_said_and_drawn_is_what_was_measured() -> None:
    predictions = made(2)
    evaluation = replace(
        evaluated(predictions),
        prediction_sets=measure_sets(
            predictions, "stack", aimed=0.6, deployed="lac", resamples=100, generator=np.random.default_rng(0)
        ),
    )
    levels = evaluation.levels
    assert levels is not None
    assert levels.by_lesion is not None
    found = parts(decision_curves(evaluation, LOOKS, "stack"))
    assert list(found) == ["decision-curves", "net-benefit-image", "net-benefit-lesion"]
    at_20 = levels.by_image.models["stack"].net_benefit[levels.thresholds.index(0.2)].value
    assert at_20 is not None
    assert f"20 % {at_20:.3f}" in found["decision-curves"].alt
    assert found["decision-curves"].svg.count("per image") == found["decision-curves"].svg.count("per lesion") == 1
    found = parts(risk_and_coverage(evaluation, LOOKS, "stack"))
    assert list(found) == ["risk-coverage", "risk-lesion"]
    row = next(row for row in found["risk-lesion"].rows if row[0].text == "stack")
    expected = [levels.by_lesion.models["stack"].risk[COVERAGES.index(coverage)].value for coverage in SHOWN_COVERAGES]
    assert [cell.value for cell in row[1:]] == expected
    assert "prediction set holds one class only (stack)" in found["risk-coverage"].caption


def test_single_answers_are_right_as_often_as_counted_by_hand() -> None:
    predictions = made(3)
    sets = measure_sets(
        predictions, "stack", aimed=0.6, deployed="lac", resamples=100, generator=np.random.default_rng(0)
    )
    assert sets is not None
    scores = sets.methods["lac"]
    assert scores.single.value is not None
    assert scores.single_right.value is not None
    # Lesions count once in both, so that the product is no larger than the share of lesions that are covered.
    assert 0 < scores.single.value < 1
    assert scores.single_right.low < scores.single_right.value < scores.single_right.high
    assert sets.to_json()["methods"]["lac"]["single_right"]["value"] == scores.single_right.value


def above(level: Level, model: str, thresholds: tuple[float, ...]) -> set[int]:
    values = [estimate.value for estimate in level.models[model].net_benefit]
    everyone = treat_all(level.n_malignant / level.n)
    return {
        round(100 * threshold)
        for threshold, value, all_called in zip(thresholds, values, everyone, strict=True)
        if value is not None and value > max(all_called, 0) + 1e-12
    }


@pytest.mark.parametrize("seed", range(3))
def test_the_thresholds_at_which_a_model_is_of_use_are_named(seed: int) -> None:
    evaluation = evaluated(made(10 + seed))
    assert evaluation.levels is not None
    text = decision_curves(evaluation, LOOKS, "stack").blocks[0]
    assert isinstance(text, Paragraph)
    said = text.text.partition("does so at ")[2].partition(", by point estimate")[0]
    steps: set[int] = set()
    for low, high in re.findall(r"(\d+) %(?: to (\d+) %)?", said):
        steps |= set(range(int(low), int(high or low) + 1))
    assert steps == above(evaluation.levels.by_image, "stack", evaluation.levels.thresholds)


def test_a_useless_model_is_of_use_at_no_threshold() -> None:
    predictions = made(4)
    constant = np.tile([0.2, 0.3, 0.5], (len(predictions.labels), 1))
    evaluation = evaluated(replace(predictions, probabilities=dict.fromkeys(predictions.probabilities, constant)))
    text = decision_curves(evaluation, LOOKS, "stack").blocks[0]
    assert isinstance(text, Paragraph)
    assert "does so at no threshold from 1 % to 50 %" in text.text


@pytest.mark.parametrize("malignant", [("none",), ("class-0", "class-1", "class-2")])
def test_without_two_kinds_there_are_no_decision_curves(malignant: tuple[str, ...]) -> None:
    evaluation = evaluated(made(5), *malignant)
    assert decision_curves(evaluation, LOOKS, "stack").blocks == ()
    assert parts(risk_and_coverage(evaluation, LOOKS, "stack"))


def test_nothing_is_shown_of_what_was_not_computed() -> None:
    evaluation = replace(evaluated(made(6)), levels=None)
    assert decision_curves(evaluation, LOOKS, "stack").blocks == ()
    assert risk_and_coverage(evaluation, LOOKS, "stack").blocks == ()


def test_one_lesion_has_a_curve_without_intervals() -> None:
    labels = np.array([0, 1, 1, 0])
    rows = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.6, 0.2], [0.5, 0.3, 0.2]])
    together = np.zeros(4, dtype=np.int64)
    predictions = as_predictions(labels, {"resnet50": rows, "stack": rows}, groups=together)
    evaluation = evaluated(predictions)
    assert evaluation.levels is not None
    assert evaluation.levels.by_lesion is None
    risk = evaluation.levels.by_image.models["stack"].risk
    assert risk[-1] == Estimate(value=0.25, reason="an interval needs at least two lesions")
    assert parts(risk_and_coverage(evaluation, LOOKS, "stack")).keys() == {"risk-coverage", "risk-image"}
    assert "decision-curves" in parts(decision_curves(evaluation, LOOKS, "stack"))


def test_json_holds_the_curve() -> None:
    evaluation = evaluated(made(7))
    content = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    points = content["by_image"]["models"]["stack"]["risk_coverage"]
    assert [point["coverage"] for point in points] == list(COVERAGES)
    assert evaluation.levels is not None
    assert points[24]["value"] == evaluation.levels.by_image.models["stack"].risk[24].value
