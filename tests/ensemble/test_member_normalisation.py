"""Members that were trained with means and deviations of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ensemble_samples import BACKBONES, CLASSES, SIZE, tiny_backbone
from safetensors.torch import load_file

from cv_folds.errors import DataError
from cv_folds.training.pixels import IMAGENET, Normalisation, normalise
from ensemble.bundle import read_bundle
from ensemble.onnx.writing import write_onnx
from ensemble.predictor import EnsemblePredictor

# All members but one have one of their own, those of a fold the same.
OWN = {
    (backbone, fold): Normalisation(mean=(0.7, 0.5 + 0.1 * fold, 0.5), std=(0.1, 0.2, 0.1 + 0.05 * fold))
    for backbone in BACKBONES
    for fold in range(2)
}
del OWN[BACKBONES[0], 1]


@pytest.fixture
def own(make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("ensemble.networks.build_backbone", tiny_backbone)
    return make_bundle(normalisations=OWN)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(256, size=(n, SIZE, SIZE, 3), dtype=np.uint8)


def test_each_member_sees_images_as_it_was_trained_to(own: Path) -> None:
    logits = EnsemblePredictor.load(own, device="cpu").member_logits(images(5))
    pixels = torch.from_numpy(images(5))
    for fold in range(2):
        for number, backbone in enumerate(BACKBONES):
            network = tiny_backbone(backbone, len(CLASSES), image_size=SIZE)
            network.load_state_dict(load_file(own / f"{backbone}-fold-{fold}.safetensors"))
            with torch.inference_mode():
                expected = network.eval()(normalise(pixels, OWN.get((backbone, fold), IMAGENET)))
            np.testing.assert_allclose(logits[:, fold, number], expected, rtol=0, atol=1e-4)
    assert "normalised by the training images of each model" in (own / "README.md").read_text()


def test_the_onnx_file_has_them_too(own: Path, tmp_path: Path) -> None:
    written = write_onnx(read_bundle(own), tmp_path / "ensemble.onnx")
    assert written.largest_difference < 1e-6


def test_the_manifest_holds_them_and_refuses_a_deviation_of_nothing(own: Path) -> None:
    manifest = read_bundle(own).manifest
    for member in manifest.members:
        assert manifest.normalisation(member) == OWN.get((member.backbone, member.fold), IMAGENET)
    content = json.loads((own / "manifest.json").read_text())
    content["members"][0]["normalisation"] = {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.0, 0.2]}
    (own / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"members\.0\.normalisation\.std\.1"):
        read_bundle(own)
