from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cv_folds_samples import WorkerKillingSpec, job_spec

from cv_folds.training import schedule
from cv_folds.training.jobs import JobSpec, finished
from cv_folds.training.schedule import ERROR_FILE, JobOutcome, cpu_cores, run_jobs, share_threads
from cv_folds.training.weights import WeightsFile


@pytest.fixture
def specs(tmp_path: Path) -> list[JobSpec]:
    """Three jobs of one epoch."""
    spec = job_spec(tmp_path, backbone="squeezenet1_1")
    settings = spec.settings.model_copy(update={"epochs": 1})
    return [replace(spec, fold=fold, settings=settings) for fold in range(3)]


def failing(spec: JobSpec) -> JobSpec:
    weights = WeightsFile(backbone=spec.backbone, path=spec.run / "gone.safetensors", sha256="0" * 64)
    return replace(spec, weights=weights)


def crashing(spec: JobSpec) -> JobSpec:
    return replace(spec, pixels=spec.run / "gone.npy")


def run(
    specs: list[JobSpec], side_by_side: int, *, fail_fast: bool = False
) -> tuple[tuple[JobOutcome, ...], list[int]]:
    heard: list[int] = []
    outcomes = run_jobs(
        specs,
        side_by_side=side_by_side,
        fail_fast=fail_fast,
        on_outcome=lambda outcome: heard.append(outcome.fold),
    )
    return outcomes, heard


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_a_failed_job_does_not_stop_the_others(specs, side_by_side):
    specs[0], specs[1] = failing(specs[0]), crashing(specs[1])
    outcomes, heard = run(specs, side_by_side)
    assert [(outcome.backbone, outcome.fold) for outcome in outcomes] == [("squeezenet1_1", fold) for fold in range(3)]
    assert sorted(heard) == [0, 1, 2]
    assert [outcome.record is None for outcome in outcomes] == [True, True, False]
    # A user's mistake in its own words, anything else with its kind; both in full in a file.
    assert outcomes[0].error.startswith(f"{specs[0].weights.path} is no readable weight file")
    assert outcomes[1].error.startswith("FileNotFoundError: ")
    for spec, outcome in zip(specs[:2], outcomes[:2], strict=True):
        assert f"(in full: {spec.folder / ERROR_FILE})" in outcome.error
        assert "Traceback" in (spec.folder / ERROR_FILE).read_text()
    assert outcomes[2].error is None
    assert finished(specs[2]) == outcomes[2].record
    assert not (specs[2].folder / ERROR_FILE).exists()


def test_a_job_that_ends_well_takes_its_old_error_away(specs):
    (outcome,), _ = run([crashing(specs[0])], 1)
    assert outcome.error is not None
    (outcome,), _ = run(specs[:1], 1)
    assert outcome.error is None
    assert not (specs[0].folder / ERROR_FILE).exists()


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_fail_fast_ends_at_the_first_failure(specs, side_by_side):
    specs[0] = failing(specs[0])
    slow = specs[1].settings.model_copy(update={"epochs": 10_000, "patience": 10_000})
    waiting = [replace(spec, settings=slow) for spec in specs[1:]]
    outcomes, heard = run([specs[0], *waiting], side_by_side, fail_fast=True)
    assert heard == [0]
    assert outcomes[0].error is not None
    assert not any(finished(spec) for spec in waiting)
    if side_by_side == 1:
        assert len(outcomes) == 1
        assert not any(spec.folder.exists() for spec in waiting)


def test_a_killed_worker_is_reported_and_the_next_run_goes_on(specs):
    plain = {field: getattr(specs[1], field) for field in JobSpec.__dataclass_fields__}
    deadly = [specs[0], WorkerKillingSpec(**plain, spared=os.getpid()), specs[2]]
    outcomes, heard = run(deadly, 2)
    assert sorted(heard) == [0, 1, 2]
    assert outcomes[1].record is None
    assert "worker process was killed" in outcomes[1].error
    assert "--jobs" in outcomes[1].error
    # A job that was finished in time counts, even if its worker could not say so any more.
    for spec, outcome in zip(specs[::2], outcomes[::2], strict=True):
        assert (outcome.error is None) is (outcome.record is not None)
        assert outcome.record is None or outcome.record == finished(spec)
    again, _ = run(specs, 2)
    assert [outcome.error for outcome in again] == [None] * 3


def test_side_by_side_gives_what_one_after_the_other_gives(specs, tmp_path):
    alone, _ = run(specs[:2], 1)
    together, _ = run([replace(spec, run=tmp_path / "other") for spec in specs[:2]], 2)
    for first, second in zip(alone, together, strict=True):
        for name in ("model.safetensors", "oof.npz"):
            assert first.record.files[name] == second.record.files[name]


def test_the_threads_of_this_process_are_put_back(specs, monkeypatch):
    torch.set_num_threads(2)
    during = []
    monkeypatch.setattr(schedule, "run_job", lambda spec: during.append(torch.set_num_threads(spec.threads)))
    run(specs, 1)
    assert len(during) == 3
    assert torch.get_num_threads() == 2


def test_an_interrupt_ends_the_workers_at_once(specs):
    slow = specs[0].settings.model_copy(update={"epochs": 10_000, "patience": 10_000})

    def interrupt(outcome):
        raise KeyboardInterrupt

    # The first job fails at once; the other would go on for longer than anybody waits.
    with pytest.raises(KeyboardInterrupt):
        run_jobs(
            [failing(specs[0]), replace(specs[1], settings=slow)],
            side_by_side=2,
            fail_fast=False,
            on_outcome=interrupt,
        )
    assert finished(replace(specs[1], settings=slow)) is None


def test_an_interrupt_passes_through(specs, monkeypatch):
    def interrupt(spec):
        raise KeyboardInterrupt

    monkeypatch.setattr(schedule, "run_job", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(specs, 1)


@pytest.mark.parametrize(
    ("cores", "jobs", "device", "n_jobs", "expected"),
    [
        (8, None, "cpu", 15, (8, 1)),
        (8, 2, "cpu", 15, (2, 4)),
        (8, 3, "cpu", 15, (3, 2)),
        (2, 5, "cpu", 15, (5, 1)),
        (1, None, "cpu", 15, (1, 1)),
        (8, None, "cpu", 2, (2, 4)),
        (8, 6, "cpu", 3, (3, 2)),
        (8, None, "cpu", 1, (1, 8)),
        (8, None, "cuda", 15, (1, 8)),
        (8, None, "cuda:1", 15, (1, 8)),
        (8, 2, "cuda:0", 15, (2, 4)),
        (8, 4, "cuda:0", 1, (1, 8)),
    ],
)
def test_sharing_the_cores(monkeypatch, cores, jobs, device, n_jobs, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert cpu_cores() == cores
    assert share_threads(jobs, device, n_jobs) == expected
