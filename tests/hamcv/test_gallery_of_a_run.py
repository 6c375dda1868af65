"""The gallery of a run is drawn by networks that had not seen its images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest_runs import TINY, carry_out

import hamcv.gallery
from cv_folds.errors import DataError
from cv_folds.images import decode_rgb, to_pixels
from cv_folds.training.pixels import IMAGENET, normalise
from ensemble.predictions import Predictions
from hamcv.config import resolve
from hamcv.evaluation import model_kinds
from hamcv.gallery import draw_gallery, redraw_gallery
from hamcv.run_config import RunConfig
from hamcv.sources import open_dataset
from reports.gallery_files import read_gallery
from reports.run_records import RunRecord, read_record


@pytest.fixture
def copy(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def predictions_of(run: Path, config: RunConfig) -> Predictions:
    return Predictions.read_csv(run / "predictions.csv", model_kinds(config))


def test_only_networks_that_had_not_seen_an_image_explain_it(
    copy: Path, tiny_config: RunConfig, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(str(small_data))
    pixels = np.stack([to_pixels(decode_rgb(path), 32) for path in dataset.paths])
    normalised = normalise(torch.from_numpy(pixels), IMAGENET)
    asked: list[tuple[str, str]] = []
    loaded: list[Path] = []
    load, explain = hamcv.gallery.load_network, hamcv.gallery.grad_cam

    def loading(path: Path, *arguments: Any, **options: Any) -> Any:
        loaded.append(path)
        return load(path, *arguments, **options)

    def explaining(model: Any, images: torch.Tensor, *arguments: Any) -> Any:
        for image in images:
            (row,) = torch.nonzero((normalised == image).flatten(1).all(dim=1)).flatten().tolist()
            asked.append((loaded[-1].parent.name, str(dataset.image_ids[row])))
        return explain(model, images, *arguments)

    monkeypatch.setattr(hamcv.gallery, "load_network", loading)
    monkeypatch.setattr(hamcv.gallery, "grad_cam", explaining)
    draw_gallery(copy, tiny_config, dataset, predictions_of(copy, tiny_config), "cpu")
    folds = pd.read_csv(copy / "folds.csv", dtype=str).set_index("image_id")["fold"]
    assert len(asked) >= 12
    assert all(folder == f"fold-{folds[image]}" for folder, image in asked)


def test_the_gallery_of_a_run_is_repeated_to_the_byte(copy: Path, tiny_config: RunConfig, small_data: Path) -> None:
    before = {path.name: path.read_bytes() for path in (copy / "gallery").iterdir()}
    shutil.rmtree(copy / "gallery")
    draw_gallery(copy, tiny_config, open_dataset(str(small_data)), predictions_of(copy, tiny_config), "cpu")
    assert {path.name: path.read_bytes() for path in (copy / "gallery").iterdir()} == before
    files = read_gallery(copy)
    assert files is not None
    assert 0 < len(files.record.errors) <= 12
    assert {name for case in files.record.errors for found in case.maps for name in found.backbones} == {
        "shufflenet_v2_x0_5",
        "squeezenet1_1",
    }


def test_other_images_are_not_drawn_for_a_run(copy: Path, tiny_config: RunConfig, small_data: Path) -> None:
    data = read_record(copy / "run.json", RunRecord).data
    changed = data.model_copy(update={"fingerprint": "0" * 64})
    before = (copy / "config.toml").read_text()
    with pytest.raises(DataError, match="does not hold the images of this run any more"):
        redraw_gallery(copy, tiny_config, changed, predictions_of(copy, tiny_config), 3)
    assert (copy / "config.toml").read_text() == before
    assert (copy / "gallery" / "gallery.json").is_file()


def test_pictures_of_an_earlier_ensemble_do_not_stay_beside_new_scores(
    hamcv: Any, copy: Path, tiny_config: RunConfig
) -> None:
    before = {path.name: path.read_bytes() for path in (copy / "gallery").iterdir()}
    screen = hamcv("ensemble", copy)
    assert screen.code == 0, screen.err
    assert "gallery" not in screen.err
    assert {path.name: path.read_bytes() for path in (copy / "gallery").iterdir()} == before
    other = next(name for name in tiny_config.ensemble.combiners if name != tiny_config.ensemble.deployed)
    screen = hamcv("ensemble", copy, "--deployed", other)
    assert screen.code == 0, screen.err
    assert not (copy / "gallery").exists()
    command = f"hamcv report {copy} --gallery 12"
    assert screen.err.count(command) == 1
    report = (copy / "report.html").read_text()
    assert "none have been drawn" in report
    assert "image/jpeg" not in report
    screen = hamcv(*command.split()[1:], "--format", "html")
    assert screen.code == 0, screen.err
    files = read_gallery(copy)
    assert files is not None
    assert files.record.model == other
    assert "image/jpeg" in (copy / "report.html").read_text()


def test_a_damaged_gallery_is_found_before_anything_is_combined(hamcv: Any, tiny_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    (copy / "gallery" / "gallery.json").write_text("{")
    before = {path: path.read_bytes() for path in copy.rglob("*.*") if path.is_file()}
    screen = hamcv("ensemble", copy, "--calibration", "isotonic")
    assert screen.code == 3
    assert "gallery.json is damaged" in screen.err
    assert {path: path.read_bytes() for path in copy.rglob("*.*") if path.is_file()} == before


def test_a_run_without_a_gallery_goes_on_with_one(small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = TINY | {"data": str(small_data), "backbones": ["squeezenet1_1"], "protocol": "holdout"}
    carry_out(resolve("demo", settings | {"report.gallery": 0}), out)
    assert not (out / "gallery").exists()
    assert "report.gallery = 0" in (out / "report.html").read_text()
    carry_out(resolve("demo", settings | {"report.gallery": 2}), out)
    files = read_gallery(out)
    assert files is not None
    assert len(files.record.errors) == 2
    # One network has nobody to disagree with.
    assert not files.record.disagreements
    assert ", part test" in (out / "report.html").read_text()
