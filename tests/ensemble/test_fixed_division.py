from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from cv_folds.arrays import frozen
from cv_folds.out_of_fold import OutOfFold
from ensemble.combiners import COMBINERS
from ensemble.holdout import fit_on_validation, holdout_predictions
from ensemble.settings import EnsembleSettings

SETTINGS = EnsembleSettings(penalties=(0.1, 1.0), tree_rounds=3, selection_rounds=5)


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


def test_the_test_part_is_combined_by_what_the_validation_part_taught():
    validation, test = part("validation", 0), part("test", 1)
    predictions = holdout_predictions(validation, test, SETTINGS)
    assert list(predictions.kinds.items()) == [
        ("one", "backbone"),
        ("two", "backbone"),
        *((name, "ensemble") for name in SETTINGS.combiners),
    ]
    assert predictions.image_ids.tolist() == test.image_ids.tolist()
    np.testing.assert_allclose(predictions.probabilities["one"], softmax(test.logits[:, 0], axis=1))
    for name in SETTINGS.combiners:
        fitted = COMBINERS[name].fit(validation.logits, validation.labels, validation.groups, SETTINGS)
        np.testing.assert_array_equal(predictions.probabilities[name], fitted.combine(test.logits))


def test_what_the_test_part_holds_does_not_move_the_combiners():
    validation, test = part("validation", 0), part("test", 1)
    shuffled = replace(test, labels=frozen(np.random.default_rng(0).permutation(test.labels)))
    one, other = (holdout_predictions(validation, rows, SETTINGS) for rows in (test, shuffled))
    for name in SETTINGS.combiners:
        np.testing.assert_array_equal(one.probabilities[name], other.probabilities[name])


def test_the_deployed_ensemble_is_the_scored_one():
    validation, test = part("validation", 0), part("test", 1)
    deployed = fit_on_validation(validation, SETTINGS)
    predictions = holdout_predictions(validation, test, SETTINGS)
    np.testing.assert_array_equal(deployed.combiner.combine(test.logits), predictions.probabilities["stack"])
    # Calibrated on lesions that its combiner had not seen: the sets of the test part hold the truth about as often.
    inside = deployed.prediction_sets.members(predictions.probabilities["stack"])
    assert inside[np.arange(60), test.labels].mean() > 0.75


def test_a_group_on_both_sides_breaks():
    validation, test = part("validation", 0), part("validation", 1)
    with pytest.raises(AssertionError):
        holdout_predictions(validation, test, SETTINGS)
