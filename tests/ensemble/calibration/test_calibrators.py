from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
from scipy.optimize import isotonic_regression, minimize, minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from cv_folds.errors import DataError
from ensemble.calibration.isotonic import Isotonic
from ensemble.calibration.logs import FLOOR, floored_logs
from ensemble.calibration.registry import CALIBRATORS
from ensemble.calibration.temperature import SHARPEST, SOFTEST, Temperature
from ensemble.calibration.vector import VectorScaling
from ensemble.priors import prior_shift
from ensemble.settings import CalibratorName, EnsembleSettings

SETTINGS = EnsembleSettings()
FITTED = [name for name in CALIBRATORS if name != "none"]


def sample(seed: int, *, n: int = 400, n_classes: int = 4, sharpness: float = 3.0):
    """Labels drawn from known probabilities, which are then made too sharp; two rows a group."""
    rng = np.random.default_rng(seed)
    truth = softmax(rng.normal(0, 1.5, (n, n_classes)) + np.log(np.arange(1, n_classes + 1)), axis=1)
    labels = np.array([rng.choice(n_classes, p=row) for row in truth])
    given = softmax(sharpness * np.log(truth) + rng.normal(0, 0.3, truth.shape), axis=1)
    return given, labels, (np.arange(n) // 2).astype(str)


def test_registry_and_settings_name_the_same_calibrators():
    assert tuple(CALIBRATORS) == get_args(CalibratorName)


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("seed", range(3))
def test_every_calibrator_gives_probabilities_and_travels_as_json(name, seed):
    given, labels, groups = sample(seed)
    fitted = CALIBRATORS[name].fit(given, labels, groups, SETTINGS, prior_shift(labels, 4, power=0.5))
    rows = fitted.calibrate(given)
    assert fitted.n_classes == 4
    assert rows.dtype == np.float64
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert (rows > 0).all()
    assert fitted.calibrate(given[:0]).shape == (0, 4)
    again = CALIBRATORS[name].from_parameters(json.loads(json.dumps(fitted.parameters())))
    np.testing.assert_array_equal(again.calibrate(given), rows)


@pytest.mark.parametrize("name", FITTED)
def test_overconfidence_is_mended_on_new_rows(name):
    given, labels, groups = sample(1, n=2000)
    fitted = CALIBRATORS[name].fit(given[:1000], labels[:1000], groups[:1000], SETTINGS)
    after = log_loss(labels[1000:], fitted.calibrate(given[1000:]))
    assert after < log_loss(labels[1000:], given[1000:]) - 0.1


@pytest.mark.parametrize("name", CALIBRATORS)
def test_the_order_of_the_rows_changes_nothing(name):
    given, labels, groups = sample(2)
    order = np.random.default_rng(0).permutation(len(labels))
    one = CALIBRATORS[name].fit(given, labels, groups, SETTINGS)
    other = CALIBRATORS[name].fit(given[order], labels[order], groups[order], SETTINGS)
    np.testing.assert_allclose(one.calibrate(given), other.calibrate(given), atol=1e-6)


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize(
    "case", ["absent class", "one class", "one group", "constant", "perfect", "wrong", "one row", "zeros"]
)
def test_degenerate_rows_leave_finite_probabilities(name, case):
    given, labels, groups = sample(3)
    if case == "absent class":
        labels = np.where(labels == 1, 2, labels)
    elif case == "one class":
        labels = np.full_like(labels, 2)
    elif case == "one group":
        groups = np.full_like(groups, "one")
    elif case == "constant":
        given = np.tile([0.1, 0.2, 0.3, 0.4], (len(labels), 1))
    elif case == "perfect":
        given = np.eye(4)[labels]
    elif case == "wrong":
        given = np.eye(4)[(labels + 1) % 4]
    elif case == "one row":
        given, labels, groups = given[:1], labels[:1], groups[:1]
    else:
        given = np.where(given < 0.2, 0.0, given) + np.eye(4)[given.argmax(axis=1)] * 1e-3
        given /= given.sum(axis=1, keepdims=True)
    rows = CALIBRATORS[name].fit(given, labels, groups, SETTINGS).calibrate(given)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-9)
    assert np.isfinite(rows).all()
    if name != "none":
        assert (rows > 0).all()


