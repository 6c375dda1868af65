from __future__ import annotations

import csv
import importlib.metadata
import json
import re
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cv_folds.errors import DataError
from ensemble import EnsemblePredictor
from hamcv.cli import app
from hamcv.config import differences, read_config, resolve
from hamcv.sources import open_dataset

Hamcv = Callable[..., Any]

SURFACE = {
    "run": {
        "--data", "--out", "--folds", "--recipe", "--backbones", "--image-size", "--epochs", "--batch-size",
        "--weights", "--seed", "--device", "--limit-lesions", "--jobs", "--fail-fast", "--dry-run", "--overwrite",
        "--set", "--backend", "--address", "--prepare", "--compile", "--tensorboard", "--format", "--folds-file",
        "--allow-leakage", "--stratify", "--protocol", "--split", "--repeats", "--nested",
    },
    "job": set(),
    "report": {"--format", "--gallery"},
    "ensemble": {"--combiners", "--deployed", "--calibration", "--costs", "--set"},
    "evaluate": {
        "--data", "--out", "--format", "--classes", "--training-data", "--own-ids", "--device", "--set", "--tta",
        "--spins",
    },
    "export": {"--out", "--onnx", "--half", "--members", "--overwrite"},
    "predict": {"--output", "--device", "--tta", "--spins"},
    "compare": {
        "--out", "--models", "--unpaired", "--allow-different", "--format", "--malignant", "--resamples", "--seed",
    },
    "folds": {"--out", "--data", "--folds", "--seed", "--format", "--set", "--stratify"},
    "doctor": set(),
    "data audit": {
        "--out", "--accept", "--reject", "--folds", "--image-column", "--split-column", "--jobs", "--format", "--set",
    },
    "data fetch": {"--test", "--server", "--keep-archives", "--retries", "--timeout"},
    "data info": {"--format", "--set"},
    "data demo": {"--seed"},
    "recipes show": set(),
}  # fmt: skip


def commands(group: Any, prefix: str = "") -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, f"{name} ")
        else:
            found[prefix + name] = {
                option for parameter in command.params for option in parameter.opts if option[0] == "-"
            }
    return found


