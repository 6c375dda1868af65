"""What `hamcv export` writes stands alone, says what the run's predictor says, and is refused when it was changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import log_loss

from cv_folds.errors import DataError
from cv_folds.files import sha256
from cv_folds.out_of_fold import FoldLogits
from ensemble import EnsemblePredictor
from ensemble.calibration.temperature import SHARPEST, SOFTEST
from ensemble.onnx import writing
from ensemble.predictions import Predictions
from hamcv.evaluation import model_kinds
from hamcv.run_config import RunConfig

Hamcv = Callable[..., Any]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return list(np.random.default_rng(5).integers(256, size=(6, 40, 50, 3), dtype=np.uint8))


def answers(folder: Path, pictures: list[np.ndarray]) -> np.ndarray:
    return EnsemblePredictor.load(folder, device="cpu").predict_proba(pictures)


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def test_a_run_is_exported_to_the_same_answers(
    hamcv: Hamcv, tiny_run: Path, tmp_path: Path, pictures: list[np.ndarray]
) -> None:
    screen = hamcv("export", tiny_run, "--out", tmp_path / "bundle")
    assert screen.code == 0, screen.err
    assert "6 networks of shufflenet_v2_x0_5, squeezenet1_1" in screen.out
    np.testing.assert_array_equal(answers(tmp_path / "bundle", pictures), answers(tiny_run, pictures))
    written = manifest(tmp_path / "bundle")
    assert written == manifest(tiny_run / "predictor")
    assert written["files"] == {
        path.name: sha256(path) for path in (tmp_path / "bundle").iterdir() if path.name != "manifest.json"
    }
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_half_the_digits_take_half_the_bytes_and_the_difference_is_stated(
    hamcv: Hamcv, tiny_run: Path, tmp_path: Path, pictures: list[np.ndarray]
) -> None:
    small = tmp_path / "small"
    screen = hamcv("export", tiny_run, "--out", small, "--half")
    assert screen.code == 0, screen.err
    members = manifest(small)["members"]
    full, half = (
        sum((folder / member["file"]).stat().st_size for member in members)
        for folder in (tiny_run / "predictor", small)
    )
    assert half < 0.55 * full
    stated = manifest(small)["half"]["largest_difference"]
    assert f"{stated:.1e}" in screen.out
    assert f"{stated:.1e}" in (small / "README.md").read_text()
    difference = abs(answers(small, pictures) - answers(tiny_run, pictures)).max()
    assert 0 < difference < 5e-3
    assert 0 < stated < 5e-3
    # Again from the small one: nothing is lost, and the difference is still that from the full weights.
    again = tmp_path / "again"
    assert hamcv("export", small, "--out", again, "--half").code == 0
    assert manifest(again) == manifest(small)


def test_the_best_backbone_alone_is_calibrated_by_itself(
    hamcv: Hamcv, tiny_run: Path, tiny_config: RunConfig, tmp_path: Path, pictures: list[np.ndarray]
) -> None:
    predictions = Predictions.read_csv(tiny_run / "predictions.csv", model_kinds(tiny_config))
    losses = {
        name: log_loss(predictions.labels, predictions.probabilities[name], labels=range(len(predictions.classes)))
        for name in tiny_config.backbones
    }
    best = min(losses, key=losses.__getitem__)
    screen = hamcv("export", tiny_run, "--out", tmp_path / "best", "--members", "best")
    assert screen.code == 0, screen.err
    assert f"3 networks of {best}, of 2 backbones" in screen.out
    assert f"({losses[best]:.4f})" in screen.out
    predictor = EnsemblePredictor.load(tmp_path / "best", device="cpu")
    content = predictor.bundle.manifest
    assert {member.backbone for member in content.members} == {best}
    assert content.combiner.name == "soft_vote"
    scores = json.loads((tiny_run / "metrics.json").read_text())["models"][best]["overall"]
    assert {score.name: (score.value, score.low, score.high) for score in content.scores} == {
        name: (found["value"], found["low"], found["high"])
        for name, found in scores.items()
        if found["value"] is not None
    }
    # One backbone disagrees with nobody; distances are known.
    assert predictor.bundle.outliers is not None
    assert predictor.bundle.outliers.spread is None
    assert predictor.bundle.outliers.distance is not None
    # By hand: prior, then a temperature that fits the out-of-fold probabilities, then the mean over folds.
    model = predictor.bundle.model
    raw = predictor.member_logits(pictures)[:, :, 0]
    temperature, offsets = model.calibrator.parameters()["temperature"], model.prior.offsets  # type: ignore[union-attr]
    scaled = np.exp(raw / temperature + offsets)
    expected = (scaled / scaled.sum(axis=2, keepdims=True)).mean(axis=1)
    np.testing.assert_allclose(predictor.predict_proba(pictures), expected, rtol=0, atol=1e-9)
    parts = [FoldLogits.load(tiny_run / "jobs" / best / f"fold-{fold}" / "oof.npz") for fold in range(3)]
    label_of = dict(zip(predictions.image_ids.tolist(), predictions.labels.tolist(), strict=True))
    labels = np.array([label_of[image] for part in parts for image in part.image_ids.tolist()])
    logits = np.concatenate([part.logits for part in parts])

    def loss(value: float) -> float:
        rows = logits / value + offsets
        return float((np.log(np.exp(rows).sum(axis=1)) - rows[np.arange(len(labels)), labels]).mean())

    # The calibrator learns from cross-fitted rows, whose prior is that of the other folds: nearly the same optimum.
    nearby = [value for value in (0.7 * temperature, temperature / 0.7) if SHARPEST <= value <= SOFTEST]
    assert loss(temperature) < min(map(loss, nearby)) + 1e-3
    assert loss(temperature) < loss(1.0)


def test_only_a_run_can_choose(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    screen = hamcv("export", tiny_run / "predictor", "--out", tmp_path / "b", "--members", "best")
    assert screen.code == 2
    assert "only a run folder" in screen.err
    assert hamcv("export", tiny_run, "--out", tmp_path / "b", "--members", "some").code == 2
    assert list(tmp_path.iterdir()) == []


def test_the_onnx_file_is_in_the_manifest_and_says_what_the_predictor_says(
    hamcv: Hamcv, tiny_run: Path, tmp_path: Path
) -> None:
    import onnxruntime

    out = tmp_path / "bundle"
    screen = hamcv("export", tiny_run, "--out", out, "--members", "best", "--half", "--onnx")
    assert screen.code == 0, screen.err
    assert "ensemble.onnx: no probability" in screen.out
    content = manifest(out)
    assert content["files"]["ensemble.onnx"] == sha256(out / "ensemble.onnx")
    card = (out / "README.md").read_text()
    assert "(n, 3, 32, 32) uint8, RGB, values 0 to 255" in card
    assert f"Columns: {', '.join(content['classes'])}." in card
    picture = Image.fromarray(np.random.default_rng(0).integers(256, size=(60, 80, 3), dtype=np.uint8))
    pixels = np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR))
    session = onnxruntime.InferenceSession(str(out / "ensemble.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"images": pixels.transpose(2, 0, 1)[None]})[0]
    expected = EnsemblePredictor.load(out, device="cpu").predict_proba(picture)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    # Another export leaves the file behind, and one flipped bit in it is found.
    assert hamcv("export", out, "--out", tmp_path / "plain").code == 0
    assert "ensemble.onnx" not in manifest(tmp_path / "plain")["files"]
    assert manifest(tmp_path / "plain")["onnx"] is None
    changed = bytearray((out / "ensemble.onnx").read_bytes())
    changed[100] ^= 1
    (out / "ensemble.onnx").write_bytes(changed)
    with pytest.raises(DataError, match=r"ensemble\.onnx is damaged"):
        EnsemblePredictor.load(out)


def test_without_the_extra_one_line_says_what_to_install(
    hamcv: Hamcv, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    screen = hamcv("export", tiny_run, "--out", tmp_path / "b", "--onnx")
    assert screen.code == 2
    assert "pip install 'hamcv[onnx]'" in screen.err
    assert len(screen.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept_unless_it_is_a_bundle_to_be_replaced(
    hamcv: Hamcv, tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert hamcv("export", tiny_run, "--out", out).code == 0
    before = manifest(out)
    screen = hamcv("export", tiny_run, "--out", out, "--half")
    assert screen.code == 2
    assert "--overwrite" in screen.err
    assert manifest(out) == before
    assert hamcv("export", tiny_run, "--out", out, "--half", "--overwrite").code == 0
    assert manifest(out)["half"] is not None
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    for options in ((), ("--overwrite",)):
        screen = hamcv("export", tiny_run, "--out", mine, *options)
        assert screen.code == 2
        assert "no bundle" in screen.err
        assert (mine / "thesis.txt").read_text() == "precious"
    screen = hamcv("export", tiny_run, "--out", mine / "thesis.txt")
    assert screen.code == 2
    assert "is a file" in screen.err


@pytest.mark.parametrize("place", [".", "inside"])
def test_the_exported_bundle_is_no_place_for_the_export(
    hamcv: Hamcv, tiny_run: Path, tmp_path: Path, place: str
) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_run / "predictor", source)
    screen = hamcv("export", source, "--out", source / place, "--overwrite", "--half")
    assert screen.code == 2
    assert "in the bundle that is to be exported" in screen.err
    assert manifest(source) == manifest(tiny_run / "predictor")


def test_a_damaged_source_is_named_and_nothing_is_left(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    weights = run / "jobs" / "squeezenet1_1" / "fold-1" / "model.safetensors"
    weights.unlink()
    screen = hamcv("export", run, "--out", tmp_path / "all")
    assert screen.code == 0, screen.err
    file = run / "predictor" / "squeezenet1_1-fold-1.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()
    file.write_bytes(content)
    screen = hamcv("export", run, "--out", tmp_path / "damaged")
    assert screen.code == 3
    assert "squeezenet1_1-fold-1.safetensors is damaged" in screen.err
    (run / "predictions.csv").unlink()
    assert hamcv("export", run, "--out", tmp_path / "damaged", "--members", "best").code == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "run"]
