from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics
from sklearn_reference import as_predictions, random_labels, random_probabilities

from reports.curves import MOST_POINTS, Curves, ModelCurves, compute_curves, reliability_diagram
from reports.metrics import score_images


def curves_of(seed: int, *, n: int, n_classes: int = 4, decimals: int | None = None) -> tuple[Curves, ModelCurves]:
    generator = np.random.default_rng(seed)
    labels = random_labels(n, n_classes, generator)
    models = {
        model: random_probabilities(labels, n_classes, generator, decimals=decimals) for model in ("resnet50", "stack")
    }
    curves = compute_curves(as_predictions(labels, models))
    return curves, curves.models["stack"]


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("seed", range(4))
def test_numbers_on_the_curves_are_the_metrics(seed: int, decimals: int | None) -> None:
    generator = np.random.default_rng(seed)
    labels = random_labels(300, 5, generator)
    probabilities = random_probabilities(labels, 5, generator, decimals=decimals)
    scores = score_images(labels, probabilities)
    curves = compute_curves(as_predictions(labels, {"resnet50": probabilities})).models["resnet50"]
    assert curves.macro_roc is not None
    assert curves.macro_roc.auc == pytest.approx(scores.overall["macro_auc"][0], abs=1e-12)
    assert curves.reliability.ece == pytest.approx(scores.overall["ece"][0], abs=1e-12)
    for label, name in enumerate(curves.roc):
        values = {metric: column[0, label] for metric, column in scores.per_class.items()}
        assert curves.roc[name].auc == pytest.approx(values["auc"], abs=1e-12)
        precision_recall = curves.precision_recall[name]
        assert precision_recall.average_precision == pytest.approx(values["average_precision"], abs=1e-12)
        assert precision_recall.prevalence == values["support"] / 300
        assert curves.class_reliability[name].ece == pytest.approx(values["ece"], abs=1e-12)
    recalls = np.diag(curves.confusion.rates)
    assert recalls == pytest.approx(scores.per_class["recall"][0])
    assert curves.confusion.counts.sum() == 300


def test_short_curves_keep_every_point() -> None:
    _, model = curves_of(0, n=80)
    assert model.macro_roc is not None
    drawn = np.trapezoid(model.macro_roc.true_positive_rate, model.macro_roc.false_positive_rate)
    assert drawn == pytest.approx(model.macro_roc.auc, abs=1e-12)
    for curve in model.precision_recall.values():
        assert (np.diff(curve.recall) * curve.precision[1:]).sum() == pytest.approx(curve.average_precision, abs=1e-12)


def test_long_curves_are_thinned_without_a_visible_change() -> None:
    generator = np.random.default_rng(0)
    labels = random_labels(6000, 3, generator)
    probabilities = random_probabilities(labels, 3, generator)
    model = compute_curves(as_predictions(labels, {"stack": probabilities})).models["stack"]
    false_positive_rate, true_positive_rate, _ = metrics.roc_curve(labels == 0, probabilities[:, 0])
    assert len(false_positive_rate) > MOST_POINTS
    kept = model.roc["class-0"]
    assert len(kept.false_positive_rate) <= MOST_POINTS
    gaps = np.hypot(
        false_positive_rate[:, np.newaxis] - kept.false_positive_rate,
        true_positive_rate[:, np.newaxis] - kept.true_positive_rate,
    ).min(axis=1)
    assert gaps.max() <= 2 / (MOST_POINTS - 1)
    assert np.trapezoid(kept.true_positive_rate, kept.false_positive_rate) == pytest.approx(kept.auc, abs=1e-3)
    for curve in model.precision_recall.values():
        assert len(curve.recall) <= MOST_POINTS
        drawn = (np.diff(curve.recall) * curve.precision[1:]).sum()
        assert drawn == pytest.approx(curve.average_precision, abs=5e-3)


@pytest.mark.parametrize("n", [60, 3000])
def test_curves_run_from_end_to_end(n: int) -> None:
    curves, model = curves_of(1, n=n)
    assert list(curves.models) == ["resnet50", "stack"]
    assert model.macro_roc is not None
    for roc in (*model.roc.values(), model.macro_roc):
        for rate in (roc.false_positive_rate, roc.true_positive_rate):
            assert rate[-1] == pytest.approx(1)
            assert (np.diff(rate) >= -1e-12).all()
        assert roc.false_positive_rate[0] == roc.true_positive_rate[0] == 0
    for curve in model.precision_recall.values():
        assert (curve.recall[0], curve.precision[0], curve.recall[-1]) == (0, 1, 1)
        assert (np.diff(curve.recall) >= 0).all()


def test_perfect_predictions() -> None:
    labels = np.repeat([0, 1, 2], 20)
    model = compute_curves(as_predictions(labels, {"stack": np.eye(3)[labels]})).models["stack"]
    assert model.macro_roc is not None
    assert model.macro_roc.auc == 1
    assert all(curve.average_precision == 1 for curve in model.precision_recall.values())
    assert (model.confusion.rates == np.eye(3)).all()
    assert model.reliability.counts.tolist() == [60]


def test_absent_class_is_left_out_with_a_reason() -> None:
    labels = np.array([0, 1, 0, 1])
    rows = random_probabilities(labels, 3, np.random.default_rng(0))
    model = compute_curves(as_predictions(labels, {"stack": rows})).models["stack"]
    assert list(model.roc) == list(model.precision_recall) == ["class-0", "class-1"]
    assert model.macro_roc is None
    assert model.undefined == {"class-2": "no image of this class"}
    assert list(model.class_reliability) == ["class-0", "class-1", "class-2"]
    assert np.isnan(model.confusion.rates[2]).all()
    assert not np.isnan(model.confusion.rates[:2]).any()


def test_one_class_everywhere_has_no_curve() -> None:
    model = compute_curves(as_predictions(np.zeros(3, dtype=np.int64), {"stack": np.tile([0.9, 0.1], (3, 1))}))
    assert model.models["stack"].roc == {}
    assert model.models["stack"].undefined["class-0"] == "every image is of this class"


def test_reliability_bins_and_their_intervals() -> None:
    generator = np.random.default_rng(4)
    confidence = generator.uniform(0.2, 1, size=151)
    right = generator.random(151) < confidence
    diagram = reliability_diagram(confidence, right)
    assert diagram.counts.sum() == 151
    assert len(diagram.counts) == 15
    assert (np.diff(diagram.mean_confidence) > 0).all()
    for number, count in enumerate(diagram.counts.tolist()):
        hits = round(diagram.observed[number] * count)
        interval = binomtest(hits, count).proportion_ci(method="wilson")
        assert diagram.low[number] == pytest.approx(interval.low, abs=1e-9)
        assert diagram.high[number] == pytest.approx(interval.high, abs=1e-9)


def test_arrays_cannot_be_written_to() -> None:
    _, model = curves_of(2, n=80)
    assert model.macro_roc is not None
    for array in (model.macro_roc.true_positive_rate, model.reliability.observed, model.confusion.counts):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
