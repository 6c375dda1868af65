from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tomllib
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest_runs import carry_out
from PIL import Image
from processes import children, command_line, wait_for
from rich.console import Console
from sklearn import metrics

from cv_folds.clinical import ClinicalTable
from cv_folds.errors import JobFailedError, RunFolderBusyError, UsageError
from cv_folds.out_of_fold import FoldLogits
from cv_folds.training.record import job_folder, read_record
from ensemble import EnsemblePredictor
from ensemble.settings import EnsembleSettings
from hamcv.combining import combine_again
from hamcv.config import resolve
from hamcv.job import prepare, run_job_alone
from hamcv.run_config import RunConfig
from hamcv.run_folder import open_run_folder
from hamcv.sources import open_dataset


def test_a_run_leaves_what_the_contract_names(tiny_run: Path, tiny_config: RunConfig) -> None:
    names = {path.name for path in tiny_run.iterdir()}
    assert names >= {
        "config.toml", "run.json", "log.jsonl", "folds.csv", "metadata.csv", "training_images.csv", "audit.json",
        "jobs", "predictions.csv", "warnings.csv", "metrics.json", "report.html", "figures", "tables",
        "gallery", "predictor",
    }  # fmt: skip
    for backbone in tiny_config.backbones:
        for fold in range(tiny_config.folds):
            inside = {path.name for path in job_folder(tiny_run, backbone, fold).iterdir()}
            assert inside == {
                "model.safetensors", "oof.npz", "history.csv", "job.json", "features.safetensors",
                "appearance.safetensors", "distances.npz",
            }  # fmt: skip
    record = json.loads((tiny_run / "run.json").read_text())
    assert record["status"] == "done"
    assert record["data"]["demo"] is True
    assert {job["status"] for job in record["jobs"]} == {"done"}
    stages = {"audit", "decode", "folds", "train", "ensemble", "evaluate", "predictor", "gallery", "report"}
    assert set(record["seconds"]) == stages
    assert record["device"].keys() == {"kind", "name", "threads", "side_by_side", "cores", "memory_mib"}
    assert all(json.loads(line)["message"] for line in (tiny_run / "log.jsonl").read_text().splitlines())


def test_every_image_is_predicted_once_by_models_that_had_not_seen_its_lesion(tiny_run: Path, small_data: Path) -> None:
    dataset = open_dataset(str(small_data))
    folds = pd.read_csv(tiny_run / "folds.csv", dtype=str, keep_default_na=False)
    predictions = pd.read_csv(tiny_run / "predictions.csv", dtype=str, keep_default_na=False)
    assert list(folds.columns) == ["image_id", "lesion_id", "group", "label", "fold"]
    assert folds["image_id"].tolist() == dataset.image_ids.tolist() == predictions["image_id"].tolist()
    clinical = ClinicalTable.read_csv(tiny_run / "metadata.csv")
    assert clinical.image_ids.tolist() == dataset.image_ids.tolist()
    np.testing.assert_array_equal(clinical.ages, dataset.ages)
    assert folds.groupby("group")["fold"].nunique().max() == 1
    assert folds.groupby("lesion_id")["fold"].nunique().max() == 1


def test_metrics_agree_with_scikit_learn_on_the_predictions(tiny_run: Path, tiny_config: RunConfig) -> None:
    content = json.loads((tiny_run / "metrics.json").read_text())
    classes = content["classes"]
    frame = pd.read_csv(tiny_run / "predictions.csv", keep_default_na=False)
    truth = frame["label"].to_numpy()
    assert set(content["models"]) == {*tiny_config.backbones, *tiny_config.ensemble.combiners}
    for model, scores in content["models"].items():
        rows = frame[[f"{model}/{name}" for name in classes]].to_numpy(dtype=float)
        np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-12)
        named = np.array(classes)[rows.argmax(axis=1)]
        hot = (truth[:, None] == np.array(classes)).astype(float)
        expected = {
            "accuracy": metrics.accuracy_score(truth, named),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, named),
            "macro_f1": metrics.f1_score(truth, named, labels=classes, average="macro", zero_division=0),
            "weighted_f1": metrics.f1_score(truth, named, labels=classes, average="weighted", zero_division=0),
            "macro_auc": metrics.roc_auc_score(truth, rows, labels=classes, multi_class="ovr", average="macro"),
            "log_loss": metrics.log_loss(truth, rows, labels=classes),
            "brier": ((rows - hot) ** 2).sum(axis=1).mean(),
            "kappa": metrics.cohen_kappa_score(truth, named),
        }
        for metric, value in expected.items():
            assert scores["overall"][metric]["value"] == pytest.approx(value, rel=0, abs=1e-9), (model, metric)
        for column, name in enumerate(classes):
            of_class = scores["per_class"][name]
            auc = metrics.roc_auc_score(hot[:, column], rows[:, column])
            precision = metrics.average_precision_score(hot[:, column], rows[:, column])
            brier = metrics.brier_score_loss(hot[:, column], rows[:, column])
            assert of_class["auc"]["value"] == pytest.approx(auc, rel=0, abs=1e-9)
            assert of_class["average_precision"]["value"] == pytest.approx(precision, rel=0, abs=1e-9)
            assert of_class["brier"]["value"] == pytest.approx(brier, rel=0, abs=1e-9)
            assert of_class["support"]["value"] == hot[:, column].sum()


