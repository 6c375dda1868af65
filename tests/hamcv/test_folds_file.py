"""Runs on folds that somebody made before."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest_runs import TINY, carry_out

from cv_folds.errors import DataError, UsageError
from hamcv.config import resolve

Hamcv = Callable[..., Any]
ONE = {"backbones": ["shufflenet_v2_x0_5"], "training.epochs": 1, "report.resamples": 100}


@pytest.fixture(scope="module")
def leaking(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folds of which one lesion with several images stands in two, counted from 1."""
    folds = pd.read_csv(tiny_run / "folds.csv", dtype=str, keep_default_na=False)
    folds["fold"] = folds["fold"].astype(int) + 1
    several = folds[folds.duplicated("lesion_id")].index[0]
    folds.loc[several, "fold"] = folds.loc[several, "fold"] % 3 + 1
    path = tmp_path_factory.mktemp("folds") / "leaking.csv"
    folds[["image_id", "fold"]].to_csv(path, index=False)
    return path


def test_folds_that_were_written_before_are_used(hamcv: Hamcv, small_data: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "folds.csv", tmp_path / "run"
    screen = hamcv("folds", "--data", small_data, "--folds", 4, "--seed", 9, "--stratify", "sex,site", "--out", file)
    assert screen.code == 0, screen.err
    assert "stratified by diagnosis alone where a combination of diagnosis, sex, localization" in screen.err
    run = ("run", "--data", small_data, "--weights", "none", "--recipe", "demo", "--out", out)
    screen = hamcv(*run, "--folds-file", file, "--backbones", "squeezenet1_1", "--image-size", "32", "--prepare")
    assert screen.code == 0, screen.err
    # The number of folds is that of the file.
    assert "INDEX from 0 to 3" in screen.out
    assert (out / "folds.csv").read_bytes() == file.read_bytes()
    # The file changes: the run that began with it is not resumed.
    lines = file.read_text().splitlines()
    file.write_text("\n".join(re.sub(r"\d$", lambda found: str((int(found[0]) + 1) % 4), line) for line in lines))
    screen = hamcv(*run, "--folds-file", file, "--backbones", "squeezenet1_1", "--image-size", "32", "--prepare")
    assert screen.code == 2
    assert "are not those that" in screen.err


def test_folds_of_one_image_a_lesion_are_those_of_such_a_run(hamcv: Hamcv, small_data: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "folds.csv", tmp_path / "run"
    screen = hamcv("folds", "--data", small_data, "--folds", 2, "--set", "unit=lesion", "--out", file)
    assert screen.code == 0, screen.err
    assert "one image of each of 60 lesions, the first by image id; 24 others are left out" in screen.err
    run = ("run", "--data", small_data, "--weights", "none", "--recipe", "demo", "--set", "unit=lesion", "--out", out)
    screen = hamcv(*run, "--folds-file", file, "--backbones", "squeezenet1_1", "--image-size", "32", "--prepare")
    assert screen.code == 0, screen.err
    assert (out / "folds.csv").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("--seed", "-1", "seed = -1"), ("--seed", str(2**32), "seed = "), ("--folds", "1", "folds = 1")],
)
def test_folds_that_cannot_be_made_are_refused_in_a_line(
    hamcv: Hamcv, small_data: Path, tmp_path: Path, option: str, value: str, words: str
) -> None:
    screen = hamcv("folds", "--data", small_data, "--out", tmp_path / "folds.csv", option, value)
    assert screen.code == 2
    assert words in screen.err


def test_folds_that_leak_are_refused(hamcv: Hamcv, small_data: Path, leaking: Path, tmp_path: Path) -> None:
    run = ("run", "--data", small_data, "--weights", "none", "--out", tmp_path / "run", "--folds-file", leaking)
    screen = hamcv(*run)
    assert screen.code == 3
    assert "of 1 of 60 lesions or merged groups, stand in several folds" in screen.err
    assert re.search(r"HAM_\d+: ISIC_\d+ in fold \d, ISIC_\d+ in fold \d", screen.err), screen.err
    assert "--allow-leakage" in screen.err
    assert not (tmp_path / "run").exists()


def test_a_run_on_leaking_folds_says_so_everywhere(small_data: Path, leaking: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = TINY | ONE | {"data": str(small_data), "folds_file": str(leaking), "allow_leakage": True}
    carry_out(resolve("demo", options), out)
    for name in ("run.json", "metrics.json", "audit.json"):
        assert json.loads((out / name).read_text())["allowed_leakage"]["groups"] == 1, name
    html = (out / "report.html").read_text()
    first_page = html[: html.index('id="section-data"')]
    assert first_page.count("Leaking folds, used because leakage was allowed") >= 1
    assert "Caution" in (out / "predictor" / "README.md").read_text()
    assert "LEAKING FOLDS" in (out / "log.jsonl").read_text()


def test_a_file_of_other_images_is_refused_before_anything_is_written(
    small_data: Path, leaking: Path, tmp_path: Path
) -> None:
    file = tmp_path / "folds.csv"
    file.write_text(leaking.read_text().replace("ISIC_", "OTHER_"))
    config = resolve("demo", TINY | {"data": str(small_data), "folds_file": str(file)})
    with pytest.raises(DataError, match="image ids that the data set does not have"):
        carry_out(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"allow_leakage": True}, "the folds made here never leak"),
        ({"protocol": "holdout", "holdout": "image"}, "allow_leakage = true (--allow-leakage)"),
        ({"protocol": "holdout", "holdout": "single_image", "folds_file": "x.csv"}, "leave holdout out"),
        ({"holdout": "single_image"}, "goes with protocol holdout only"),
        ({"holdout": "patient", "protocol": "holdout"}, "'lesion', 'single_image' or 'image'"),
        ({"unit": "patient"}, "'image' or 'lesion'"),
        ({"folds_file": "x.csv", "stratify": ["sex"]}, "leave one out"),
        ({"folds_file": "x.csv", "limit_lesions": 20}, "leave some out"),
        ({"stratify": ["age"]}, "'dx_type', 'sex' or 'localization'"),
    ],
)
def test_settings_that_do_not_go_together(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve("demo", options)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
