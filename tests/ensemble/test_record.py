from __future__ import annotations

import json

import numpy as np
import pytest
from ensemble_samples import CLASSES, synthetic_oof

from cv_folds.errors import DataError
from ensemble.conformal import PredictionSets
from ensemble.crossfit import cross_fit
from ensemble.record import EnsembleRecord
from ensemble.settings import EnsembleSettings

SETTINGS = EnsembleSettings(combiners=("soft_vote", "stack"), deployed="stack", penalties=(1e-2, 1.0))

SETS = PredictionSets(method="lac", coverage=0.9, thresholds=(0.5, 0.25, 1.0))


@pytest.fixture(scope="module")
def scored():
    return cross_fit(synthetic_oof(0), SETTINGS, power=0.5)


def test_it_comes_back_as_it_was_written(scored, tmp_path):
    record = EnsembleRecord.of(CLASSES, SETTINGS, scored, 1 - np.eye(3), SETS)
    record.write(tmp_path / "ensemble.json")
    assert EnsembleRecord.read(tmp_path / "ensemble.json") == record
    assert record.prediction_sets is not None
    assert record.prediction_sets.rule() == SETS
    assert set(record.priors) == {0, 1, 2}
    for fold, prior in scored.priors.items():
        assert record.priors[fold].natural == tuple(prior.natural)


def test_every_model_has_the_time_of_its_fits(scored):
    record = EnsembleRecord.of(CLASSES, SETTINGS, scored, None, None)
    assert list(record.seconds) == [*synthetic_oof(0).backbones, "soft_vote", "stack"]
    assert all(seconds >= 0 for seconds in record.seconds.values())
    assert record.seconds == {name: pytest.approx(spent, abs=6e-4) for name, spent in scored.seconds.items()}


def test_a_file_of_an_earlier_version_is_refused_with_the_mend(scored, tmp_path):
    path = tmp_path / "ensemble.json"
    EnsembleRecord.of(CLASSES, SETTINGS, scored, None, None).write(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"schema": 1}))
    with pytest.raises(
        DataError, match=r"ensemble\.json is .* another version of hamcv: schema: .*`hamcv ensemble` on its folder"
    ):
        EnsembleRecord.read(path)
    path.write_text(json.dumps(content | {"minutes": {}}))
    with pytest.raises(DataError, match=r"ensemble\.json is damaged .*: minutes"):
        EnsembleRecord.read(path)
