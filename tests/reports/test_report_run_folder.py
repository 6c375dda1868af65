"""Reading a run folder: everything is there and typed, or the file is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cv_folds.errors import DataError, UsageError
from reports.run_folder import flatten, read_run_folder
from reports.write import write_report


@pytest.fixture
def copy(run: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.path, tmp_path / "copy"))


def test_a_whole_run_folder_is_read(run: Any) -> None:
    folder = read_run_folder(run.path, run.evaluation.classes)
    assert folder.name == "made-up"
    assert folder.record.finished is not None
    assert folder.record.data.n_images == len(folder.folds.image_ids)
    assert np.array_equal(folder.folds.labels, run.predictions.labels)
    assert np.array_equal(folder.folds.folds, run.predictions.folds)
    assert len(folder.histories) == len(folder.record.jobs) == 3 * 4
    assert folder.settings["training.augmentation.flip"] is True
    assert list(folder.settings)[:3] == ["recipe", "folds", "seed"]
    first = folder.histories[0]
    assert first.epochs.tolist() == [1, 2, 3, 4, 5, 6]
    assert first.details.best_epoch == 1 + int(first.validation_loss.argmin())
    assert [pair.score for pair in folder.audit.merged_pairs] == [41.0]


@pytest.mark.parametrize(
    "name",
    ["audit.json", "folds.csv", "config.toml", "jobs/resnet50/fold-1/history.csv", "jobs/resnet50/fold-1/job.json"],
)
def test_a_missing_file_is_named(run: Any, copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(DataError, match=f"{Path(name).name} is missing"):
        read_run_folder(copy, run.evaluation.classes)


def test_a_folder_without_a_record_is_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run folder"):
        read_run_folder(tmp_path, ("a", "b"))


DAMAGED = (b"", b"\xff\xfe\x00", b"{not: any] format")
FILES = ("run.json", "audit.json", "folds.csv", "jobs/resnet50/fold-1/history.csv", "jobs/resnet50/fold-1/job.json")


@pytest.mark.parametrize(
    ("name", "content"),
    # An empty TOML file holds no settings, which is just what it says.
    [
        *((name, content) for name in FILES for content in DAMAGED),
        *(("config.toml", content) for content in DAMAGED[1:]),
    ],
)
def test_a_damaged_file_is_named(run: Any, copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{Path(name).name} is damaged"):
        read_run_folder(copy, run.evaluation.classes)


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.pop(key)


def _status(content: dict[str, Any]) -> None:
    content["jobs"][2]["status"] = "perhaps"


def _version(content: dict[str, Any]) -> None:
    content["schema"] = 2


@pytest.mark.parametrize(
    ("change", "words"),
    [(_without("device"), "device"), (_status, r"jobs\.2\.status"), (_version, "schema")],
    ids=["missing key", "unknown status", "newer schema"],
)
def test_a_wrong_entry_is_named(run: Any, copy: Path, change: Callable[[dict[str, Any]], None], words: str) -> None:
    content = json.loads((copy / "run.json").read_text())
    change(content)
    (copy / "run.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"run\.json is damaged: {words}"):
        read_run_folder(copy, run.evaluation.classes)


def test_entries_of_a_later_version_are_let_through(run: Any, copy: Path) -> None:
    content = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(content | {"new": 1}))
    assert read_run_folder(copy, run.evaluation.classes).record.recipe == "quick"


def test_an_unknown_class_names_the_row(run: Any, copy: Path) -> None:
    lines = (copy / "folds.csv").read_text().splitlines()
    lines[4] = lines[4].replace(run.evaluation.classes[run.predictions.labels[3]], "other")
    (copy / "folds.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"folds\.csv, row 5 is damaged"):
        read_run_folder(copy, run.evaluation.classes)


def test_a_lesion_in_two_folds_is_refused(run: Any, copy: Path) -> None:
    lines = (copy / "folds.csv").read_text().splitlines()
    repeated = np.flatnonzero(run.predictions.groups[1:] == run.predictions.groups[:-1])[0] + 1
    lines[repeated] = lines[repeated][:-1] + str((int(lines[repeated][-1]) + 1) % 4)
    (copy / "folds.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"folds\.csv: groups that stand in more than one fold"):
        read_run_folder(copy, run.evaluation.classes)


def test_a_run_with_failed_jobs_is_refused(run: Any, copy: Path) -> None:
    content = json.loads((copy / "run.json").read_text())
    content["jobs"][5] |= {"status": "failed", "error": "out of memory", "best_epoch": None}
    (copy / "run.json").write_text(json.dumps(content))
    job = content["jobs"][5]
    shutil.rmtree(copy / "jobs" / job["backbone"] / f"fold-{job['fold']}")
    words = (
        rf"1 of 12 jobs failed.*run the same command again(.|\n)*{job['backbone']}, fold {job['fold']}: out of memory"
    )
    with pytest.raises(UsageError, match=words):
        read_run_folder(copy, run.evaluation.classes)
    with pytest.raises(UsageError, match=words):
        write_report(copy, evaluation=run.evaluation, predictions=run.predictions)
    assert not list(copy.glob("report.*"))


def test_settings_are_flattened_to_dotted_names() -> None:
    nested = {"a": 1, "b": {"c": [2], "d": {"e": "x"}}, "f": {}}
    assert flatten(nested) == {"a": 1, "b.c": [2], "b.d.e": "x"}
