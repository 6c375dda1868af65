from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cv_folds_samples import job_spec, small_folds
from safetensors.torch import load_file

from cv_folds.arrays import frozen
from cv_folds.errors import JobFailedError, UsageError
from cv_folds.files import sha256
from cv_folds.out_of_fold import FoldLogits
from cv_folds.splits import inner_split
from cv_folds.training import job_spec as job_spec_module
from cv_folds.training import jobs, trained_job
from cv_folds.training.backbones import build_backbone, count_parameters
from cv_folds.training.features import FeatureStatistics
from cv_folds.training.fold_distances import FoldDistances
from cv_folds.training.job_spec import MADE_OF, JobSpec
from cv_folds.training.jobs import finished, run_job
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.predict import predict_features, predict_logits
from cv_folds.training.progress_file import PROGRESS_FILE
from cv_folds.training.record import job_folder, read_record, verified_record
from cv_folds.training.settings import PhaseSettings, TrainingSettings
from cv_folds.training.store import ResidentPixels
from cv_folds.training.view import ImageView
from cv_folds.training.weights import WeightsFile

FILES = {
    "model.safetensors",
    "oof.npz",
    "history.csv",
    "features.safetensors",
    "appearance.safetensors",
    "distances.npz",
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> JobSpec:
    torch.set_num_threads(1)
    spec = job_spec(tmp_path_factory.mktemp("done"))
    run_job(spec)
    return spec


@pytest.fixture(scope="module")
def pair(done: JobSpec) -> JobSpec:
    """A job beside it that holds out another fold too."""
    spec = replace(done, second=2)
    run_job(spec)
    return spec


@pytest.fixture
def copy(done: JobSpec, tmp_path: Path) -> JobSpec:
    """The finished job in a folder of its own."""
    spec = replace(done, run=tmp_path / "run")
    spec.folder.mkdir(parents=True)
    for path in done.folder.iterdir():
        (spec.folder / path.name).write_bytes(path.read_bytes())
    return spec


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry a training."""
    calls: list[str] = []
    fit = trained_job.fit

    def counting(*args, **kwargs):
        calls.append("fit")
        return fit(*args, **kwargs)

    monkeypatch.setattr(trained_job, "fit", counting)
    return calls


def test_the_folder_holds_the_files_of_the_contract(done):
    assert done.folder == done.run / "jobs" / "shufflenet_v2_x0_5" / "fold-1"
    assert {path.name for path in done.folder.iterdir()} == FILES | {"job.json"}


def test_the_umask_decides_who_may_read_the_files(tmp_path):
    before = os.umask(0o027)
    try:
        jobs._write_model(tmp_path / "model.safetensors", torch.nn.Linear(2, 3))
    finally:
        os.umask(before)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o640
    assert set(load_file(tmp_path / "model.safetensors")) == {"weight", "bias"}


def test_the_record_has_the_outside_shape(done):
    content = json.loads((done.folder / "job.json").read_text())
    split = inner_split(done.folds, 1, parts=8, seed=0)
    expected = {
        "schema": 1,
        "backbone": "shufflenet_v2_x0_5",
        "fold": 1,
        "seed": 0,
        "settings_digest": done.digest(),
        "made_of": done.made_of(),
        "epochs_run": 2,
        "n_train": len(split.train),
        "n_validation": len(split.validation),
        "n_held_out": 30,
        "parameters": count_parameters(build_backbone(done.backbone, 3, image_size=32)),
        "precision": "float32",
        "device": "cpu",
        "batch_size": 16,
        "micro_batch": 16,
        "resumed": 0,
        "files": {name: sha256(done.folder / name) for name in FILES},
    }
    measured = {"best_epoch", "seconds", "images_per_second", "peak_memory_mib"}
    assert content.keys() == expected.keys() | measured
    assert {key: content[key] for key in expected} == expected
    assert content["best_epoch"] in (1, 2)
    assert all(content[name] > 0 for name in measured)
    assert len(split.train) + len(split.validation) + 30 == 90


def test_the_history_has_a_row_an_epoch(done):
    with (done.folder / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        "epoch",
        "phase",
        "learning_rate",
        "train_loss",
        "validation_loss",
        "validation_balanced_accuracy",
        "validation_weighted_loss",
        "validation_macro_f1",
        "weights",
        "seconds",
        "images_per_second",
    ]
    assert [row["epoch"] for row in rows] == ["1", "2"]
    best = min(rows, key=lambda row: float(row["validation_loss"]))
    assert read_record(done.folder).best_epoch == int(best["epoch"])


def test_the_speed_is_that_of_all_epochs_together(done):
    with (done.folder / "history.csv").open(newline="") as stream:
        speeds = [float(row["images_per_second"]) for row in csv.DictReader(stream)]
    # Each epoch shows as many images.
    expected = len(speeds) / sum(1 / speed for speed in speeds)
    assert read_record(done.folder).images_per_second == pytest.approx(expected, rel=1e-9)


def test_the_logits_are_those_of_the_stored_model_for_the_held_out_fold(done):
    part = FoldLogits.load(done.folder / "oof.npz")
    held_out = np.flatnonzero(done.folds.folds == 1)
    assert (part.backbone, part.fold, part.classes) == (done.backbone, 1, done.folds.classes)
    assert part.image_ids.tolist() == done.folds.image_ids[held_out].tolist()
    model = build_backbone(done.backbone, 3, image_size=32)
    model.load_state_dict(load_file(done.folder / "model.safetensors"))
    rows = torch.from_numpy(held_out)
    view = ImageView(ResidentPixels(torch.from_numpy(np.load(done.pixels))), rows, torch.zeros(len(rows)))
    np.testing.assert_allclose(
        part.logits, predict_logits(model, view, batch_size=30, normalisation=IMAGENET), rtol=1e-4, atol=1e-5
    )


def test_the_same_job_gives_the_same_bytes(done, tmp_path):
    again = run_job(replace(done, run=tmp_path))
    for name in ("model.safetensors", "oof.npz"):
        assert again.files[name] == read_record(done.folder).files[name]


def test_the_callers_random_numbers_are_left_alone(done, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    run_job(replace(done, run=tmp_path, settings=done.settings.model_copy(update={"epochs": 1})))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("changed", ["labels", "pixels"])
def test_the_held_out_fold_does_not_move_the_weights(done, tmp_path, changed):
    rng = np.random.default_rng(0)
    inside = done.folds.folds == done.fold
    spec = replace(done, run=tmp_path / "run")
    if changed == "labels":
        labels = done.folds.labels.copy()
        labels[inside] = rng.permutation(labels[inside])
        assert (labels != done.folds.labels).any()
        spec = replace(spec, folds=replace(done.folds, labels=frozen(labels)))
    else:
        pixels = np.load(done.pixels)
        pixels[inside] = rng.integers(0, 256, pixels[inside].shape)
        np.save(tmp_path / "pixels.npy", pixels)
        spec = replace(spec, pixels=tmp_path / "pixels.npy")
    before, after = read_record(done.folder), run_job(spec)
    assert after.files["model.safetensors"] == before.files["model.safetensors"]
    assert after.best_epoch == before.best_epoch
    assert (after.files["oof.npz"] == before.files["oof.npz"]) is (changed == "labels")


def test_a_job_that_holds_out_two_folds_has_a_folder_and_a_name_of_its_own(pair, done):
    assert pair.folder == done.run / "jobs" / "shufflenet_v2_x0_5" / "fold-1-2"
    assert pair.name == "shufflenet_v2_x0_5, folds 1 and 2"
    # Never deployed, it says nothing of how strange an image is.
    wanted = {"model.safetensors", "oof.npz", "history.csv", "job.json"}
    assert {path.name for path in pair.folder.iterdir()} == wanted
    record = read_record(pair.folder)
    assert (record.fold, record.second) == (1, 2)
    assert read_record(done.folder).second is None
    assert (record.n_held_out, record.n_train + record.n_validation) == (60, 30)
    assert verified_record(pair.folder) == finished(pair) == record


def test_it_predicts_both_folds_and_no_other(pair):
    part = FoldLogits.load(pair.folder / "oof.npz")
    assert part.held_out == (1, 2)
    assert part.image_ids.tolist() == pair.folds.image_ids[pair.folds.folds != 0].tolist()
    model = build_backbone(pair.backbone, 3, image_size=32)
    model.load_state_dict(load_file(pair.folder / "model.safetensors"))
    rows = torch.from_numpy(np.flatnonzero(pair.folds.folds != 0))
    view = ImageView(ResidentPixels(torch.from_numpy(np.load(pair.pixels))), rows, torch.zeros(len(rows)))
    np.testing.assert_allclose(
        part.logits, predict_logits(model, view, batch_size=30, normalisation=IMAGENET), rtol=1e-4, atol=1e-5
    )


def test_neither_of_its_folds_moves_the_weights(pair, tmp_path):
    rng = np.random.default_rng(0)
    pixels, labels = np.load(pair.pixels), pair.folds.labels.copy()
    for fold in (1, 2):
        inside = pair.folds.folds == fold
        pixels[inside] = rng.integers(0, 256, pixels[inside].shape)
        labels[inside] = rng.permutation(labels[inside])
    np.save(tmp_path / "pixels.npy", pixels)
    folds = replace(pair.folds, labels=frozen(labels))
    before, after = (
        read_record(pair.folder),
        run_job(replace(pair, run=tmp_path / "run", folds=folds, pixels=tmp_path / "pixels.npy")),
    )
    assert after.files["model.safetensors"] == before.files["model.safetensors"]
    assert after.best_epoch == before.best_epoch


@pytest.mark.parametrize("which", ["train", "validation"])
def test_the_other_folds_do_move_the_outcome(done, tmp_path, which):
    # Otherwise the test above would pass for a model that learns nothing.
    rows = getattr(inner_split(done.folds, done.fold, parts=8, seed=done.seed), which)
    pixels = np.load(done.pixels)
    pixels[rows] = 255 - pixels[rows]
    np.save(tmp_path / "pixels.npy", pixels)
    spec = replace(done, run=tmp_path / "run", pixels=tmp_path / "pixels.npy")
    record = run_job(spec)
    assert validation_losses(spec) != validation_losses(done)
    if which == "train":
        assert record.files["model.safetensors"] != read_record(done.folder).files["model.safetensors"]


def validation_losses(spec: JobSpec) -> list[str]:
    with (spec.folder / "history.csv").open(newline="") as stream:
        return [row["validation_loss"] for row in csv.DictReader(stream)]


def test_a_finished_job_is_not_repeated(copy, fits):
    times = {path.name: path.stat().st_mtime_ns for path in copy.folder.iterdir()}
    assert run_job(copy) == read_record(copy.folder)
    assert fits == []
    assert {path.name: path.stat().st_mtime_ns for path in copy.folder.iterdir()} == times


@pytest.mark.parametrize("name", sorted(FILES | {"job.json"}))
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_job_is_not_finished(copy, name, damage):
    path = copy.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    if damage == "flip":
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
    assert verified_record(copy.folder) is None
    assert finished(copy) is None


def test_a_whole_job_is_verified_whatever_its_settings(copy):
    other = replace(copy, seed=copy.seed + 1)
    assert verified_record(copy.folder) == verified_record(other.folder) == read_record(copy.folder)
    assert finished(other) is None


def test_a_damaged_job_runs_again_to_the_same_end(copy, fits):
    before = read_record(copy.folder)
    path = copy.folder / "oof.npz"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    after = run_job(copy)
    assert fits == ["fit"]
    assert after.files["oof.npz"] == before.files["oof.npz"] == sha256(path)
    assert finished(copy) == after


@pytest.mark.parametrize("content", ["", "[]", "null", "3", "{}", '{"schema": 1}', '{"schema": 1, "fold": "x"', "\xff"])
def test_a_record_that_is_none(tmp_path, content):
    (tmp_path / "job.json").write_bytes(content.encode("latin-1"))
    assert read_record(tmp_path) is None


def test_a_record_that_lists_no_files_is_not_finished(copy):
    path = copy.folder / "job.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": {}}))
    assert verified_record(copy.folder) is None
    assert finished(copy) is None


@pytest.mark.parametrize("step", ["fit", "_write_model", "write_json"])
def test_an_interrupted_job_is_not_finished_and_can_run_again(copy, monkeypatch, step):
    changed = replace(copy, seed=copy.seed + 1, settings=copy.settings.model_copy(update={"epochs": 1}))

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trained_job if step == "fit" else jobs, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_job(changed)
    # What an older run left may not speak for the new one.
    assert not (changed.folder / "job.json").exists()
    assert finished(changed) is None
    assert finished(copy) is None
    assert not list(changed.folder.glob("*.partial*"))
    assert run_job(changed) == finished(changed)


def test_the_record_is_written_last(copy, monkeypatch):
    there: list[set[str]] = []
    write_json = jobs.write_json

    def looking(path, content):
        there.append({name for name in content["files"] if sha256(path.with_name(name)) == content["files"][name]})
        write_json(path, content)

    monkeypatch.setattr(jobs, "write_json", looking)
    run_job(replace(copy, seed=9, settings=copy.settings.model_copy(update={"epochs": 1})))
    assert there == [FILES]


def test_a_watcher_can_read_where_the_training_stands(copy, monkeypatch):
    seen: list[dict[str, float]] = []
    write_history = trained_job.write_history

    def looking(path, rows):
        seen.append(json.loads((path.parent / PROGRESS_FILE).read_text()))
        write_history(path, rows)

    monkeypatch.setattr(trained_job, "write_history", looking)
    run_job(replace(copy, seed=3))
    assert [(progress["epoch"], progress["step"]) for progress in seen] == [
        (1, seen[0]["steps"]),
        (2, seen[0]["steps"]),
    ]
    assert all(
        progress.keys() == {"epoch", "step", "steps", "images_per_second", "validation_loss"} for progress in seen
    )
    assert not (copy.folder / PROGRESS_FILE).exists()


def test_a_progress_file_that_cannot_be_written_does_not_stop_the_training(copy):
    (copy.folder / PROGRESS_FILE).mkdir()
    changed = replace(copy, seed=4, settings=copy.settings.model_copy(update={"epochs": 1}))
    assert run_job(changed) == finished(changed)
    assert [path.name for path in copy.folder.glob("progress.*")] == [PROGRESS_FILE]


def test_a_failed_job_leaves_no_progress_behind(copy, monkeypatch):
    def fail(path, rows):
        assert (copy.folder / PROGRESS_FILE).exists()
        (copy.folder / f"progress.{os.getpid()}").touch()
        raise JobFailedError("as if")

    monkeypatch.setattr(trained_job, "write_history", fail)
    with pytest.raises(JobFailedError, match="as if"):
        run_job(replace(copy, seed=5))
    assert not list(copy.folder.glob("progress.*"))


def test_the_digest_follows_everything_that_decides_the_outcome(tmp_path):
    weights = WeightsFile(backbone="x", path=tmp_path / "w.pth", sha256="a" * 64)
    spec = job_spec(tmp_path, weights=weights)
    moved = small_folds()
    deeper = spec.settings.augmentation.model_copy(update={"rotation": 10.0})
    decisive = [
        replace(spec, backbone="squeezenet1_1"),
        replace(spec, fold=2),
        replace(spec, second=2),
        replace(spec, fold=0, second=1),
        replace(spec, fold=0, second=2),
        replace(spec, folds=replace(moved, folds=frozen((moved.folds + 1) % 3))),
        replace(spec, folds=replace(moved, groups=frozen([f"merged {group}" for group in moved.groups]))),
        replace(spec, fingerprint="e" * 64),
        replace(spec, seed=1),
        replace(spec, weights=None),
        replace(spec, weights=replace(weights, sha256="b" * 64)),
        replace(spec, settings=spec.settings.model_copy(update={"augmentation": deeper})),
        *(
            replace(spec, settings=spec.settings.model_copy(update={name: value}))
            for name, value in TrainingSettings(
                image_size=33, epochs=9, patience=1, batch_size=5, learning_rate=0.5, learning_rate_from_scratch=0.5,
                weight_decay=0.5, schedule="cosine", warmup=0.5, label_smoothing=0.5, gradient_clip=0.5,
                resampling="over", validation_parts=3, batch_norm_momentum=0.5, precision="bfloat16",
                resampling_exponent=0.5, mixup=0.5, cutmix=0.5, ema_decay=0.5, compile=True, monitor="last",
                phases=(PhaseSettings(epochs=2, learning_rate=0.1),), optimiser="sgd", momentum=0.5, nesterov=True,
                loss="focal", focal_gamma=1.0, class_weights="balanced", normalisation="data", validation_spins=2,
                held_out_spins=2,
            )
            if name != "augmentation"
        ),
    ]  # fmt: skip
    digests = {other.digest() for other in decisive} | {spec.digest()}
    assert len(digests) == len(decisive) + 1

    in_the_name = {"backbone", "fold", "second"}
    assert {key for _, keys in MADE_OF.values() for key in keys} | in_the_name >= spec._parts().keys()
    assert replace(spec, second=2)._parts().keys() <= spec._parts().keys() | in_the_name

    def differing(other: JobSpec) -> set[str]:
        return {name for name, value in other.made_of().items() if spec.made_of()[name] != value}

    # Backbone and fold are in the name of the job.
    expected = [set()] * 5 + [{"folds"}] * 2 + [{"data"}, {"settings"}, {"weights"}, {"weights"}]
    assert [differing(other) for other in decisive[: len(expected)]] == expected
    assert all(differing(other) == {"settings"} for other in decisive[len(expected) :])
    for other in (
        replace(spec, run=tmp_path / "elsewhere"),
        replace(spec, pixels=tmp_path / "elsewhere.npy"),
        replace(spec, device="cuda"),
        replace(spec, threads=7),
        replace(spec, tensorboard=True),
        replace(spec, checkpoint_seconds=1.0),
        replace(spec, weights=replace(weights, path=tmp_path / "moved.pth")),
    ):
        assert other.digest() == spec.digest()


def test_a_decoder_of_another_kind_changes_the_digest(tmp_path, monkeypatch):
    spec = job_spec(tmp_path)
    before, made_of = spec.digest(), spec.made_of()
    monkeypatch.setattr(job_spec_module, "DECODER", "another")
    assert spec.digest() != before
    assert {name for name, value in spec.made_of().items() if made_of[name] != value} == {"decoder"}


def test_folds_and_backbones_start_from_other_random_numbers(tmp_path):
    specs = [job_spec(tmp_path, fold=fold, backbone=name, seed=seed)
             for fold in range(3) for name in ("resnet18", "resnet34") for seed in (0, 1)]  # fmt: skip
    assert len({trained_job._job_seed(spec) for spec in specs}) == len(specs)


def test_pretrained_weights_are_the_start(done, tmp_path):
    path = done.folder / "model.safetensors"
    weights = WeightsFile(backbone=done.backbone, path=path, sha256=sha256(path))
    stored = load_file(path)
    model = trained_job._initial_model(replace(done, weights=weights)).state_dict()
    assert all(torch.equal(model[key], value) for key, value in stored.items() if not key.startswith("fc."))
    assert not torch.equal(model["fc.weight"], stored["fc.weight"])
    record = run_job(
        replace(done, run=tmp_path, weights=weights, settings=done.settings.model_copy(update={"epochs": 1}))
    )
    assert record.settings_digest != done.digest()


def test_weights_that_do_not_fit_leave_no_record(done, tmp_path):
    path = done.folder / "model.safetensors"
    weights = WeightsFile(backbone="squeezenet1_1", path=path, sha256=sha256(path))
    spec = replace(done, run=tmp_path, backbone="squeezenet1_1", weights=weights)
    with pytest.raises(UsageError, match="does not fit squeezenet1_1"):
        run_job(spec)
    assert finished(spec) is None


def test_a_loss_that_is_not_finite_leaves_no_record(done, tmp_path, monkeypatch):
    build = trained_job._initial_model

    def broken(spec):
        model = build(spec)
        with torch.no_grad():
            model.fc.bias[0] = torch.nan
        return model

    monkeypatch.setattr(trained_job, "_initial_model", broken)
    spec = replace(done, run=tmp_path)
    with pytest.raises(JobFailedError, match="loss is not finite in epoch 1"):
        run_job(spec)
    assert not (spec.folder / "job.json").exists()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_that_was_asked_for(done, precision):
    spec = replace(done, settings=done.settings.model_copy(update={"precision": precision}))
    assert trained_job._use_bfloat16(spec, torch.device("cpu")) is (precision == "bfloat16")


def test_job_folder():
    assert job_folder(Path("run"), "resnet50", 3) == Path("run/jobs/resnet50/fold-3")
    assert job_folder(Path("run"), "resnet50", 3, 11) == Path("run/jobs/resnet50/fold-3-11")


def test_the_features_are_those_of_training_images_only(done):
    stored = FoldDistances.load(done.folder / "distances.npz")
    held_out = done.folds.image_ids[done.folds.folds == done.fold]
    assert stored.image_ids.tolist() == held_out.tolist()
    model = build_backbone(done.backbone, 3, image_size=32)
    model.load_state_dict(load_file(done.folder / "model.safetensors"))
    store = ResidentPixels(torch.from_numpy(np.load(done.pixels)))

    def see(rows):
        view = ImageView(store, torch.from_numpy(np.array(rows)), torch.zeros(len(rows), dtype=torch.int64))
        return predict_features(model, view, batch_size=16, normalisation=IMAGENET)

    train = see(inner_split(done.folds, done.fold, parts=8, seed=0).train)
    outside = see(np.flatnonzero(done.folds.folds == done.fold))
    for kind in ("features", "appearance"):
        statistics = FeatureStatistics.from_bytes((done.folder / f"{kind}.safetensors").read_bytes(), kind)
        np.testing.assert_allclose(statistics.mean, getattr(train, kind).double().mean(0), atol=1e-5)
        np.testing.assert_allclose(getattr(stored, kind), statistics.distances(getattr(outside, kind)), rtol=1e-3)
