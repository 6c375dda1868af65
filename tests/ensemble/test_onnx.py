from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ensemble_samples import BACKBONES, CLASSES, SIZE, synthetic_oof
from torch import nn

from cv_folds.errors import DataError, UsageError
from cv_folds.out_of_fold import OutOfFold
from ensemble.bundle import Bundle, read_bundle
from ensemble.calibration.registry import CALIBRATORS, Calibrator
from ensemble.combiners import COMBINERS, Combiner
from ensemble.onnx import writing
from ensemble.onnx.calibrating import calibrating_module
from ensemble.onnx.combining import combining_module
from ensemble.onnx.writing import refuse_without_onnx, write_onnx
from ensemble.predictor import EnsemblePredictor
from ensemble.priors import prior_shift
from ensemble.settings import EnsembleSettings

SETTINGS = EnsembleSettings(penalties=(1e-2, 1.0), tree_rounds=12)


def sample(*, degenerate: bool) -> OutOfFold:
    """Logits of two backbones; degenerate: a class is absent, and one backbone says nothing."""
    oof = synthetic_oof(1, n_lesions=90, classes=(*CLASSES, "vasc"))
    if not degenerate:
        return oof
    kept = oof.labels != 1
    fields = {name: value[kept] if isinstance(value, np.ndarray) else value for name, value in vars(oof).items()}
    logits = fields["logits"].copy()
    logits[:, 1] = 0
    return OutOfFold(**(fields | {"logits": logits}))


def fitted(oof: OutOfFold) -> tuple[dict[str, Combiner], dict[str, Calibrator]]:
    combiners = {name: kind.fit(oof.logits, oof.labels, oof.groups, SETTINGS, None) for name, kind in COMBINERS.items()}
    given = combiners["soft_vote"].combine(oof.logits)
    prior = prior_shift(oof.labels, len(oof.classes), power=0.5)
    return combiners, {
        name: kind.fit(given, oof.labels, oof.groups, SETTINGS, prior) for name, kind in CALIBRATORS.items()
    }


@pytest.mark.parametrize("degenerate", [False, True])
def test_modules_say_what_combiners_and_calibrators_say(degenerate):
    oof = sample(degenerate=degenerate)
    combiners, calibrators = fitted(oof)
    logits = np.concatenate([oof.logits[:20] * 3, 60 * np.eye(4)[None, :2], np.zeros((1, 2, 4))])
    for name, combiner in combiners.items():
        found = combining_module(combiner)(torch.tensor(logits)).numpy()
        np.testing.assert_allclose(found, combiner.combine(logits), rtol=0, atol=1e-12, err_msg=name)
    given = np.concatenate([combiners["soft_vote"].combine(logits), np.eye(4), np.full((1, 4), 0.25)])
    for name, calibrator in calibrators.items():
        found = calibrating_module(calibrator)(torch.tensor(given)).numpy()
        np.testing.assert_allclose(found, calibrator.calibrate(given), rtol=0, atol=1e-12, err_msg=name)


class _Everything(nn.Module):
    """All combiners and calibrators in one graph, since making one takes seconds."""

    def __init__(self, combiners: list[Combiner], calibrators: list[Calibrator]) -> None:
        super().__init__()
        self.combiners = nn.ModuleList([combining_module(combiner) for combiner in combiners])
        self.calibrators = nn.ModuleList([calibrating_module(calibrator) for calibrator in calibrators])

    def forward(self, logits: torch.Tensor) -> list[torch.Tensor]:
        rows = [combiner(logits) for combiner in self.combiners]
        return rows + [calibrator(rows[0]) for calibrator in self.calibrators]


def test_every_combiner_and_calibrator_can_be_written(tmp_path):
    import onnxruntime

    oof = sample(degenerate=False)
    combiners, calibrators = fitted(oof)
    assert next(iter(combiners)) == "soft_vote"
    everything = _Everything([*combiners.values()], [*calibrators.values()]).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            everything,
            (torch.tensor(oof.logits[:3]),),
            dynamo=True,
            verbose=False,
            opset_version=writing.OPSET,
            dynamic_shapes={"logits": {0: torch.export.Dim("n")}},
        )
    program.save(tmp_path / "all.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "all.onnx"), providers=["CPUExecutionProvider"])
    logits = oof.logits[:40]
    found = session.run(None, {session.get_inputs()[0].name: logits})
    given = combiners["soft_vote"].combine(logits)
    expected = {name: combiner.combine(logits) for name, combiner in combiners.items()}
    expected |= {name: calibrator.calibrate(given) for name, calibrator in calibrators.items()}
    assert len(found) == len(expected) == 11
    for rows, (name, right) in zip(found, expected.items(), strict=True):
        np.testing.assert_allclose(rows, right, rtol=0, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def programs() -> list[Any]:
    return []


@pytest.fixture(autouse=True)
def _export_once(programs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """All bundles here hold the same numbers, and exporting takes seconds."""
    export = writing._export

    def once(graph: nn.Module, bundle: Bundle) -> Any:
        if not programs:
            programs.append(export(graph, bundle))
        return programs[0]

    monkeypatch.setattr(writing, "_export", once)


def test_the_file_says_what_the_predictor_says(bundle: Path, tmp_path: Path) -> None:
    import onnxruntime

    written = write_onnx(read_bundle(bundle), tmp_path / "ensemble.onnx")
    assert written.files == (tmp_path / "ensemble.onnx",)
    assert written.largest_difference < 1e-6
    assert [path.name for path in tmp_path.glob("ensemble*")] == ["ensemble.onnx"]
    session = onnxruntime.InferenceSession(str(written.files[0]), providers=["CPUExecutionProvider"])
    assert [(put.name, put.type) for put in session.get_inputs()] == [("images", "tensor(uint8)")]
    assert session.get_inputs()[0].shape[1:] == [3, SIZE, SIZE]
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["classes"]) == list(CLASSES)
    assert notes["image_size"] == str(SIZE)
    predictor = EnsemblePredictor.load(bundle, device="cpu")
    for n in (1, 2, 5):
        images = np.random.default_rng(n).integers(256, size=(n, SIZE, SIZE, 3), dtype=np.uint8)
        found = session.run(["probabilities"], {"images": images.transpose(0, 3, 1, 2)})[0]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, predictor.predict_proba(images), rtol=0, atol=1e-4)


def test_weights_that_do_not_fit_into_one_file_lie_beside(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_MOST_BYTES", 0)
    written = write_onnx(read_bundle(bundle), tmp_path / "ensemble.onnx")
    assert [path.name for path in written.files] == ["ensemble.onnx", "ensemble.onnx.data"]
    assert written.largest_difference < 1e-6


def test_a_file_that_says_something_else_is_refused(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = EnsemblePredictor.predict_proba
    monkeypatch.setattr(EnsemblePredictor, "predict_proba", lambda *given: right(*given) + 2e-4)
    with pytest.raises(DataError, match=r"ensemble\.onnx: differs from the predictor by"):
        write_onnx(read_bundle(bundle), tmp_path / "ensemble.onnx")
    assert not (tmp_path / "ensemble.onnx").exists()


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_without_onnx()
    monkeypatch.setattr(writing, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UsageError, match=r"needs onnxscript; install them with: pip install 'hamcv\[onnx\]'"):
        refuse_without_onnx()


def test_backbones_of_the_bundle_are_all_there(bundle: Path) -> None:
    graph = writing._graph_of(read_bundle(bundle))
    assert len(graph.folds) == 2
    assert all(isinstance(of_fold, nn.ModuleList) and len(of_fold) == len(BACKBONES) for of_fold in graph.folds)
