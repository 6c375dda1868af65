from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ensemble_samples import synthetic_oof
from sklearn.metrics import log_loss

from cv_folds.arrays import frozen
from cv_folds.errors import DataError
from ensemble.best_backbone import best_backbone
from ensemble.crossfit import cross_fit
from ensemble.settings import EnsembleSettings

SETTINGS = EnsembleSettings(combiners=("soft_vote",), deployed="soft_vote")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("good", range(3))
def test_it_is_the_one_whose_log_loss_is_the_least(seed, good):
    oof = synthetic_oof(seed, n_backbones=3)
    logits = oof.logits.copy()
    logits[np.arange(len(logits)), good, oof.labels] += 2
    predictions = cross_fit(replace(oof, logits=frozen(logits)), SETTINGS, power=0.5).predictions
    best = best_backbone(predictions)
    assert best.name == f"backbone_{good}"
    assert best.among == 3
    expected = log_loss(predictions.labels, predictions.probabilities[best.name], labels=range(3))
    assert best.log_loss == pytest.approx(expected, rel=1e-12)


def test_an_ensemble_is_never_chosen_and_the_first_of_equals_is():
    oof = synthetic_oof(0)
    twins = replace(oof, logits=frozen(np.repeat(oof.logits[:, :1], 2, axis=1)))
    predictions = cross_fit(twins, SETTINGS, power=0.5).predictions
    assert best_backbone(predictions).name == "backbone_0"
    alone = replace(
        predictions,
        probabilities={"soft_vote": predictions.probabilities["soft_vote"]},
        kinds={"soft_vote": "ensemble"},
    )
    with pytest.raises(DataError, match="no backbone"):
        best_backbone(alone)


def test_a_class_that_no_image_has_is_no_trouble():
    oof = synthetic_oof(1)
    kept = oof.labels != 0
    rest = {name: value[kept] if isinstance(value, np.ndarray) else value for name, value in vars(oof).items()}
    predictions = cross_fit(replace(oof, **rest), SETTINGS, power=0.5).predictions
    assert best_backbone(predictions).name in oof.backbones
