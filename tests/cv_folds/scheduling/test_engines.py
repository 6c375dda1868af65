"""What holds for every engine, tried on this machine and on real clusters on loopback."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cv_folds_samples import job_spec, killing

from cv_folds.errors import UsageError
from cv_folds.scheduling import dask_engine, local, ray_engine
from cv_folds.scheduling.engine import Engine, EngineOptions, run_jobs
from cv_folds.scheduling.engines import ENGINES, open_engine
from cv_folds.scheduling.outcome import ERROR_FILE, JobOutcome, run_contained
from cv_folds.training.job_spec import JobSpec
from cv_folds.training.jobs import finished
from cv_folds.training.weights import WeightsFile

BACKBONE = "mobilenet_v3_small"

# Ray leaves sockets and a log file to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="module", params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine with two workers."""
    name = request.param
    address = None if name == "local" else request.getfixturevalue(f"{name}_address")
    with open_engine(name, EngineOptions(device="cpu", jobs=2, n_jobs=4, address=address)) as engine:
        assert engine.side_by_side == 2
        assert engine.device == "cpu"
        yield engine


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> int:
    """The same for all engines, and few: each costs the start of a worker."""
    for module in (local, dask_engine, ray_engine):
        assert module.ATTEMPTS > 1
        monkeypatch.setattr(module, "ATTEMPTS", 2)
    return 2


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[JobOutcome]:
    """The jobs of `specs`, run one after the other in this process."""
    folder = tmp_path_factory.mktemp("expected")
    return [run_contained(spec) for spec in three_jobs(folder)]


@pytest.fixture
def specs(tmp_path: Path) -> list[JobSpec]:
    return three_jobs(tmp_path)


def three_jobs(folder: Path) -> list[JobSpec]:
    """Three jobs of one epoch."""
    spec = job_spec(folder, backbone=BACKBONE)
    settings = spec.settings.model_copy(update={"epochs": 1})
    spec.run.mkdir(parents=True, exist_ok=True)
    return [replace(spec, fold=fold, settings=settings) for fold in range(3)]


def failing(spec: JobSpec) -> JobSpec:
    weights = WeightsFile(backbone=spec.backbone, path=spec.run / "gone.safetensors", sha256="0" * 64)
    return replace(spec, weights=weights)


def crashing(spec: JobSpec) -> JobSpec:
    return replace(spec, pixels=spec.run / "gone.npy")


def endless(spec: JobSpec) -> JobSpec:
    return replace(spec, settings=spec.settings.model_copy(update={"epochs": 10_000, "patience": 10_000}))


def run(
    engine: Engine, specs: list[JobSpec], *, fail_fast: bool = False
) -> tuple[tuple[JobOutcome, ...], list[tuple[str, int]]]:
    heard: list[tuple[str, int]] = []

    def hear(outcome: JobOutcome) -> None:
        heard.append((outcome.backbone, outcome.fold))

    return run_jobs(engine, specs, fail_fast=fail_fast, on_outcome=hear), heard


def results(outcome: JobOutcome) -> dict[str, str]:
    assert outcome.error is None
    assert outcome.record is not None
    return {name: outcome.record.files[name] for name in ("model.safetensors", "oof.npz")}


def test_results_do_not_depend_on_the_engine_and_failures_stay_with_their_jobs(
    engine: Engine, specs: list[JobSpec], expected: list[JobOutcome], attempts: int, tmp_path: Path
) -> None:
    engine.check(specs)
    deadly = killing(replace(specs[0], run=tmp_path / "deadly"))
    broken = crashing(replace(specs[0], backbone="squeezenet1_1"))
    killed_once = killing(specs[0], times=1)
    jobs = [replace(deadly, backbone="resnet18"), killed_once, broken, *specs[1:]]
    outcomes, heard = run(engine, jobs)
    assert sorted(heard) == sorted((job.backbone, job.fold) for job in jobs)
    assert [(outcome.backbone, outcome.fold) for outcome in outcomes] == [(job.backbone, job.fold) for job in jobs]

    # Whoever kills every worker that takes it is reported.
    assert len((tmp_path / "deadly" / "killed-0").read_text()) == attempts
    assert outcomes[0].record is None
    assert outcomes[0].error is not None
    assert f"in each of {attempts} attempts" in outcomes[0].error
    assert "--jobs" in outcomes[0].error
    # An exception is a failure too, kept in full.
    assert outcomes[2].error is not None
    assert outcomes[2].error.startswith("FileNotFoundError: ")
    assert f"(in full: {broken.folder / ERROR_FILE})" in outcomes[2].error
    assert "Traceback" in (broken.folder / ERROR_FILE).read_text()
    # The others end well, to the bit, the one whose worker was killed included.
    assert (specs[0].run / "killed-0").read_text() == "x"
    for spec, outcome, reference in zip(specs, [outcomes[1], *outcomes[3:]], expected, strict=True):
        assert results(outcome) == results(reference)
        assert finished(spec) == outcome.record
        assert not (spec.folder / ERROR_FILE).exists()


def test_workers_that_see_another_folder_or_have_another_version_are_refused(
    engine: Engine, specs: list[JobSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.place is None:
        engine.check(specs)
        return

    @contextmanager
    def elsewhere(folder: Path) -> Iterator[Path]:
        yield folder / "only-here"

    module = dask_engine if "Dask" in engine.place else ray_engine
    with monkeypatch.context() as patch:
        patch.setattr(module, "mark", elsewhere)
        with pytest.raises(UsageError, match=rf"does not see {specs[0].run}(.|\n)*--out(.|\n)*share"):
            engine.check(specs)
    with monkeypatch.context() as patch:
        # The workers are other processes and keep theirs.
        patch.setattr(importlib.metadata, "version", lambda name: "99.0")
        with pytest.raises(UsageError, match=r"here it is 99\.0(.|\n)*pip install 'hamcv==99\.0'"):
            engine.check(specs)
    engine.check(specs)


def test_fail_fast_ends_the_others_and_frees_their_workers(
    engine: Engine, specs: list[JobSpec], tmp_path: Path
) -> None:
    # Both workers are taken by jobs that would go on for longer than anybody waits.
    slow = [endless(spec) for spec in specs[1:]]
    outcomes, heard = run(engine, [failing(specs[0]), *slow], fail_fast=True)
    assert heard == [(BACKBONE, 0)]
    assert len(outcomes) == 1
    assert outcomes[0].error is not None
    assert outcomes[0].error.startswith(f"{specs[0].run / 'gone.safetensors'} is no readable weight file")
    assert not any(finished(job) for job in slow)
    if engine.place is not None:
        # Here each call has workers of its own; on a cluster they must have become free again.
        (tmp_path / "again").mkdir()
        again, _ = run(engine, [replace(spec, run=tmp_path / "again") for spec in specs[:2]])
        assert [outcome.error for outcome in again] == [None, None]
