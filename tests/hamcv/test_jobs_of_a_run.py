"""Runs whose jobs are not run here: pieces of a batch system's array, and clusters."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest_runs import carry_out

from cv_folds.training.record import job_folder, read_record
from hamcv import job
from hamcv.run_config import RunConfig

Hamcv = Callable[..., Any]

RESULTS = ("predictions.csv", "metrics.json")


def test_an_array_of_jobs_gives_what_one_run_gives(
    hamcv: Hamcv, tiny_run: Path, tiny_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many threads as each job of that run had.
    monkeypatch.setattr(job, "cpu_cores", lambda: 1)
    out = tmp_path / "run"
    settings = ("--recipe", tiny_run / "config.toml", "--out", out)
    screen = hamcv("run", *settings, "--prepare")
    assert screen.code == 0
    assert "6 jobs" in screen.out
    assert "from 0 to 5" in screen.out
    assert {path.name for path in out.iterdir()} == {
        ".lock", "config.toml", "folds.csv", "metadata.csv", "training_images.csv", "audit.json",
    }  # fmt: skip
    for name in ("folds.csv", "metadata.csv", "training_images.csv"):
        assert (out / name).read_bytes() == (tiny_run / name).read_bytes(), name

    for index in range(6):
        screen = hamcv("job", out, index)
        assert screen.code == 0, screen.err
        backbone, fold = tiny_config.backbones[index // 3], index % 3
        assert str(job_folder(out, backbone, fold)) in screen.out
    again = hamcv("job", out, 3)
    assert again.code == 0
    assert "finished before" in again.err

    screen = hamcv("run", *settings)
    assert screen.code == 0
    assert "6 of 6 jobs were finished before" in screen.err
    for name in RESULTS:
        assert (out / name).read_bytes() == (tiny_run / name).read_bytes(), name


@pytest.mark.parametrize("index", ["6", "-1"])
def test_a_number_that_no_job_has(hamcv: Hamcv, tiny_run: Path, index: str) -> None:
    screen = hamcv("job", tiny_run, "--", index)
    assert screen.code == 2
    assert f"INDEX {index}" in screen.err
    assert "6 jobs, numbered from 0 to 5" in screen.err


def test_a_failed_job_exits_1_and_is_named(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    blocked = job_folder(out, "squeezenet1_1", 0)
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the job wants its folder")
    # As `hamcv run --prepare` leaves it: settings, and the pairs that the audit merged.
    shutil.copy(tiny_run / "config.toml", out)
    shutil.copy(tiny_run / "audit.json", out)
    screen = hamcv("job", out, 3)
    assert screen.code == 1
    assert "squeezenet1_1, fold 0" in screen.err


@contextmanager
def held(folder: Path, how: str) -> Iterator[None]:
    """Hold a folder, or a job of it, in another process: locks of one process do not exclude each other."""
    code = (
        "import sys; from pathlib import Path; from hamcv.run_folder import hold, hold_job\n"
        f"with {how}: print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        assert holder.stdin is not None
        holder.stdin.close()


def test_jobs_of_one_run_do_not_exclude_each_other_but_a_run_does(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    with held(out, "hold_job(Path(sys.argv[1]), 3)"):
        assert hamcv("job", out, 4).code == 0
        busy = hamcv("job", out, 3)
        assert busy.code == 4
        assert "job 3" in busy.err
        for command in (("ensemble", out), ("run", "--recipe", out / "config.toml", "--out", out)):
            screen = hamcv(*command)
            assert screen.code == 4
            assert "in use" in screen.err
    with held(out, "hold(Path(sys.argv[1]))"):
        assert hamcv("job", out, 4).code == 4
    assert hamcv("job", out, 3).code == 0


def test_a_run_on_a_dask_cluster_gives_what_a_run_here_gives(
    hamcv: Hamcv, dask_address: str, tiny_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    settings = ("--recipe", tiny_run / "config.toml", "--out", out, "--backend", "dask", "--address", dask_address)
    screen = hamcv("run", *settings, "--dry-run")
    assert screen.code == 0
    assert "2 jobs side by side on 2 Dask workers" in screen.out
    assert not out.exists()
    screen = hamcv("run", *settings)
    assert screen.code == 0, screen.err
    for name in RESULTS:
        assert (out / name).read_bytes() == (tiny_run / name).read_bytes(), name
    record = json.loads((out / "run.json").read_text())
    assert record["device"] == {"kind": "cpu", "name": "2 Dask workers", "threads": 1, "side_by_side": 2}
    assert not list(out.glob(".probe-*"))


def test_a_cluster_that_cannot_be_joined_leaves_nothing_behind(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    settings = ("--recipe", tiny_run / "config.toml", "--out", tmp_path / "run", "--device", "cuda")
    screen = hamcv("run", *settings, "--backend", "ray", "--address", "127.0.0.1:9")
    assert screen.code == 2
    assert "127.0.0.1:9" in screen.err
    assert not (tmp_path / "run").exists()


def test_fail_fast_leaves_the_other_jobs(tiny_config: RunConfig, tmp_path: Path) -> None:
    from cv_folds.errors import JobFailedError

    out = tmp_path / "run"
    blocked = job_folder(out, "shufflenet_v2_x0_5", 0)
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the job wants its folder")
    (out / "config.toml").write_text(tiny_config.to_toml())
    with pytest.raises(JobFailedError, match=r"1 of 6 jobs failed"):
        carry_out(tiny_config, out, jobs=1, fail_fast=True)
    assert read_record(job_folder(out, "shufflenet_v2_x0_5", 1)) is None