@pytest.mark.parametrize("seed", range(8))
def test_temperature_is_the_optimum_that_scipy_finds(seed):
    given, labels, groups = sample(seed, sharpness=[0.2, 0.7, 1.0, 2.0, 4.0, 8.0, 0.5, 3.0][seed])
    logs = floored_logs(given)

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logs / np.exp(log_temperature), axis=1)[np.arange(len(labels)), labels].mean())

    found = minimize_scalar(loss, bounds=(np.log(SHARPEST), np.log(SOFTEST)), method="bounded", options={"xatol": 1e-9})
    fitted = Temperature.fit(given, labels, groups, SETTINGS)
    assert fitted.temperature == pytest.approx(np.exp(found.x), rel=1e-5)
    assert loss(np.log(fitted.temperature)) <= found.fun + 1e-12
    assert (fitted.calibrate(given).argmax(axis=1) == given.argmax(axis=1)).all()


@pytest.mark.parametrize("seed", range(3))
def test_a_temperature_leaves_the_adjusted_prior_alone(seed):
    given, labels, groups = sample(seed)
    prior = prior_shift(labels, 4, power=0.5)
    adjusted = softmax(prior.adjust(np.log(given)), axis=1)
    fitted = Temperature.fit(adjusted, labels, groups, SETTINGS, prior)

    def loss(log_temperature: float) -> float:
        scores = prior.adjust(np.log(given) / np.exp(log_temperature))
        return -float(log_softmax(scores, axis=1)[np.arange(len(labels)), labels].mean())

    found = minimize_scalar(loss, bounds=(np.log(SHARPEST), np.log(SOFTEST)), method="bounded", options={"xatol": 1e-9})
    assert fitted.temperature == pytest.approx(np.exp(found.x), rel=1e-5)
    expected = softmax(prior.adjust(np.log(given) / fitted.temperature), axis=1)
    np.testing.assert_allclose(fitted.calibrate(adjusted), expected, atol=1e-9)


def test_temperatures_of_degenerate_predictions():
    _, labels, groups = sample(4)
    right, wrong = np.eye(4)[labels], np.eye(4)[(labels + 1) % 4]
    smooth = 0.9
    temperatures = {
        name: Temperature.fit(rows, labels, groups, SETTINGS).temperature
        for name, rows in {
            "right": smooth * right + (1 - smooth) / 4,
            "wrong": smooth * wrong + (1 - smooth) / 4,
            "flat": np.full((len(labels), 4), 0.25),
        }.items()
    }
    assert temperatures["right"] == pytest.approx(SHARPEST)
    assert temperatures["wrong"] == pytest.approx(SOFTEST)
    assert temperatures["flat"] == 1.0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("penalty", [1.0, 100.0])
def test_vector_scaling_is_the_optimum_that_scipy_finds(seed, penalty):
    given, labels, groups = sample(seed, n=300, n_classes=3)
    if seed == 3:
        labels = np.where(labels == 0, 1, labels)
    logs = floored_logs(given)

    def objective(theta: np.ndarray) -> float:
        loss = -log_softmax(theta[:3] * logs + theta[3:], axis=1)[np.arange(len(labels)), labels].sum()
        return float(loss + penalty / 2 * (((theta[:3] - 1) ** 2).sum() + (theta[3:] ** 2).sum()))

    reference = minimize(objective, np.repeat([1.0, 0.0], 3), method="Powell", options={"xtol": 1e-10, "ftol": 1e-14})
    fitted = VectorScaling.fit(given, labels, groups, EnsembleSettings(calibration_penalties=(penalty,)))
    theta = np.concatenate([fitted.scales, fitted.offsets])
    assert objective(theta) <= reference.fun + 1e-6
    np.testing.assert_allclose(theta, reference.x, atol=1e-3)


def test_an_infinite_pull_leaves_vector_scaling_at_the_identity():
    given, labels, groups = sample(5)
    fitted = VectorScaling.fit(given, labels, groups, EnsembleSettings(calibration_penalties=(1e9,)))
    np.testing.assert_allclose(fitted.calibrate(given), given, atol=1e-5)


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_the_penalty_of_vector_scaling_is_chosen_by_grouped_folds(seed):
    rng = np.random.default_rng(seed)
    given = softmax(0.2 * rng.normal(size=(60, 4)), axis=1)
    # Every row fifteen times: only folds that keep the copies together see that offsets for 60 rows do not generalise.
    copies = np.repeat(np.arange(60), 15)
    labels = rng.permutation(np.arange(60) % 4)
    settings = EnsembleSettings(calibration_penalties=(1e-3, 1e6))
    together = VectorScaling.fit(given[copies], labels[copies], copies.astype(str), settings)
    torn = VectorScaling.fit(given[copies], labels[copies], np.arange(900).astype(str), settings)
    assert (torn.penalty, together.penalty) == (1e-3, 1e6)


