"""A run whose networks are normalised by their own training images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest_runs import TINY, carry_out

from cv_folds.out_of_fold import FoldLogits
from cv_folds.training.record import read_record
from ensemble import EnsemblePredictor
from hamcv.config import resolve
from hamcv.sources import open_dataset


@pytest.fixture(scope="module")
def run(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "normalised"
    options = {"data": str(small_data), "backbones": ["shufflenet_v2_x0_5"], "folds": 2, "training.epochs": 1}
    carry_out(resolve("demo", TINY | options | {"training.normalisation": "data", "report.resamples": 100}), out)
    return out


def test_the_predictor_gives_the_logits_that_were_scored(run: Path, small_data: Path) -> None:
    dataset = open_dataset(str(small_data))
    paths = dict(zip(dataset.image_ids.tolist(), dataset.paths, strict=True))
    predictor = EnsemblePredictor.load(run, device="cpu")
    for fold in range(2):
        stored = FoldLogits.load(run / "jobs" / "shufflenet_v2_x0_5" / f"fold-{fold}" / "oof.npz")
        images = [paths[name] for name in stored.image_ids[:6].tolist()]
        np.testing.assert_allclose(predictor.member_logits(images)[:, fold, 0], stored.logits[:6], atol=1e-4)


def test_each_fold_has_its_own(run: Path) -> None:
    records = [read_record(run / "jobs" / "shufflenet_v2_x0_5" / f"fold-{fold}") for fold in range(2)]
    own = [record.normalisation for record in records if record is not None]
    assert len(set(own)) == 2
    members = json.loads((run / "predictor" / "manifest.json").read_text())["members"]
    for member in members:
        assert member["normalisation"]["mean"] == list(own[member["fold"]].mean)
