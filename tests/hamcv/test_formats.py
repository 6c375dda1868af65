"""The layouts of a folder, from the command line to the reports."""

from __future__ import annotations

import csv
import json
import shlex
import tomllib
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest_runs import TINY, carry_out
from PIL import Image

from cv_folds.data.readers import READERS
from cv_folds.errors import UsageError
from hamcv.config import read_config, resolve
from hamcv.sources import open_dataset

Hamcv = Callable[..., Any]

CLASSES = ("basal cell carcinoma", "melanoma")
ALONE = 4
"""Images of each class without a lesion."""


@pytest.fixture(scope="module")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 24 images, two of each lesion but for the last four."""
    root = tmp_path_factory.mktemp("own") / "own"
    rows = ["image,lesion"]
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for index in range(24):
            image = f"{label}{index:02d}"
            Image.new("RGB", (40, 30), (label * 200, index * 10, 90)).save(root / name / f"{image}.png")
            rows.append(f"{image},{'' if index >= 24 - ALONE else f'{label}-{index // 2}'}")
    (root / "groups.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def finished(class_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on class folders."""
    options = TINY | {"data": str(class_folders), "backbones": ["squeezenet1_1"], "training.epochs": 1, "folds": 2}
    config = resolve("default", options | {"format": "folders"}, ["columns.table=groups.csv"])
    out = tmp_path_factory.mktemp("runs") / "own"
    carry_out(config, out)
    return out


def test_info_says_what_was_understood_at_any_width(
    hamcv: Hamcv, class_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        screen = hamcv("data", "info", class_folders)
        assert screen.code == 0
        assert "layout folders: 48 images of 28 lesions, 2 classes" in screen.out
        assert "note: 8 of 48 images name no lesion: each is its own group" in screen.out
        lines = [line.split() for line in screen.out.splitlines()]
        assert ["basal", "cell", "carcinoma", "24", "50.0%", "14"] in lines
        assert ["all", "48", "28"] in lines
        assert any(line[:3] == ["1", "8", "8"] for line in lines)
        assert any(line[:3] == ["2", "20", "40"] for line in lines)
        assert "40x30 48" in " ".join(screen.out.split())
        assert all(
            len(line) <= width for line in screen.out.splitlines() if not line.startswith(("/", "note", "layout"))
        )
        assert screen.err == ""


def test_info_takes_format_and_columns(hamcv: Hamcv, class_folders: Path) -> None:
    arguments = ("data", "info", class_folders, "--format", "csv", "--set", "columns.label=lesion")
    screen = hamcv(*arguments)
    assert screen.code == 3
    assert "groups.csv, row 22: lesion is empty" in screen.err
    screen = hamcv("data", "info", class_folders, "--format", "ham10000")
    assert screen.code == 3
    assert "no HAM10000_metadata table" in screen.err
    assert "groups.csv, with columns image, lesion" in screen.err


def test_wrong_options(hamcv: Hamcv, class_folders: Path, tmp_path: Path) -> None:
    for command in (("data", "info", class_folders), ("folds", "--data", class_folders, "--out", tmp_path / "f.csv")):
        screen = hamcv(*command, "--format", "dicom")
        assert screen.code == 2
        assert all(name in screen.err for name in ("dicom", "auto", *READERS))
        screen = hamcv(*command, "--set", "columns.patient=x")
        assert screen.code == 2
        assert "columns.patient" in screen.err
        assert "lesion" in screen.err
        screen = hamcv(*command, "--set", "training.epochs=3")
        assert screen.code == 2
        assert "columns.KEY" in screen.err
        assert screen.err.rstrip().endswith("only")
    assert hamcv("run", "--data", class_folders, "--format", "dicom").code == 2
    assert list(tmp_path.iterdir()) == []


def test_the_demo_set_has_one_layout() -> None:
    with pytest.raises(UsageError, match="the demo set is in the layout ham10000"):
        open_dataset("demo", format="isic2018")


def test_folds_say_on_stderr_what_was_taken_for_granted(hamcv: Hamcv, class_folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds.csv"
    screen = hamcv("folds", "--data", class_folders, "--folds", "2", "--out", out)
    assert screen.code == 0
    assert "note: 8 of 48 images name no lesion: each is its own group" in screen.err
    assert "note" not in screen.out
    frame = pd.read_csv(out, dtype=str)
    assert frame.groupby("lesion_id")["fold"].nunique().max() == 1
    alone = frame[~frame["lesion_id"].str.contains("-")]
    assert (alone["lesion_id"] == alone["image_id"]).all()
    assert len(alone) == 2 * ALONE


def test_a_dry_run_says_it_too(hamcv: Hamcv, class_folders: Path) -> None:
    options = ("--weights", "none", "--backbones", "squeezenet1_1", "--image-size", "32", "--folds", "2", "--dry-run")
    screen = hamcv("run", "--data", class_folders, *options)
    assert screen.code == 0, screen.err
    assert "note: 8 of 48 images name no lesion" in screen.out


def test_a_run_keeps_the_layout_in_its_settings(finished: Path, class_folders: Path) -> None:
    content = tomllib.loads((finished / "config.toml").read_text())
    assert content["format"] == "folders"
    assert content["columns"] == {"table": "groups.csv"}
    config = read_config(finished / "config.toml")
    assert (config.data, config.columns.table) == (str(class_folders), "groups.csv")


def test_a_run_says_it_in_log_and_audit(finished: Path) -> None:
    log = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert {"level": "warning", "message": "note: 8 of 48 images name no lesion: each is its own group"} in [
        {key: line[key] for key in ("level", "message")} for line in log
    ]
    checks = {check["code"]: check for check in json.loads((finished / "audit.json").read_text())["checks"]}
    assert checks["L010"]["status"] == "failed"
    assert checks["L010"]["detail"].startswith("8 of 48 images name no lesion")


def test_class_names_arrive_as_the_data_give_them(hamcv: Hamcv, finished: Path, class_folders: Path) -> None:
    frame = pd.read_csv(finished / "predictions.csv", dtype={"image_id": str})
    assert {f"soft_vote/{name}" for name in CLASSES} <= set(frame.columns)
    assert json.loads((finished / "metrics.json").read_text())["classes"] == list(CLASSES)
    assert "basal cell carcinoma" in (finished / "report.html").read_text()
    image = next((class_folders / "melanoma").iterdir())
    screen = hamcv("predict", finished, image, "--device", "cpu")
    assert screen.code == 0, screen.err
    (row,) = csv.DictReader(StringIO(screen.out))
    assert row["label"] in CLASSES
    assert set(shlex.split(row["prediction_set"])) <= set(CLASSES)