def test_the_same_seed_gives_the_same_predictions_to_the_bit(
    tiny_run: Path, tiny_config: RunConfig, tmp_path: Path
) -> None:
    carry_out(tiny_config, tmp_path / "again")
    assert (tmp_path / "again" / "predictions.csv").read_bytes() == (tiny_run / "predictions.csv").read_bytes()
    assert (tmp_path / "again" / "metrics.json").read_bytes() == (tiny_run / "metrics.json").read_bytes()


def test_a_stored_config_repeats_the_run(tiny_run: Path, tiny_config: RunConfig) -> None:
    assert resolve(str(tiny_run / "config.toml"), {}) == tiny_config
    assert tomllib.loads((tiny_run / "config.toml").read_text())["training"]["epochs"] == 2


def test_resuming_trains_only_what_is_missing(tiny_run: Path, tiny_config: RunConfig, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("jobs/*/*/model.safetensors")}
    lost = job_folder(out, "squeezenet1_1", 1)
    (lost / "job.json").unlink()
    carry_out(tiny_config, out)
    again = {path for path, time_ns in kept.items() if path.stat().st_mtime_ns != time_ns}
    assert again == {lost / "model.safetensors"}
    assert (out / "predictions.csv").read_bytes() == (tiny_run / "predictions.csv").read_bytes()


def test_other_settings_are_refused_with_the_difference(tiny_run: Path, tiny_config: RunConfig) -> None:
    other = tiny_config.model_copy(update={"seed": 7})
    before = (tiny_run / "config.toml").read_bytes()
    with pytest.raises(UsageError, match=r"seed: 0 -> 7(.|\n)*--overwrite"):
        carry_out(other, tiny_run)
    assert (tiny_run / "config.toml").read_bytes() == before


def test_other_data_than_finished_jobs_were_trained_on_are_refused(
    tiny_run: Path, tiny_config: RunConfig, tmp_path: Path
) -> None:
    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(tiny_config.data, data)
    shutil.copytree(tiny_run, out, ignore=shutil.ignore_patterns("figures", "gallery", "tables"))
    config = tiny_config.model_copy(update={"data": str(data)})
    (out / "config.toml").write_text(config.to_toml())
    console = Console(file=StringIO())
    assert prepare(config, out, overwrite=False, console=console).n_jobs == 6
    changed = next(data.rglob("*.jpg"))
    content = changed.read_bytes()
    smaller = BytesIO()
    with Image.open(changed) as picture:
        picture.save(smaller, "jpeg", quality=10)
    changed.write_bytes(smaller.getvalue().ljust(len(content), b"\0"))
    with pytest.raises(UsageError, match=rf"began with other files of these images.*--overwrite:\n  {changed.stem}"):
        carry_out(config, out)
    changed.write_bytes(content + b"\0")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for retry in (
        lambda: prepare(config, out, overwrite=False, console=console),
        lambda: carry_out(config, out),
        lambda: run_job_alone(out, 4, console),
    ):
        with pytest.raises(UsageError, match=r"ended with other data; choose .*remove these folders .*(\n.*)*/fold-2"):
            retry()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    for record in out.glob("jobs/*/*/job.json"):
        earlier = json.loads(record.read_text())
        # As an earlier version wrote it.
        del earlier["made_of"]
        record.write_text(json.dumps(earlier))
    with pytest.raises(UsageError, match=r"6 trainings, 6 ended with other data, folds, weights or another version of"):
        carry_out(config, out)


