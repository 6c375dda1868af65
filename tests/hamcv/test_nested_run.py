"""A run with a nested estimate: added to a finished run, left out again, in pieces."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest_runs import TINY, carry_out

from cv_folds.errors import UsageError
from hamcv.arms import jobs_of, jobs_of_main
from hamcv.config import resolve
from hamcv.run_config import RunConfig

Hamcv = Callable[..., Any]

ONE = TINY | {"backbones": ["shufflenet_v2_x0_5"], "training.epochs": 1, "report.resamples": 100}
ONE |= {"audit.near_duplicates": False, "ensemble.combiners": ["soft_vote", "stack"]}
PAIRS = ["fold-0-1", "fold-0-2", "fold-1-2"]
RESULTS = ("predictions.csv", "metrics.json")


@pytest.fixture(scope="module", autouse=True)
def _undrawn() -> Iterator[None]:
    """Spare the figures, which cost more than these trainings; `hamcv report` draws them still."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("run", "combining"):
            patch.setattr(f"hamcv.{module}.write_report", lambda run, **_: ())
        yield


@pytest.fixture(scope="module")
def usual(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without a nested estimate."""
    folder = tmp_path_factory.mktemp("runs") / "usual"
    carry_out(resolve("demo", ONE | {"data": str(small_data)}), folder, jobs=1)
    return folder


@pytest.fixture(scope="module")
def nested(usual: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, with the nested estimate added."""
    folder = tmp_path_factory.mktemp("runs") / "nested"
    shutil.copytree(usual, folder)
    carry_out(resolve(str(usual / "config.toml"), {"nested": True}), folder, jobs=1)
    return folder


@pytest.fixture
def copy(nested: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(nested, tmp_path / "run"))


def times(run: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in run.glob("jobs/*/*/model.safetensors")}


def test_adding_it_to_a_finished_run_trains_the_pairs_alone(usual: Path, nested: Path) -> None:
    before, after = times(usual), times(nested)
    # Copied with their times.
    assert {name: after.pop(name) for name in before} == before
    assert sorted(after) == PAIRS
    assert "nested = true" in (nested / "config.toml").read_text()


def test_the_command_line_leaves_it_out_and_takes_it_up_again(
    hamcv: Hamcv, usual: Path, nested: Path, copy: Path
) -> None:
    settings = ("--recipe", usual / "config.toml", "--out", copy, "--jobs", 1)
    screen = hamcv("run", *settings)
    assert screen.code == 0, screen.err
    assert "3 of 3 jobs were finished before" in screen.err
    assert "without --nested the nested estimate is left out" in screen.err
    for name in RESULTS:
        assert (copy / name).read_bytes() == (usual / name).read_bytes()
    assert not (copy / "predictions-nested.csv").exists()
    screen = hamcv("run", *settings, "--nested", "--dry-run")
    assert "6 trainings (3 of them without two folds, for the nested estimate)" in screen.out
    shutil.rmtree(copy / "jobs" / "shufflenet_v2_x0_5" / "fold-0-1")
    screen = hamcv("run", *settings, "--nested")
    assert screen.code == 0, screen.err
    assert "5 of 6 jobs were finished before" in screen.err
    assert "Ensembles: usual minus nested estimate" in screen.out
    for name in RESULTS:
        assert (copy / name).read_bytes() == (nested / name).read_bytes()


def test_nothing_else_of_the_run_changes(usual: Path, nested: Path) -> None:
    assert (nested / "predictions.csv").read_bytes() == (usual / "predictions.csv").read_bytes()
    before, after = (json.loads((run / "metrics.json").read_text()) for run in (usual, nested))
    compared = after.pop("nested")
    assert after == before
    assert set(compared) == {"soft_vote", "stack"}
    for model, scores in compared.items():
        assert {metric: score["usual"] for metric, score in scores.items()} == before["models"][model]["overall"]
    table = pd.read_csv(nested / "predictions-nested.csv", dtype=str, keep_default_na=False)
    assert table["image_id"].tolist() == pd.read_csv(nested / "folds.csv", dtype=str)["image_id"].tolist()
    assert {column.partition("/")[0] for column in table.columns[5:]} == {"soft_vote", "stack"}
    manifest = json.loads((nested / "predictor" / "manifest.json").read_text())
    assert [member["fold"] for member in manifest["members"]] == [0, 1, 2]


def test_a_pair_is_kept_from_training_and_predicted(nested: Path) -> None:
    folds = pd.read_csv(nested / "folds.csv", dtype=str, keep_default_na=False)
    for name in PAIRS:
        record = json.loads((nested / "jobs" / "shufflenet_v2_x0_5" / name / "job.json").read_text())
        assert name == f"fold-{record['fold']}-{record['second']}"
        held_out = folds["fold"].isin([str(record["fold"]), str(record["second"])]).sum()
        assert record["n_held_out"] == held_out
        assert record["n_train"] + record["n_validation"] == len(folds) - held_out
    jobs = json.loads((nested / "run.json").read_text())["jobs"]
    assert [(job["fold"], job.get("second")) for job in jobs] == [
        (0, None), (1, None), (2, None), (0, 1), (0, 2), (1, 2),
    ]  # fmt: skip


def test_combining_and_reporting_again_give_the_same(hamcv: Hamcv, nested: Path, copy: Path) -> None:
    for command in (("ensemble",), ("report", "--format", "html")):
        screen = hamcv(*command, copy)
        assert screen.code == 0, screen.err
        for name in (*RESULTS, "predictions-nested.csv"):
            assert (copy / name).read_bytes() == (nested / name).read_bytes(), (command, name)
    page = (copy / "report.html").read_text()
    assert 'id="section-nested"' in page
    assert "The log-loss of stack is" in page
    assert "which was not done" not in page


def test_a_lost_job_is_named_and_can_be_run_alone(hamcv: Hamcv, copy: Path) -> None:
    lost = copy / "jobs" / "shufflenet_v2_x0_5" / "fold-0-2"
    before = times(copy)
    shutil.rmtree(lost)
    screen = hamcv("ensemble", copy)
    assert screen.code == 3
    assert "shufflenet_v2_x0_5, folds 0 and 2" in screen.err
    screen = hamcv("job", copy, 4)
    assert screen.code == 0, screen.err
    assert str(lost) in screen.out
    assert {name for name, time in times(copy).items() if before[name] != time} == {"fold-0-2"}
    assert hamcv("job", copy, 6).code == 2
    (copy / "predictions-nested.csv").unlink()
    screen = hamcv("report", copy)
    assert screen.code == 3
    assert "predictions-nested.csv is missing" in screen.err


def test_a_finished_run_can_be_prepared_for_it(hamcv: Hamcv, usual: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(usual, tmp_path / "run"))
    before = times(run)
    screen = hamcv("run", "--recipe", run / "config.toml", "--out", run, "--nested", "--prepare")
    assert screen.code == 0, screen.err
    assert "INDEX from 0 to 5" in screen.out
    assert times(run) == before
    assert "finished before" in hamcv("job", run, 2).err


def test_the_usual_jobs_keep_their_numbers(tiny_config: RunConfig) -> None:
    added = tiny_config.model_copy(update={"nested": True})
    assert jobs_of(added)[:6] == jobs_of(tiny_config) == jobs_of_main(added)
    assert [job.title for job in jobs_of(added)[6:]] == [
        f"{backbone}, folds {pair}"
        for backbone in ("shufflenet_v2_x0_5", "squeezenet1_1")
        for pair in ("0 and 1", "0 and 2", "1 and 2")
    ]
    assert len(jobs_of(resolve("default", {"nested": True}))) == 3 * (5 + 10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folds": 2}, "nested needs at least 3 folds"),
        ({"protocol": "holdout"}, "nested goes with protocol cv only, not with holdout"),
        ({"protocol": "leakage"}, "nested goes with protocol cv only, not with leakage"),
        ({"repeats": 2}, "not with repeats = 2"),
        ({"folds_file": "x.csv", "allow_leakage": True}, "nested needs folds that do not leak"),
    ],
)
def test_settings_that_it_does_not_go_with(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve("demo", options | {"nested": True})
    assert words in str(caught.value)