@pytest.mark.parametrize("seed", range(4))
def test_isotonic_curves_are_those_of_scikit_learn_between_their_ends(seed):
    given, labels, groups = sample(seed)
    given = np.round(given, 2)
    given /= given.sum(axis=1, keepdims=True)
    fitted = Isotonic.fit(given, labels, groups, SETTINGS)
    grid = np.linspace(0, 1, 301)
    for label, curve in enumerate(fitted.curves):
        reference = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(given[:, label], labels == label)
        expected = np.clip(reference.predict(grid), curve.observed.min(), curve.observed.max())
        inner = (expected > curve.observed.min()) & (expected < curve.observed.max())
        ours = np.interp(grid, curve.given, curve.observed)
        at_knots = np.interp(reference.X_thresholds_, curve.given, curve.observed)
        known = np.clip(reference.y_thresholds_, curve.observed.min(), curve.observed.max())
        np.testing.assert_allclose(at_knots, known, atol=1e-12)
        assert (np.diff(ours) >= 0).all()
        assert inner.any()


def test_isotonic_curves_of_distinct_scores_are_those_of_scipy():
    given, labels, groups = sample(7)
    fitted = Isotonic.fit(given, labels, groups, SETTINGS)
    order = np.argsort(given[:, 0])
    expected = isotonic_regression((labels[order] == 0).astype(float)).x
    ours = np.interp(given[order, 0], fitted.curves[0].given, fitted.curves[0].observed)
    inside = (expected > 0) & (expected < 1)
    np.testing.assert_allclose(ours[inside], expected[inside], atol=1e-12)
    assert (ours[expected == 0] > 0).all()


def test_the_ends_of_isotonic_curves_count_lesions_not_images():
    given = np.array([[0.1, 0.9]] * 6 + [[0.9, 0.1]] * 6)
    labels = np.array([1] * 6 + [0] * 6)
    of_images = Isotonic.fit(given, labels, np.arange(12).astype(str), SETTINGS)
    of_lesions = Isotonic.fit(given, labels, np.repeat(["a", "b", "c", "d"], 3), SETTINGS)
    np.testing.assert_allclose(of_images.curves[0].observed, [1 / 8, 7 / 8])
    np.testing.assert_allclose(of_lesions.curves[0].observed, [1 / 4, 3 / 4])


def test_an_isotonic_end_never_passes_its_neighbour():
    score = np.concatenate([[0.05], np.full(100, 0.2), np.full(100, 0.8)])
    of_class = np.concatenate([[False], np.arange(100) < 2, np.arange(100) < 90])
    given = np.stack([score, 1 - score], axis=1)
    curve = Isotonic.fit(given, np.where(of_class, 0, 1), np.arange(201).astype(str), SETTINGS).curves[0]
    np.testing.assert_allclose(curve.observed, [0.02, 0.02, 0.9])


def test_floored_logs_are_finite():
    np.testing.assert_array_equal(floored_logs(np.array([0.0, FLOOR, 1.0])), [np.log(FLOOR), np.log(FLOOR), 0])


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("none", {}),
        ("none", {"n_classes": 0}),
        ("temperature", {"offsets": [0.0], "temperature": 0.0}),
        ("temperature", {"offsets": [0.0], "temperature": float("nan")}),
        ("temperature", {"offsets": [], "temperature": 1.0}),
        ("temperature", {"offsets": [0.0], "temperature": 1.0, "more": 1}),
        ("vector", {"penalty": 1.0, "scales": [1.0], "offsets": [0.0, 0.0]}),
        ("vector", {"penalty": 1.0, "scales": [], "offsets": []}),
        ("isotonic", {"curves": []}),
        ("isotonic", {"curves": [{"given": [0.1, 0.2], "observed": [0.1]}]}),
        ("isotonic", {"curves": [{"given": [0.2, 0.1], "observed": [0.1, 0.2]}]}),
        ("isotonic", {"curves": [{"given": [0.1, 0.2], "observed": [0.3, 0.2]}]}),
        ("isotonic", {"curves": [{"given": [0.1, 0.2], "observed": [0.0, 0.2]}]}),
    ],
)
def test_malformed_parameters_are_refused(name, parameters):
    with pytest.raises(DataError, match=f"calibrator {name}"):
        CALIBRATORS[name].from_parameters(parameters)
