"""Reliability before and after calibration."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn_reference import as_predictions, random_labels

from ensemble.predictions import Predictions
from reports import score_sections
from reports.curves import compute_curves
from reports.document import Figure, Group
from reports.equal_mass import N_BINS
from reports.evaluation import evaluate
from reports.figures.style import model_looks
from reports.measure_effects import measure_effects
from reports.reliability import measure_reliability
from reports.results import Evaluation
from reports.settings import ReportSettings

MODELS = ("resnet50", "soft_vote", "stack")
LOOKS = model_looks({"resnet50": "backbone", "soft_vote": "ensemble", "stack": "ensemble"})


def table(sharpness: float, *, n: int = 300) -> Predictions:
    generator = np.random.default_rng(3)
    labels = random_labels(n, 3, generator)
    rows = {
        model: softmax(sharpness * (generator.normal(size=(n, 3)) + 1.5 * np.eye(3)[labels]), axis=1)
        for model in MODELS
    }
    return as_predictions(labels, rows, groups=np.arange(n) // 2)


def test_bins_are_those_of_scikit_learns_quantiles() -> None:
    after, before = table(1.0), table(4.0)
    change = measure_reliability(after, before)["stack"]
    for predictions, reliability in ((after, change.after), (before, change.before)):
        rows = predictions.probabilities["stack"]
        for index, name in enumerate(predictions.classes):
            # 300 different probabilities fill 15 bins of 20.
            observed, mean = calibration_curve(
                predictions.labels == index, rows[:, index], n_bins=N_BINS, strategy="quantile"
            )
            diagram = reliability.per_class[name]
            assert diagram.counts.tolist() == [20] * N_BINS
            assert diagram.observed == pytest.approx(observed)
            assert diagram.mean_confidence == pytest.approx(mean)
        right = rows.argmax(axis=1) == predictions.labels
        assert np.average(reliability.overall.observed, weights=reliability.overall.counts) == pytest.approx(
            right.mean()
        )


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    after, before = table(1.0), table(4.0)
    settings = ReportSettings(resamples=100)
    scores = evaluate(after, demo=False, settings=settings, generator=np.random.default_rng(0))
    effects = measure_effects(after, before, {}, costs=None, resamples=100, generator=np.random.default_rng(0))
    return replace(scores, effects=effects)


def figures(evaluation: Evaluation) -> dict[str, Figure]:
    section = score_sections.calibration(compute_curves(table(1.0)), evaluation, LOOKS, "stack")
    parts = [part for block in section.blocks for part in (block.blocks if isinstance(block, Group) else (block,))]
    return {part.name: part for part in parts if isinstance(part, Figure)}


def test_every_model_has_a_figure_by_class_with_both_errors(evaluation: Evaluation) -> None:
    found = figures(evaluation)
    assert list(found) == ["reliability", "reliability-stack", "reliability-resnet50", "reliability-soft_vote"]
    assert evaluation.effects is not None
    for model in MODELS:
        change = evaluation.effects.reliability[model]
        # What the grey curves say of the error is what the table of calibration says.
        before = evaluation.effects.calibration[model]["ece"].before.value
        assert change.before.overall.ece == pytest.approx(before)
        overall = evaluation.models[model].overall["ece"].value
        assert f"ECE {before:.3f} → {overall:.3f}" in found["reliability"].svg
        for name, diagram in change.before.per_class.items():
            after = evaluation.models[model].per_class[name]["ece"].value
            assert f"ECE {diagram.ece:.3f} → {after:.3f}" in found[f"reliability-{model}"].svg
        assert "Grey: as trained" in found[f"reliability-{model}"].caption


def test_without_uncalibrated_probabilities_there_is_one_curve(evaluation: Evaluation) -> None:
    for figure in figures(replace(evaluation, effects=None)).values():
        assert "→" not in figure.svg
        assert "Grey" not in figure.caption


def test_a_class_without_images_has_a_diagram_of_zeros() -> None:
    predictions = table(1.0)
    absent = replace(predictions, labels=np.minimum(predictions.labels, 1))
    change = measure_reliability(absent, absent)["stack"]
    assert (change.before.per_class["class-2"].observed == 0).all()
    assert change.before.per_class["class-2"].ece == pytest.approx(predictions.probabilities["stack"][:, 2].mean())


def test_json_holds_the_bins(evaluation: Evaluation) -> None:
    content = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))["reliability"]
    assert list(content) == list(MODELS)
    assert sum(content["stack"]["before"]["overall"]["counts"]) == 300
    assert len(content["stack"]["after"]["per_class"]["class-1"]["observed"]) == N_BINS