def test_a_run_that_was_combined_in_another_way_goes_on_without_training(
    tiny_run: Path, tiny_config: RunConfig, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    trained = {path: path.stat().st_mtime_ns for path in out.glob("jobs/*/*/*")}
    combine_again(out, {"ensemble.combiners": ["soft_vote"], "ensemble.deployed": "soft_vote"})
    combine_again(out, {"ensemble.calibration": "none"})
    assert (out / "predictions.csv").read_bytes() != (tiny_run / "predictions.csv").read_bytes()
    assert resolve(str(out / "config.toml"), {}).ensemble.combiners == ("soft_vote",)
    fewer = tiny_config.report.model_copy(update={"resamples": 100, "gallery": 0})
    carry_out(tiny_config.model_copy(update={"report": fewer}), out)
    assert "scored and reported anew with report.resamples: " in (out / "log.jsonl").read_text()
    assert resolve(str(out / "config.toml"), {}).report.resamples == 100
    carry_out(tiny_config, out)
    assert {path: path.stat().st_mtime_ns for path in out.glob("jobs/*/*/*")} == trained
    for name in ("config.toml", "predictions.csv", "predictions-uncalibrated.csv", "metrics.json"):
        assert (out / name).read_bytes() == (tiny_run / name).read_bytes(), name
    assert "combined anew with ensemble.calibration: none -> temperature" in (out / "log.jsonl").read_text()
    # What a training depends on is still refused, and only that is named.
    other = tiny_config.model_copy(update={"seed": 7, "ensemble": EnsembleSettings(calibration="vector")})
    with pytest.raises(UsageError) as caught:
        carry_out(other, out)
    assert "seed: 0 -> 7" in str(caught.value)
    assert "vector" not in str(caught.value)


def test_overwrite_starts_afresh_and_a_foreign_folder_is_left_alone(tiny_config: RunConfig, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with open_run_folder(out, tiny_config, overwrite=False) as begin:
        begin()
        (out / "jobs").mkdir()
    with open_run_folder(out, tiny_config.model_copy(update={"seed": 1}), overwrite=True) as begin:
        assert (out / "jobs").exists()
        begin()
        assert not (out / "jobs").exists()
    with open_run_folder(tmp_path / "never", tiny_config, overwrite=False):
        pass
    assert not (tmp_path / "never").exists()
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.txt").write_text("mine")
    with (
        pytest.raises(UsageError, match=r"holds chapter\.txt and no run"),
        open_run_folder(mine, tiny_config, overwrite=True),
    ):
        pass
    assert (mine / "chapter.txt").read_text() == "mine"


def test_a_folder_in_use_is_refused(tiny_config: RunConfig, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'a+'); fcntl.lockf(f, fcntl.LOCK_EX); "
        "print('held', flush=True); time.sleep(60)"
    )
    out.mkdir()
    with subprocess.Popen([sys.executable, "-c", code, str(out / ".lock")], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunFolderBusyError, match="in use"), open_run_folder(out, tiny_config, overwrite=True):
            pass
        holder.kill()


def test_the_predictor_repeats_the_out_of_fold_logits(tiny_run: Path, small_data: Path) -> None:
    dataset = open_dataset(str(small_data))
    paths = dict(zip(dataset.image_ids.tolist(), dataset.paths, strict=True))
    predictor = EnsemblePredictor.load(tiny_run, device="cpu")
    assert predictor.classes_.tolist() == list(dataset.classes)
    for column, backbone in enumerate(predictor.bundle.manifest.combiner.backbones):
        stored = FoldLogits.load(job_folder(tiny_run, backbone, 2) / "oof.npz")
        images = [paths[name] for name in stored.image_ids.tolist()[:5]]
        np.testing.assert_allclose(predictor.member_logits(images)[:, 2, column], stored.logits[:5], atol=1e-4)


def test_a_failing_job_does_not_stop_the_others(tiny_config: RunConfig, tmp_path: Path) -> None:
    config = tiny_config.model_copy(update={"folds": 2})
    blocked = job_folder(tmp_path / "run", "squeezenet1_1", 0)
    with open_run_folder(tmp_path / "run", config, overwrite=False) as begin:
        begin()
        blocked.parent.mkdir(parents=True)
        blocked.write_text("a file where the job wants its folder")
    with pytest.raises(JobFailedError, match=r"1 of 4 jobs failed(.|\n)*squeezenet1_1, fold 0"):
        carry_out(config, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "failed"
    assert [job["status"] for job in record["jobs"]].count("done") == 3
    blocked.unlink()
    carry_out(config, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "done"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_and_its_workers(number: int, code: int, small_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable, "-m", "hamcv", "run", "--data", str(small_data), "--out", str(out), "--weights", "none",
        "--backbones", "shufflenet_v2_x0_5", "--image-size", "32", "--epochs", "5000", "--folds", "2", "--jobs", "2",
        "--set", "training.patience=5000",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=tmp_path) as process:
        wait_for(lambda: any(out.glob("jobs/*/*/history.csv")))
        workers = children(process.pid)
        assert workers
        process.send_signal(number)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == code
    assert b"Traceback" not in errors
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    wait_for(lambda: not any(command_line(worker) for worker in workers))
    assert read_record(out / "jobs" / "shufflenet_v2_x0_5" / "fold-0") is None


def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_predictions(
    tiny_run: Path, tiny_config: RunConfig, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    (tmp_path / "config.toml").write_text(tiny_config.to_toml())
    command = [sys.executable, "-m", "hamcv", "run", "--recipe", str(tmp_path / "config.toml"), "--out", str(out)]
    command += ["--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=tmp_path) as process:
        # They are there between the first epoch of a job and its end, which may be a tenth of a second.
        wait_for(lambda: any(out.glob("jobs/*/*/checkpoints/step-*.safetensors")), look_every=0.005)
        workers = children(process.pid)
        process.kill()
    wait_for(lambda: not any(command_line(worker) for worker in workers))
    assert not (out / "predictions.csv").exists()
    carry_out(tiny_config, out)
    for name in ("predictions.csv", "metrics.json"):
        assert (out / name).read_bytes() == (tiny_run / name).read_bytes()
    assert not list(out.glob("jobs/*/*/checkpoints"))


def test_tensorboard_files_lie_in_the_job_folders(tiny_config: RunConfig, tmp_path: Path) -> None:
    carry_out(tiny_config, tmp_path / "run", tensorboard=True)
    folders = {path.parent for path in (tmp_path / "run").glob("jobs/*/*/tensorboard/events.*")}
    assert len(folders) == 6
