from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest_runs import TINY, carry_out

from ensemble.combiners import COMBINERS
from hamcv.config import resolve


@pytest.fixture(scope="module")
def permuted_scores(
    small_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, dict[str, float]]]:
    """Scores of a whole run on images whose diagnoses were shuffled across lesions."""
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
    options = TINY | {"data": str(folder / "data"), "training.epochs": 4}
    carry_out(resolve("demo", options), folder / "run")
    models = json.loads((folder / "run" / "metrics.json").read_text())["models"]
    return {model: scores["overall"] for model, scores in models.items()}


def test_no_model_beats_chance_beyond_its_interval(permuted_scores: dict[str, dict[str, dict[str, float]]]) -> None:
    assert set(permuted_scores) == {"shufflenet_v2_x0_5", "squeezenet1_1", *COMBINERS}
    for model, overall in permuted_scores.items():
        assert overall["macro_auc"]["low"] <= 0.5, model
        assert overall["balanced_accuracy"]["low"] <= 1 / 7, model
        assert overall["kappa"]["low"] is None or overall["kappa"]["low"] <= 0, model