def test_the_surface_is_frozen() -> None:
    import typer

    assert commands(typer.main.get_command(app)) == SURFACE


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("data", "--help"), ("--version",)])
def test_help_goes_to_stdout(hamcv: Hamcv, arguments: tuple[str, ...]) -> None:
    screen = hamcv(*arguments)
    assert screen.code == 0
    assert "hamcv" in screen.out
    assert screen.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "--no-such-option"), 2, ["no-such-option"]),
        (("run", "--folds", "many"), 2, ["--folds", "integer"]),
        (("run", "--folds", "-1"), 2, ["folds = -1"]),
        (("run", "--jobs", "0"), 2, ["--jobs"]),
        (("run", "--recipe", "nope"), 2, ["--recipe nope"]),
        (("run", "--backbones", "resnet5"), 2, ["resnet50"]),
        (("run", "--data", "nowhere"), 3, ["nowhere", "no such folder"]),
        (("run", "--limit-lesions", "0"), 2, ["limit_lesions = 0"]),
        (("run", "--backend", "slurm"), 2, ["--backend slurm", "local, dask, ray"]),
        (("run", "--backend", "dask"), 2, ["--address", "tcp://"]),
        (("run", "--backend", "ray"), 2, ["--address", ":6379"]),
        (("run", "--address", "tcp://host:8786"), 2, ["--backend dask or ray"]),
        (("run", "--backend", "dask", "--address", "h:1", "--device", "cuda:1"), 2, ["--device cuda"]),
        (("run", "--backend", "ray", "--address", "local"), 2, ["--address local", "head node"]),
        (("run", "--backend", "ray", "--address", "auto"), 2, ["--address auto", "head node"]),
        (("run", "--backend", "dask", "--address", "nonsense"), 2, ["--address nonsense", "dask scheduler"]),
        (("job", "nowhere", "0"), 2, ["nowhere", "--prepare"]),
        (("data", "info", "nowhere"), 3, ["nowhere"]),
        (("data", "audit", "nowhere", "--split-column", "part"), 2, ["--split-column", "--folds"]),
        (("report", "nowhere"), 2, ["nowhere", "no run folder"]),
        (("compare", "nowhere", "--out", "out"), 2, ["two runs or more"]),
        (("compare", "nowhere", "neither", "--out", "out"), 2, ["nowhere", "no run folder"]),
        (("compare", "nowhere", "neither"), 2, ["--out"]),
        (("compare", "a", "b", "--out", "out", "--format", "docx"), 2, ["--format docx", "html, pdf"]),
        (("compare", "a", "b", "--out", "out", "--allow-different", "labels"), 2, ["labels", "folds and files"]),
        (("predict", "nowhere", "image.jpg"), 3, ["nowhere"]),
        (("export", "nowhere", "--out", "bundle"), 3, ["nowhere"]),
        (("export", "nowhere", "--out", "bundle", "--members", "few"), 2, ["--members few", "all or best"]),
        (("recipes", "show", "nope"), 2, ["default"]),
    ],
)  # fmt: skip
def test_mistakes_end_with_a_few_lines_and_the_right_code(
    hamcv: Hamcv,
    arguments: tuple[str, ...],
    code: int,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    screen = hamcv(*arguments)
    assert screen.code == code
    assert screen.out == ""
    assert "Traceback" not in screen.err
    assert len(screen.err.splitlines()) <= 5
    assert all(word in screen.err for word in words), screen.err
    assert list(tmp_path.iterdir()) == []


def test_bad_rows_and_images_are_listed_at_once_and_nothing_is_written(
    hamcv: Hamcv, small_data: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(small_data, data)
    table = data / "HAM10000_metadata.csv"
    lines = table.read_text().splitlines()
    fields = lines[1].split(",")
    # A repeated image, and an image that is not there.
    lines += [lines[2], ",".join([fields[0], "ISIC_0000001", *fields[2:]])]
    table.write_text("\n".join(lines) + "\n")
    screen = hamcv("run", "--data", data, "--weights", "none", "--out", tmp_path / "run")
    assert screen.code == 3
    assert "occurs again" in screen.err
    assert "ISIC_0000001 is not below the folder" in screen.err
    assert not (tmp_path / "run").exists()


def test_images_that_cannot_be_decoded_leave_nothing_behind(hamcv: Hamcv, small_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(small_data, data)
    cut, text = sorted(data.rglob("*.jpg"))[3:5]
    cut.write_bytes(cut.read_bytes()[:1000])
    text.write_text("no picture")
    screen = hamcv("run", "--data", data, "--weights", "none", "--image-size", "32", "--out", tmp_path / "run")
    assert screen.code == 3
    assert cut.name in screen.err
    assert text.name in screen.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--backbones", "inception_v3", "--image-size", "32"), ["inception_v3", "32 px", "--image-size"]),
        (("--backbones", "vit_b_16", "--image-size", "100"), ["vit_b_16", "--image-size"]),
    ],
)
def test_a_network_that_cannot_take_the_images_is_found_before_training(
    hamcv: Hamcv, small_data: Path, tmp_path: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    screen = hamcv("run", "--data", small_data, "--weights", "none", "--out", tmp_path / "run", *arguments)
    assert screen.code == 2
    assert all(word in screen.err for word in words), screen.err
    assert not (tmp_path / "run").exists()


def test_weights_of_another_network_are_found_before_training(hamcv: Hamcv, small_data: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_0

    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(squeezenet1_0().state_dict(), folder / "squeezenet1_1.safetensors")
    options = ("--backbones", "squeezenet1_1", "--weights", folder, "--image-size", "64", "--out", tmp_path / "run")
    screen = hamcv("run", "--data", small_data, *options)
    assert screen.code == 2
    assert "does not fit squeezenet1_1" in screen.err
    assert not (tmp_path / "run").exists()


def test_too_few_lesions_for_the_folds(hamcv: Hamcv, small_data: Path, tmp_path: Path) -> None:
    screen = hamcv("run", "--data", small_data, "--folds", "9", "--weights", "none", "--out", tmp_path / "run")
    assert screen.code == 2
    assert "fewer lesions than folds" in screen.err
    assert "Use --folds" in screen.err
    assert not (tmp_path / "run").exists()


def test_missing_weights_are_never_replaced_silently(
    hamcv: Hamcv, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import urllib.error

    import torch

    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    screen = hamcv("run", "--data", small_data, "--out", tmp_path / "run")
    assert screen.code == 2
    assert "mobilenet_v3_large-" in screen.err
    assert torch.hub.get_dir() in screen.err
    assert "--weights none" in screen.err
    assert not (tmp_path / "run").exists()


def test_dry_run_shows_the_plan_and_writes_nothing(hamcv: Hamcv, small_data: Path, tmp_path: Path) -> None:
    screen = hamcv("run", "--data", small_data, "--weights", "none", "--dry-run", "--out", tmp_path / "run")
    assert screen.code == 0
    assert "mobilenet_v3_large: 5 trainings from random weights" in screen.out
    assert "DEMO SET" in screen.out
    assert not (tmp_path / "run").exists()


def test_report_makes_the_same_report_again(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    for name in ("report.html", "metrics.json"):
        (out / name).unlink()
    assert not (out / "report.pdf").exists()
    screen = hamcv("report", out)
    assert screen.code == 0
    assert "stack" in screen.out
    assert (out / "metrics.json").read_bytes() == (tiny_run / "metrics.json").read_bytes()
    assert (out / "report.html").stat().st_size > 100_000
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")


def test_ensemble_combines_stored_predictions_again(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    shutil.rmtree(out / "predictor")
    (out / "predictions.csv").unlink()
    screen = hamcv("ensemble", out)
    assert screen.code == 0
    assert "soft_vote" in screen.out
    for name in ("predictions.csv", "metrics.json", "predictor/manifest.json"):
        assert (out / name).read_bytes() == (tiny_run / name).read_bytes(), name
    (out / "jobs" / "squeezenet1_1" / "fold-1" / "oof.npz").unlink()
    screen = hamcv("ensemble", out)
    assert screen.code == 3
    assert "squeezenet1_1" in screen.err
    assert hamcv("ensemble", tmp_path).code == 2


def test_a_run_without_weights_is_finished_but_for_its_predictor(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    """As the files of a run on another machine are brought here."""
    out = tmp_path / "run"
    for name in ("config.toml", "run.json", "folds.csv", "metadata.csv", "audit.json"):
        out.mkdir(exist_ok=True)
        shutil.copy(tiny_run / name, out / name)
    shutil.copytree(tiny_run / "jobs", out / "jobs", ignore=shutil.ignore_patterns("*.safetensors"))
    screen = hamcv("ensemble", out)
    assert screen.code == 0, screen.err
    assert "weights of all 6 jobs" in screen.err
    assert len(screen.err.splitlines()) == 1
    assert not (out / "predictor").exists()
    for name in ("predictions.csv", "metrics.json", "warnings.csv"):
        assert (out / name).read_bytes() == (tiny_run / name).read_bytes(), name
    assert hamcv("report", out).code == 0
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")
    damaged = out / "jobs" / "squeezenet1_1" / "fold-1" / "model.safetensors"
    damaged.write_bytes(b"other weights")
    screen = hamcv("ensemble", out)
    assert screen.code == 3
    assert "squeezenet1_1, fold 1" in screen.err


def test_a_finished_run_is_combined_in_another_way(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out, ignore=shutil.ignore_patterns("figures"))
    settings = (out / "config.toml").read_bytes()
    for wrong, named in (
        (("--combiners", "greedy"), "deployed"),
        (("--combiners", "boost"), "boost"),
        (("--set", "training.epochs=9"), "training.epochs"),
    ):
        screen = hamcv("ensemble", out, *wrong)
        assert screen.code == 2
        assert named in screen.err
    assert (out / "config.toml").read_bytes() == settings
    screen = hamcv(
        "ensemble", out, "--combiners", "soft_vote,greedy", "--deployed", "greedy", "--set", "ensemble.coverage=0.8"
    )
    assert screen.code == 0, screen.err
    models = json.loads((out / "metrics.json").read_text())["models"]
    assert list(models) == ["shufflenet_v2_x0_5", "squeezenet1_1", "soft_vote", "greedy"]
    manifest = json.loads((out / "predictor" / "manifest.json").read_text())
    assert manifest["combiner"]["name"] == "greedy"
    ensemble = read_config(out / "config.toml").ensemble
    assert (ensemble.combiners, ensemble.coverage) == (("soft_vote", "greedy"), 0.8)


def test_a_combination_that_fails_leaves_the_settings_as_they_were(
    hamcv: Hamcv, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out, ignore=shutil.ignore_patterns("figures", "gallery"))
    settings = (out / "config.toml").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise DataError("no memory left")

    monkeypatch.setattr("hamcv.combining.fit_arm", fail)
    assert hamcv("ensemble", out, "--combiners", "greedy", "--deployed", "greedy").code == 3
    assert (out / "config.toml").read_bytes() == settings


@pytest.mark.parametrize("cut", ["hamcv.combining.held_out_warnings", "ensemble.predictions.Predictions.write_csv"])
def test_predictions_of_a_combination_that_was_cut_off_are_refused(
    cut: str, hamcv: Hamcv, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run has written its settings before it combines: they cannot tell that it was cut off."""
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out, ignore=shutil.ignore_patterns("figures", "gallery"))

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(cut, fail)
        assert hamcv("ensemble", out).code == 1
    screen = hamcv("report", out, "--format", "html")
    assert screen.code == 3
    assert "ensemble.json is missing; `hamcv ensemble` on its folder writes it again" in screen.err


@pytest.mark.parametrize(
    ("setting", "named", "made"),
    [
        ("calibration", "none", '"temperature"'),
        ("deployed", "soft_vote", '"stack"'),
        ("coverage", 0.5, "0.9"),
        ("penalties", [0.5], "[0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0]"),
    ],
)
def test_predictions_that_were_combined_by_other_settings_are_refused(
    setting: str, named: object, made: str, hamcv: Hamcv, tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    # Without clinical values `stack_meta` is left out, which is no other setting and not to be named.
    shutil.copytree(tiny_run, out, ignore=shutil.ignore_patterns("figures", "gallery", "metadata.csv"))
    more = 'ensemble.combiners=["soft_vote", "greedy", "stack", "stack_meta"]'
    config = resolve(str(out / "config.toml"), {}, [more, f"ensemble.{setting}={json.dumps(named)}"])
    (out / "config.toml").write_text(config.to_toml())
    screen = hamcv("report", out, "--format", "html")
    assert screen.code == 3
    said = f"combined with ensemble.{setting} = {made}, but config.toml has {json.dumps(named)}; `hamcv ensemble {out}`"
    assert said in screen.err


def test_predictions_of_other_ensembles_than_the_settings_name_are_refused(
    hamcv: Hamcv, tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out, ignore=shutil.ignore_patterns("figures", "gallery"))
    predictions = pd.read_csv(out / "predictions.csv")
    predictions.loc[:, ~predictions.columns.str.startswith("stack/")].to_csv(out / "predictions.csv", index=False)
    for command in (("report", out, "--format", "html"), ("export", out, "--out", tmp_path / "b", "--members", "best")):
        screen = hamcv(*command)
        assert screen.code == 3
        assert "as ensemble.combiners; `hamcv ensemble" in screen.err


def test_calibration_and_costs_are_changed_without_training(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out, ignore=shutil.ignore_patterns("figures"))
    settings = (out / "config.toml").read_bytes()
    (tmp_path / "wrong.toml").write_text("default = 1\n[mel]\nscc = 2\n")
    screen = hamcv("ensemble", out, "--costs", tmp_path / "wrong.toml")
    assert screen.code == 2
    assert "mel.scc: no such class" in screen.err
    assert (out / "config.toml").read_bytes() == settings
    (tmp_path / "costs.toml").write_text("default = 1\n[mel]\nnv = 50\n")
    options = ("--combiners", "soft_vote,stack", "--calibration", "isotonic", "--costs", tmp_path / "costs.toml")
    screen = hamcv("ensemble", out, *options)
    assert screen.code == 0, screen.err
    content = json.loads((out / "metrics.json").read_text())
    assert content["best"]["sentence"] in screen.out
    assert set(content["decisions"]["stack"]) == {"max_probability", "balanced", "costs"}
    for model, sides in content["calibration"].items():
        for metric, estimate in sides["after"].items():
            assert estimate["value"] == pytest.approx(content["models"][model]["overall"][metric]["value"])
    manifest = json.loads((out / "predictor" / "manifest.json").read_text())
    assert manifest["calibrator"]["name"] == "isotonic"
    assert max(map(max, manifest["decisions"]["costs"])) == 50
    # The report needs the file no more; the next combination may do without the rule.
    (tmp_path / "costs.toml").unlink()
    assert hamcv("report", out, "--format", "html").code == 0
    assert json.loads((out / "metrics.json").read_text()) == content
    assert "Mean cost" in (out / "report.html").read_text()
    assert hamcv("ensemble", out, "--costs", "none", "--combiners", "stack").code == 0
    assert read_config(out / "config.toml").ensemble.costs is None
    assert set(json.loads((out / "metrics.json").read_text())["decisions"]["stack"]) == {"max_probability", "balanced"}


def test_a_run_without_clinical_values_leaves_out_the_ensemble_that_needs_them(
    hamcv: Hamcv, tiny_run: Path, tmp_path: Path
) -> None:
    """As a run that was made before such values were kept."""
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out, ignore=shutil.ignore_patterns("metadata.csv", "figures"))
    screen = hamcv("ensemble", out, "--combiners", "soft_vote,greedy,stack,stack_meta")
    assert screen.code == 0, screen.err
    assert "stack_meta is left out" in screen.err
    before, after = (json.loads((run / "metrics.json").read_text())["models"] for run in (tiny_run, out))
    assert after.keys() == before.keys()
    assert after["stack"] == before["stack"]


def test_report_writes_only_the_format_asked_for(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    assert (out / "report.html").exists()
    assert hamcv("report", out, "--format", "pdf").code == 0
    # Its numbers could be others.
    assert not (out / "report.html").exists()
    assert (out / "report.pdf").exists()
    assert hamcv("report", out, "--format", "docx").code == 2


def test_report_draws_the_gallery_again_or_removes_it(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    before = {path.name: path.read_bytes() for path in (out / "gallery").iterdir()}
    assert "error-01.jpg" in before
    assert hamcv("report", out, "--format", "html", "--gallery", "0").code == 0
    assert not (out / "gallery").exists()
    page = (out / "report.html").read_text()
    assert "report.gallery = 0" in page
    assert "data:image/jpeg" not in page
    assert read_config(out / "config.toml").report.gallery == 0
    assert hamcv("report", out, "--format", "html", "--gallery", "12").code == 0
    assert {path.name: path.read_bytes() for path in (out / "gallery").iterdir()} == before
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg") == len(before) - 1
    # Fewer need no new training, and other settings of the run are as they were.
    assert hamcv("report", out, "--format", "html", "--gallery", "1").code == 0
    assert differences(read_config(tiny_run / "config.toml"), read_config(out / "config.toml")) == [
        "report.gallery: 12 -> 1"
    ]


def test_a_gallery_needs_images_and_weights(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    config = out / "config.toml"
    before = config.read_text()
    for lost in (out / "jobs" / "squeezenet1_1").glob("fold-*/model.safetensors"):
        lost.unlink()
    screen = hamcv("report", out, "--gallery", "3")
    assert screen.code == 3
    assert "model.safetensors: the weights are missing" in screen.err
    assert "--gallery 3" not in config.read_text()
    config.write_text(before.replace(read_config(config).data, str(tmp_path / "gone")))
    screen = hamcv("report", out, "--gallery", "3")
    assert screen.code in (2, 3)
    assert "gone" in screen.err
    # Without asking for a new one, the gallery that is there is shown.
    assert hamcv("report", out, "--format", "html").code == 0
    assert "data:image/jpeg" in (out / "report.html").read_text()


def test_predict_answers_what_it_can_and_names_the_rest(
    hamcv: Hamcv, tiny_run: Path, small_data: Path, tmp_path: Path
) -> None:
    good = open_dataset(str(small_data)).paths[0]
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(good.read_bytes()[:1500])
    screen = hamcv("predict", tiny_run, text, good, cut, tmp_path / "absent.jpg", "--device", "cpu")
    assert screen.code == 3
    assert all(name in screen.err for name in ("text.jpg", "cut.jpg", "absent.jpg"))
    rows = list(csv.DictReader(StringIO(screen.out)))
    assert [row["image"] for row in rows] == [str(good)]
    predictor = EnsemblePredictor.load(tiny_run, device="cpu")
    expected = predictor.predict_proba(good)[0]
    shown = [float(rows[0][name]) for name in predictor.classes_.tolist()]
    np.testing.assert_array_equal(shown, expected)
    assert rows[0]["label"] == predictor.predict(good)[0]
    assert rows[0]["label"] in rows[0]["prediction_set"].split()
    told = predictor.explain(good)
    assert told.distance is not None
    assert [float(rows[0][name]) for name in ("mutual_information", "vote_entropy", "distance")] == [
        told.mutual_information,
        told.vote_entropy,
        told.distance,
    ]
    assert rows[0]["warning"] == (told.warning or "")


def test_predict_takes_folders_and_patterns_and_names_those_without_an_image(
    hamcv: Hamcv, tiny_run: Path, small_data: Path, tmp_path: Path
) -> None:
    first, second = open_dataset(str(small_data)).paths[:2]
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "none").mkdir()
    shutil.copy(first, tmp_path / "in" / "b.JPG")
    shutil.copy(second, tmp_path / "in" / "deep" / "a.jpg")
    (tmp_path / "in" / "notes.txt").write_text("no image by name")
    (tmp_path / "in" / "cut.jpg").write_bytes(first.read_bytes()[:1500])
    pattern = tmp_path / "in" / "**" / "a*.jp*g"
    screen = hamcv("predict", tiny_run, tmp_path / "in", pattern, tmp_path / "none", tmp_path / "*.png")
    assert screen.code == 3
    rows = list(csv.DictReader(StringIO(screen.out)))
    deep = str(tmp_path / "in" / "deep" / "a.jpg")
    assert [row["image"] for row in rows] == [str(tmp_path / "in" / "b.JPG"), deep, deep]
    assert rows[1] == rows[2]
    assert "3 without an answer" in screen.err
    assert all(word in screen.err for word in ("none: no image below", "*.png: the pattern matches", "cut.jpg"))
    assert "notes.txt" not in screen.err
    assert hamcv("predict", tiny_run, tmp_path / "*.png").code == 3


def test_predict_writes_a_file(hamcv: Hamcv, tiny_run: Path, small_data: Path, tmp_path: Path) -> None:
    paths = open_dataset(str(small_data)).paths[:2]
    options = ("--output", tmp_path / "answers.csv", "--tta", "2", "--spins", "1")
    screen = hamcv("predict", tiny_run / "predictor", *paths, *options)
    assert screen.code == 0
    assert pd.read_csv(tmp_path / "answers.csv")["image"].tolist() == [str(path) for path in paths]


def test_data_info_prints_what_was_understood(hamcv: Hamcv, small_data: Path, tmp_path: Path) -> None:
    screen = hamcv("data", "info", small_data)
    assert screen.code == 0
    assert "84 images of 60 lesions" in screen.out
    assert re.search(r"200x150 +84\b", screen.out)
    data = tmp_path / "data"
    shutil.copytree(small_data, data)
    broken = next(data.rglob("*.jpg"))
    broken.write_bytes(broken.read_bytes()[:900])
    screen = hamcv("data", "info", data)
    assert screen.code == 3
    assert broken.name in screen.err


def test_data_demo_writes_a_set_that_stays_a_demo(hamcv: Hamcv, tmp_path: Path) -> None:
    screen = hamcv("data", "demo", tmp_path / "demo")
    assert screen.code == 0
    assert "DEMO SET" in screen.out
    assert "420 images of 300 lesions" in screen.out
    assert hamcv("data", "demo", tmp_path / "demo").code == 2


def test_folds_are_those_of_a_run(hamcv: Hamcv, tiny_run: Path, small_data: Path, tmp_path: Path) -> None:
    screen = hamcv("folds", "--data", small_data, "--out", tmp_path / "folds.csv", "--folds", "3")
    assert screen.code == 0
    assert (tmp_path / "folds.csv").read_bytes() == (tiny_run / "folds.csv").read_bytes()


def test_doctor_names_what_is_missing(hamcv: Hamcv, monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version

    def without(name: str) -> str:
        if name in ("onnxscript", "tensorboard"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    screen = hamcv("doctor")
    assert screen.code == 0
    assert "only for hamcv export --onnx: pip install 'hamcv[onnx]'" in screen.out, "one package of three is missing"
    assert "only for --tensorboard: pip install 'hamcv[tensorboard]'" in screen.out
    assert "torchvision" in screen.out
    assert "resnet50-" in screen.out
