from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from cv_folds.arrays import frozen
from cv_folds.out_of_fold import OutOfFold
from ensemble.calibration.registry import CALIBRATORS
from ensemble.combiners import COMBINERS
from ensemble.fitted import fit_model
from ensemble.holdout import fit_on_validation, predict_test_part
from ensemble.inner_folds import inner_folds
from ensemble.rows import Rows
from ensemble.settings import EnsembleSettings

SETTINGS = EnsembleSettings(combiners=("soft_vote", "stack"), penalties=(0.1, 1.0))


def part(name: str, seed: int, n: int = 60) -> OutOfFold:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    lesions = [f"{name}_{index // 2}" for index in np.argsort(labels, kind="stable").argsort()]
    logits = rng.normal(0, 1, (n, 2, 3)) + 2 * np.eye(3)[labels][:, None]
    return OutOfFold(
        image_ids=frozen([f"{name}_image_{index}" for index in range(n)]),
        lesion_ids=frozen(lesions),
        groups=frozen(lesions),
        labels=frozen(labels, np.int64),
        folds=frozen(np.zeros(n), np.int64),
        classes=("a", "b", "c"),
        backbones=("one", "two"),
        logits=frozen(logits),
    )


def test_the_test_part_is_predicted_by_what_the_validation_part_taught():
    validation, test = part("validation", 0), part("test", 1)
    found = predict_test_part(validation, test, SETTINGS, power=0.5)
    kinds = [("one", "backbone"), ("two", "backbone"), ("soft_vote", "ensemble"), ("stack", "ensemble")]
    assert list(found.predictions.kinds.items()) == kinds
    assert found.predictions.image_ids.tolist() == test.image_ids.tolist()
    np.testing.assert_allclose(found.uncalibrated.probabilities["one"], softmax(test.logits[:, 0], axis=1))
    divided = inner_folds(validation.labels, validation.groups, most=5)
    for name in SETTINGS.combiners:
        fitted = fit_model(COMBINERS[name], Rows.of(validation), divided, SETTINGS, power=0.5)
        np.testing.assert_array_equal(found.predictions.probabilities[name], fitted.probabilities(test.logits))
        np.testing.assert_array_equal(found.combined[name], fitted.combine(test.logits))
        plain = COMBINERS[name].fit(validation.logits, validation.labels, validation.groups, SETTINGS)
        np.testing.assert_array_equal(found.uncalibrated.probabilities[name], plain.combine(test.logits))
    np.testing.assert_allclose(found.priors[0].natural, np.full(3, 1 / 3))


@pytest.mark.parametrize("calibration", CALIBRATORS)
def test_what_the_test_part_holds_does_not_move_the_models(calibration):
    settings = SETTINGS.model_copy(update={"calibration": calibration})
    validation, test = part("validation", 0), part("test", 1)
    shuffled = replace(test, labels=frozen(np.random.default_rng(0).permutation(test.labels)))
    one, other = (predict_test_part(validation, rows, settings, power=0.5) for rows in (test, shuffled))
    for name in ("one", *settings.combiners):
        np.testing.assert_array_equal(one.predictions.probabilities[name], other.predictions.probabilities[name])


def test_the_deployed_model_is_the_scored_one():
    validation, test = part("validation", 0), part("test", 1)
    deployed = fit_on_validation(validation, SETTINGS, power=0.5)
    scored = predict_test_part(validation, test, SETTINGS, power=0.5).predictions.probabilities["stack"]
    np.testing.assert_array_equal(deployed.model.probabilities(test.logits), scored)
    # Calibrated on lesions that its model had not seen: the sets of the test part hold the truth about as often.
    inside = deployed.prediction_sets.members(scored)
    assert inside[np.arange(60), test.labels].mean() > 0.75


def test_a_group_on_both_sides_breaks():
    validation, test = part("validation", 0), part("validation", 1)
    with pytest.raises(AssertionError):
        predict_test_part(validation, test, SETTINGS, power=0.5)
