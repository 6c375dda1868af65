from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hamcv.folding import split
from hamcv.sources import choose_data, open_dataset

Hamcv = Callable[..., Any]


def test_the_order_in_which_data_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose_data(None).data == "demo"
    (tmp_path / "data" / "ham10000").mkdir(parents=True)
    assert choose_data(None).data == str(tmp_path / "data" / "ham10000")
    monkeypatch.setenv("HAMCV_DATA", "elsewhere")
    assert choose_data(None).data == str(tmp_path / "elsewhere")
    assert choose_data("here").data == str(tmp_path / "here")
    assert choose_data("demo").data == "demo"


def test_a_recipe_file_without_data_takes_the_users_data(
    hamcv: Hamcv, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAMCV_DATA", str(small_data))
    recipe = tmp_path / "mine.toml"
    recipe.write_text('weights = "none"\nbackbones = ["squeezenet1_1"]\n[training]\nimage_size = 32\n')
    screen = hamcv("run", "--recipe", recipe, "--dry-run")
    assert screen.code == 0
    assert "84 images of 60 lesions" in screen.out


def test_a_stored_config_names_its_data(hamcv: Hamcv, tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMCV_DATA", "nowhere")
    screen = hamcv("run", "--recipe", tiny_run / "config.toml", "--dry-run")
    assert screen.code == 0
    assert "84 images of 60 lesions" in screen.out


@pytest.fixture
def data_with_a_copy(small_data: Path, tmp_path: Path) -> Path:
    """The small set with one image of a lesion copied over that of another lesion of the same class."""
    folder = tmp_path / "copied"
    shutil.copytree(small_data, folder)
    dataset = open_dataset(str(folder))
    first, second = [row for row, label in enumerate(dataset.labels) if dataset.classes[label] == "nv"][:2]
    assert dataset.lesion_ids[first] != dataset.lesion_ids[second]
    shutil.copyfile(dataset.paths[first], dataset.paths[second])
    return folder


def test_every_command_makes_the_same_folds_of_data_with_identical_images(
    hamcv: Hamcv, data_with_a_copy: Path, tmp_path: Path
) -> None:
    made = split(open_dataset(str(data_with_a_copy)), n_folds=3, seed=0)
    assert len(made.shared.merged) == 1
    pair = made.shared.merged[0]
    assert hamcv("folds", "--data", data_with_a_copy, "--folds", "3", "--out", tmp_path / "folds.csv").code == 0
    folds = pd.read_csv(tmp_path / "folds.csv").set_index("image_id")
    assert folds["fold"].tolist() == made.folds.folds.tolist()
    assert folds.loc[pair.image_a, "group"] == folds.loc[pair.image_b, "group"]
    assert folds.loc[pair.image_a, "fold"] == folds.loc[pair.image_b, "fold"]


def test_an_explicit_folder_is_never_the_built_in_set(
    hamcv: Hamcv, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_data, tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    assert "84 images of 60 lesions" in hamcv("data", "info", "demo").out


def test_a_folder_as_output_is_refused_before_the_work(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    for arguments in (("predict", tiny_run, "x.jpg", "--output", tmp_path), ("folds", "--out", tmp_path)):
        screen = hamcv(*arguments)
        assert screen.code == 2
        assert "is a folder" in screen.err


def test_load_predictor_is_the_ensemble_predictor(tiny_run: Path) -> None:
    from ensemble import EnsemblePredictor
    from hamcv import load_predictor

    assert isinstance(load_predictor(tiny_run, device="cpu"), EnsemblePredictor)
