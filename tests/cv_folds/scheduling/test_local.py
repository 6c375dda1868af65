from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cv_folds_samples import EnvironmentSpec, job_spec
from processes import children, command_line, wait_for

from cv_folds.scheduling import outcome as outcome_module
from cv_folds.scheduling.engine import EngineOptions, run_jobs
from cv_folds.scheduling.local import LocalEngine, open_local
from cv_folds.scheduling.outcome import ERROR_FILE, JobOutcome
from cv_folds.training.job_spec import JobSpec

HERE = LocalEngine(device="cpu", side_by_side=1, threads=1)


@pytest.fixture
def specs(tmp_path: Path) -> list[JobSpec]:
    """Three jobs of one epoch."""
    spec = job_spec(tmp_path, backbone="squeezenet1_1")
    settings = spec.settings.model_copy(update={"epochs": 1})
    return [replace(spec, fold=fold, settings=settings) for fold in range(3)]


def run(specs: list[JobSpec], *, fail_fast: bool = False) -> tuple[JobOutcome, ...]:
    return run_jobs(HERE, specs, fail_fast=fail_fast, on_outcome=lambda outcome: None)


def crashing(spec: JobSpec) -> JobSpec:
    return replace(spec, pixels=spec.run / "gone.npy")


def test_one_at_a_time_on_a_cpu_runs_in_this_process(specs, monkeypatch):
    pids = []
    monkeypatch.setattr(outcome_module, "run_job", lambda spec: pids.append(os.getpid()))
    run(specs)
    assert pids == [os.getpid()] * 3


def test_a_job_that_ends_well_takes_its_old_error_away(specs):
    (outcome,) = run([crashing(specs[0])])
    assert outcome.error is not None
    assert (specs[0].folder / ERROR_FILE).is_file()
    (outcome,) = run(specs[:1])
    assert outcome.error is None
    assert not (specs[0].folder / ERROR_FILE).exists()


def test_fail_fast_does_not_begin_the_next(specs):
    outcomes = run([crashing(specs[0]), *specs[1:]], fail_fast=True)
    assert len(outcomes) == 1
    assert not any(spec.folder.exists() for spec in specs[1:])


def test_the_threads_of_this_process_are_put_back(specs, monkeypatch):
    torch.set_num_threads(2)
    during = []
    monkeypatch.setattr(outcome_module, "run_job", lambda spec: during.append(torch.set_num_threads(spec.threads)))
    run(specs)
    assert len(during) == 3
    assert torch.get_num_threads() == 2


def test_an_interrupt_passes_through(specs, monkeypatch):
    def interrupt(spec):
        raise KeyboardInterrupt

    monkeypatch.setattr(outcome_module, "run_job", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(specs)


def test_each_gpu_has_a_worker_that_sees_it_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8a56,GPU-42aa")
    plain = {field: getattr(job_spec(tmp_path), field) for field in JobSpec.__dataclass_fields__}
    specs = [EnvironmentSpec(**plain | {"device": "cuda", "fold": fold}) for fold in range(4)]
    with open_local(EngineOptions(device="cuda", jobs=None, n_jobs=6, address=None)) as engine:
        assert engine.side_by_side == 2
        outcomes = run_jobs(engine, specs, fail_fast=False, on_outcome=lambda outcome: None)
    # The jobs last long enough that neither slot can take all of them.
    told = [str(outcome.error).rpartition(" in ") for outcome in outcomes]
    expected = {"JobFailedError: cuda:0 sees GPU-8a56": 2, "JobFailedError: cuda:0 sees GPU-42aa": 2}
    assert Counter(seen for seen, _, _ in told) == expected
    # A process in which a job failed may have lost its GPU for good: none takes another.
    assert len({process for _, _, process in told}) == 4


def test_one_gpu_that_was_asked_for_is_the_only_one(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with open_local(EngineOptions(device="cuda:1", jobs=None, n_jobs=6, address=None)) as engine:
        assert engine.side_by_side == 1
        assert engine._gpus == ("5",)


def test_workers_end_when_their_parent_is_killed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from cv_folds_samples import endless_jobs;"
        "from cv_folds.scheduling.local import LocalEngine;"
        "engine = LocalEngine(device='cpu', side_by_side=2, threads=1);"
        "list(engine.outcomes(endless_jobs(Path(sys.argv[1]), 2)))"
    )
    path = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], env=os.environ | {"PYTHONPATH": path}
    ) as process:
        try:
            # Both jobs are under way: they write after each epoch.
            wait_for(lambda: len(list(tmp_path.glob("run/jobs/*/*/history.csv"))) == 2)
            workers = [pid for pid in children(process.pid) if "popen_loky" in command_line(pid)]
            assert len(workers) == 2
        finally:
            process.kill()
    wait_for(lambda: not any(command_line(pid) for pid in workers))
