from __future__ import annotations

import csv
import sys
from dataclasses import astuple, fields, replace
from pathlib import Path

import pytest
from cv_folds_samples import job_spec
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cv_folds.errors import UsageError
from cv_folds.training import trained_job
from cv_folds.training.course import EpochRow
from cv_folds.training.history import EVENT_FOLDER, check_event_writer, event_writer, write_history
from cv_folds.training.jobs import run_job
from cv_folds.training.settings import TrainingSettings

CURVES = {
    "phase",
    "learning_rate",
    "train_loss",
    "validation_loss",
    "validation_balanced_accuracy",
    "validation_weighted_loss",
    "validation_macro_f1",
    "images_per_second",
}


def row(epoch: int, weights: str = "last") -> EpochRow:
    return EpochRow(
        epoch=epoch,
        phase=1 + epoch // 2,
        learning_rate=1e-3 / epoch,
        train_loss=2.0 / epoch,
        validation_loss=1.0 / 3 / epoch,
        validation_balanced_accuracy=0.5,
        validation_weighted_loss=1.5 / epoch,
        validation_macro_f1=0.4,
        weights=weights,  # type: ignore[arg-type]
        seconds=12.5,
        images_per_second=321.0,
    )


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def read_events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read a job's event files as TensorBoard does."""
    accumulator = EventAccumulator(str(folder / EVENT_FOLDER), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def test_the_table_gives_back_what_was_written(tmp_path):
    rows = (row(1), row(2, "average"), row(3))
    write_history(tmp_path / "history.csv", rows)
    read = read_table(tmp_path / "history.csv")
    assert list(read[0]) == [field.name for field in fields(EpochRow)]
    for line, expected in zip(read, rows, strict=True):
        # Written so that the same floats are read.
        assert (
            int(line["epoch"]), int(line["phase"]), *(float(line[name]) for name in list(line)[2:8]), line["weights"],
            float(line["seconds"]), float(line["images_per_second"]),
        ) == astuple(expected)  # fmt: skip


def test_the_table_is_replaced_as_a_whole(tmp_path):
    for count in (3, 1, 2, 0):
        write_history(tmp_path / "history.csv", tuple(row(epoch) for epoch in range(1, count + 1)))
        assert len(read_table(tmp_path / "history.csv")) == count
        assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]
    assert (tmp_path / "history.csv").read_bytes().count(b"\r") == 0


def test_tensorboard_reads_each_epoch_once(tmp_path):
    rows = tuple(row(epoch) for epoch in (1, 2, 3))
    with event_writer(tmp_path) as write:
        for epochs in (1, 2, 2, 3):
            write(rows[:epochs])
    events = read_events(tmp_path)
    assert events.keys() == CURVES
    for name, points in events.items():
        assert [step for step, _ in points] == [1, 2, 3]
        assert [value for _, value in points] == pytest.approx([getattr(each, name) for each in rows], rel=1e-6)


def test_a_watcher_sees_an_epoch_as_soon_as_it_is_told(tmp_path):
    with event_writer(tmp_path) as write:
        write((row(1),))
        assert len(read_events(tmp_path)["train_loss"]) == 1
        write((row(1), row(2)))
        assert len(read_events(tmp_path)["train_loss"]) == 2


def test_what_an_interrupted_job_wrote_is_replaced(tmp_path):
    with event_writer(tmp_path) as write:
        write((row(1), row(2), row(3)))
    with event_writer(tmp_path) as write:
        write((row(1), row(2)))
        write((row(1), row(2), row(3)))
    assert all([step for step, _ in points] == [1, 2, 3] for points in read_events(tmp_path).values())
    assert len(list((tmp_path / EVENT_FOLDER).iterdir())) == 1


SETTINGS = TrainingSettings(image_size=32, epochs=3, batch_size=16)


@pytest.mark.parametrize("fails_after", [None, 1, 2])
def test_a_job_writes_events_of_the_epochs_of_its_table(tmp_path, monkeypatch, fails_after):
    spec = job_spec(tmp_path, settings=SETTINGS, tensorboard=True)
    if fails_after is not None:
        write = trained_job.write_history

        def failing(path, rows):
            write(path, rows)
            if len(rows) == fails_after + 1:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(trained_job, "write_history", failing)
            with pytest.raises(KeyboardInterrupt):
                run_job(spec)
    record = run_job(spec)
    assert record.resumed == (fails_after is not None)
    table, events = read_table(spec.folder / "history.csv"), read_events(spec.folder)
    assert [line["epoch"] for line in table] == ["1", "2", "3"]
    assert events.keys() == CURVES
    for name, points in events.items():
        assert points == [(int(line["epoch"]), pytest.approx(float(line[name]), rel=1e-6)) for line in table]


def test_events_are_written_only_when_they_are_asked_for_and_change_nothing(tmp_path):
    plain = job_spec(tmp_path, settings=SETTINGS.model_copy(update={"epochs": 1}))
    watched = replace(plain, run=tmp_path / "watched", tensorboard=True)
    first, second = run_job(plain), run_job(watched)
    assert not (plain.folder / EVENT_FOLDER).exists()
    assert (watched.folder / EVENT_FOLDER).is_dir()
    for name in ("model.safetensors", "oof.npz"):
        assert first.files[name] == second.files[name]


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    check_event_writer()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'hamcv\[tensorboard\]'") as caught:
        check_event_writer()
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match=r"pip install 'hamcv\[tensorboard\]'"):
        run_job(job_spec(tmp_path, settings=SETTINGS, tensorboard=True))
