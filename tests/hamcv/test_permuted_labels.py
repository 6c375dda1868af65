from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest_runs import TINY, carry_out

from ensemble.combiners import COMBINERS
from hamcv.config import resolve

Scores = dict[str, dict[str, dict[str, float]]]
"""Model to metric to value and interval."""


@pytest.fixture(scope="module")
def metrics(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """``metrics.json`` of a whole run on images whose diagnoses were shuffled across lesions."""
    folder = tmp_path_factory.mktemp("permuted")
    shutil.copytree(small_data, folder / "data")
    table = folder / "data" / "HAM10000_metadata.csv"
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    diagnosis = {row["lesion_id"]: row["dx"] for row in rows}
    shuffled = np.random.default_rng(0).permutation(list(diagnosis.values())).tolist()
    diagnosis = dict(zip(diagnosis, shuffled, strict=True))
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"dx": diagnosis[row["lesion_id"]]} for row in rows)
    changed = {"training.epochs": 4, "nested": True, "ensemble.combiners": list(COMBINERS)}
    options = TINY | changed | {"data": str(folder / "data")}
    with pytest.MonkeyPatch.context() as patch:
        # The pages would take longer than the networks.
        patch.setattr("hamcv.run.write_report", lambda run, **_: ())
        carry_out(resolve("demo", options), folder / "run")
    content: dict[str, Any] = json.loads((folder / "run" / "metrics.json").read_text())
    return content


def test_no_model_beats_chance_beyond_its_interval(metrics: dict[str, Any]) -> None:
    usual = {model: scores["overall"] for model, scores in metrics["models"].items()}
    assert set(usual) == {"shufflenet_v2_x0_5", "squeezenet1_1", *COMBINERS}
    stays_at_chance(usual)


def test_no_ensemble_does_when_nested(metrics: dict[str, Any]) -> None:
    nested = {
        model: {metric: score["nested"] for metric, score in scores.items()}
        for model, scores in metrics["nested"].items()
    }
    assert set(nested) == set(COMBINERS)
    stays_at_chance(nested)


def stays_at_chance(scores: Scores) -> None:
    for model, overall in scores.items():
        assert overall["macro_auc"]["low"] <= 0.5, model
        assert overall["balanced_accuracy"]["low"] <= 1 / 7, model
        assert overall["kappa"]["low"] is None or overall["kappa"]["low"] <= 0, model
