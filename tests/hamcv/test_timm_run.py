from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest_runs import TINY, carry_out
from safetensors.torch import save_file

from cv_folds.files import sha256
from cv_folds.training.backbones import build_backbone
from ensemble import EnsemblePredictor
from ensemble.bundle import read_bundle
from ensemble.networks import load_network
from ensemble.onnx.writing import write_onnx
from hamcv.config import resolve

timm = pytest.importorskip("timm")

NAME = "timm:test_efficientnet"


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_byobnet", "timm:swin_s3_tiny_224"])
def test_a_network_is_read_with_the_tables_that_its_file_lacks(name: str, tmp_path: Path) -> None:
    size = 224 if "224" in name else 64
    torch.manual_seed(0)
    model = build_backbone(name, 3, image_size=size)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        # So that running statistics are other than those of a fresh network.
        model.train()(images)
        expected = model.eval()(images)
    path = tmp_path / "x.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    network = load_network(path, sha256(path), backbone=name, n_classes=3, image_size=size)
    with torch.inference_mode():
        torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def run_folder(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "timm"
    changed = {"backbones": [NAME, "squeezenet1_1"], "folds": 2, "training.epochs": 1, "data": str(small_data)}
    carry_out(resolve("demo", TINY | changed), out)
    return out


def test_a_run_reports_and_predicts(run_folder: Path, small_data: Path) -> None:
    assert (run_folder / "jobs" / "timm-test_efficientnet" / "fold-1" / "model.safetensors").is_file()
    assert (run_folder / "report.html").is_file()
    assert json.loads((run_folder / "run.json").read_text())["versions"]["timm"] == timm.__version__
    assert NAME in (run_folder / "report.html").read_text(encoding="utf-8")
    files = {path.name for path in (run_folder / "predictor").glob("*.safetensors")}
    assert {"timm-test_efficientnet-fold-0.safetensors", "timm-test_efficientnet-fold-1-features.safetensors"} <= files
    assert not any(":" in path.name for path in run_folder.rglob("*"))
    predictor = EnsemblePredictor.load(run_folder / "predictor", device="cpu")
    images = sorted(small_data.rglob("*.jpg"))[:3]
    probabilities = predictor.predict_proba(images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert predictor.explain(images[0]).label in predictor.classes_


def test_its_networks_can_be_exported(run_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    written = write_onnx(read_bundle(run_folder / "predictor"), tmp_path / "ensemble.onnx")
    assert written.largest_difference < 1e-4
