from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

# Before any import of torch: the workers of a run inherit it, and tests must not meet the user's files.
_SCRATCH = tempfile.TemporaryDirectory(prefix="hamcv-tests-")
os.environ["HAMCV_CACHE"] = str(Path(_SCRATCH.name, "cache"))
os.environ["TORCH_HOME"] = str(Path(_SCRATCH.name, "torch"))
os.environ.pop("HAMCV_DATA", None)
# Ray reads these when it is imported, here and in the processes of a test's cluster, which nobody else shall join.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
# Networks this small only wait for each other's threads, the longer the busier the machine is.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Give the tests two cores, whatever the machine has: a job's threads, and with them its last bits, follow them."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if not hasattr(os, "sched_setaffinity") or (worker is None and config.getoption("numprocesses", None)):
        # The one who starts the workers counts all cores for it.
        return
    cores = sorted(os.sched_getaffinity(0))
    first = 2 * int((worker or "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {cores[number % len(cores)] for number in (first, first + 1)})


@pytest.fixture(scope="session", autouse=True)
def _scratch() -> Iterator[None]:
    yield
    _SCRATCH.cleanup()


@pytest.fixture(scope="session", autouse=True)
def _memory_goes_back() -> Iterator[None]:
    """Jobs that tests run in their own process shall not keep what they freed: it adds up over hundreds of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cv_folds.training.jobs.keep_freed_memory", lambda: None)
        yield


@contextmanager
def cluster(kind: str, *arguments: str) -> Iterator[str]:
    """Start a cluster and give its address; ``dask`` takes the number of workers and the GPUs that each claims."""
    script = Path(__file__).with_name("clusters") / f"{kind}_cluster.py"
    # The workers must find the specs of the tests, which come to them by reference.
    path = os.pathsep.join([str(Path(__file__).with_name("cv_folds")), *sys.path])
    # Joining a cluster sets it, for those that do not answer; a cluster that starts may take longer.
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_gcs_server_port_wait_time_s"}
    with subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=inherited | {"PYTHONPATH": path, "RAY_memory_monitor_refresh_ms": "0"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(timeout=300)


@pytest.fixture(scope="session")
def start_cluster() -> Callable[..., AbstractContextManager[str]]:
    return cluster


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    """A Dask cluster of two workers without GPUs."""
    with cluster("dask", "2", "0") as address:
        yield address


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """A Ray cluster of two CPUs, which this process can join."""
    with pytest.MonkeyPatch.context() as patch:
        services = pytest.importorskip("ray._private.services")
        patch.setattr(services, "resolve_ip_for_localhost", lambda host: host)
        with cluster("ray") as address:
            yield address
