"""The predictor as scikit-learn sees it."""

from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from ensemble_samples import CLASSES
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, get_scorer, log_loss
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from ensemble.predictor import EnsemblePredictor


@pytest.fixture
def predictor(bundle) -> EnsemblePredictor:
    return EnsemblePredictor.load(bundle, device="cpu")


@pytest.fixture
def images() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(256, size=(12, 20, 20, 3), dtype=np.uint8))


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch):
    mpl.use("Agg")


def test_it_is_a_fitted_classifier(predictor):
    assert is_classifier(predictor)
    check_is_fitted(predictor)
    tags = get_tags(predictor)
    assert tags.classifier_tags.multi_class
    assert not tags.requires_fit
    assert predictor.fit(None, None) is predictor
    assert clone(predictor) is predictor
    assert EnsemblePredictor(**predictor.get_params()).bundle is predictor.bundle


def test_scores_are_those_of_its_predictions(predictor, images):
    labels = [*CLASSES * 4]
    weights = np.arange(1.0, 13)
    predicted = predictor.predict(images)
    assert predictor.score(images, labels) == accuracy_score(labels, predicted)
    assert predictor.score(images, labels, weights) == accuracy_score(labels, predicted, sample_weight=weights)
    assert predictor.score(images, predicted) == 1
    scorer = get_scorer("neg_log_loss")
    assert scorer(predictor, images, labels) == pytest.approx(-log_loss(labels, predictor.predict_proba(images)))
    assert get_scorer("accuracy")(predictor, images, predicted) == 1


def test_displays_take_it(predictor, images):
    shown = ConfusionMatrixDisplay.from_estimator(predictor, images, [*CLASSES * 4])
    assert shown.confusion_matrix.sum() == 12
    assert [text.get_text() for text in shown.ax_.get_xticklabels()] == list(CLASSES)
    mpl.pyplot.close("all")


def test_of_two_classes_a_reliability_diagram_is_drawn(predictor, images, monkeypatch):
    """The display is for two classes only; the third goes to the second."""
    rows = predictor.predict_proba(images)
    two = np.column_stack([rows[:, 0], rows[:, 1:].sum(axis=1)])
    manifest = predictor.bundle.manifest.model_copy(update={"classes": CLASSES[:2]})
    predictor.bundle = replace(predictor.bundle, manifest=manifest)

    def predict_proba(_: object) -> np.ndarray:
        return two

    monkeypatch.setattr(predictor, "predict_proba", predict_proba)
    truth = [*CLASSES[:2] * 6]
    shown = CalibrationDisplay.from_estimator(predictor, images, truth, n_bins=3)
    np.testing.assert_array_equal(shown.y_prob, two[:, 1])
    mpl.pyplot.close("all")
