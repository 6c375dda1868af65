"""The jobs on a Ray cluster that exists."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from cv_folds.errors import HamcvError, UsageError
from cv_folds.scheduling.engine import EngineOptions
from cv_folds.scheduling.outcome import JobOutcome, Losses, failed, run_and_tidy
from cv_folds.scheduling.probe import Sighting, look, mark, needed_files, refuse_unfit
from cv_folds.scheduling.threads import share_threads
from cv_folds.training.job_spec import JobSpec

ATTEMPTS = 3
"""How often a job is started in all when its worker is lost: on a cluster, workers also go for reasons of their own."""

CONNECT_SECONDS = 10.0
"""How long to try to reach the head node."""

PROBE_SECONDS = 120.0
"""How long a node may take to answer, which includes the start of a worker process there."""


class RayEngine:
    """Runs jobs as tasks of a Ray cluster; Ray places them by their CPUs and GPUs.

    Parameters
    ----------
    ray : module
        Ray, connected.
    address : str
        As the user gave it.
    device : str
        ``cpu`` or ``cuda``; with ``cuda`` each job has one GPU.
    limit : int or None
        Most jobs at a time.
    threads : int
        CPU threads of each job.
    """

    def __init__(self, ray: Any, *, address: str, device: str, limit: int | None, threads: int) -> None:
        self._ray = ray
        self._address = address
        self._limit = limit
        self.device = device
        self.threads = threads

    @property
    def side_by_side(self) -> int:
        """As many as the nodes have room for now, unless the user asked for fewer."""
        room = sum(self._room(node["Resources"]) for node in self._nodes())
        return max(1, room if self._limit is None else min(room, self._limit))

    @property
    def place(self) -> str:
        """Name the cluster by its kind and size."""
        nodes = len(self._nodes())
        return f"{nodes} Ray node{'s' if nodes > 1 else ''}"

    def check(self, specs: Sequence[JobSpec]) -> None:
        """Ask every node that jobs may run on."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ask = self._ray.remote(num_cpus=0, max_retries=0)(look)
        sightings: dict[str, Sighting | BaseException] = {}
        with mark(specs[0].run) as marker:
            asked = {
                f"node {node['NodeManagerAddress']}": ask.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote(marker, needed_files(specs))
                for node in self._nodes()
                if self._room(node["Resources"])
            }
            for name, answer in asked.items():
                try:
                    sightings[name] = self._ray.get(answer, timeout=PROBE_SECONDS)
                except self._ray.exceptions.RayError as error:
                    sightings[name] = error
        refuse_unfit(sightings, self._address)

    def outcomes(self, specs: Sequence[JobSpec]) -> Generator[JobOutcome, None, None]:
        """Hand the jobs over, as many as there may be at a time, and those again that lost their worker."""
        # Ray would repeat a task that ran out of memory without end, whatever number is asked for but 0.
        task = self._ray.remote(num_cpus=self.threads, num_gpus=int(self.device == "cuda"), max_retries=0)(run_and_tidy)
        losses = Losses(ATTEMPTS)
        waiting = deque(specs)
        running: dict[Any, JobSpec] = {}
        try:
            while waiting or running:
                while waiting and (self._limit is None or len(running) < self._limit):
                    spec = waiting.popleft()
                    running[task.remote(spec)] = spec
                # Not waiting inside Ray: it would swallow the exit code of a signal's handler.
                done, _ = self._ray.wait(list(running), num_returns=len(running), timeout=0)
                if not done:
                    time.sleep(0.2)
                for reference in done:
                    spec = running.pop(reference)
                    outcome = self._outcome(reference, spec, losses)
                    if outcome is None:
                        waiting.append(spec)
                    else:
                        yield outcome
        finally:
            for reference in running:
                with suppress(self._ray.exceptions.RayError):
                    self._ray.cancel(reference, force=True)

    def _outcome(self, reference: Any, spec: JobSpec, losses: Losses) -> JobOutcome | None:
        """Return how a job ended; None when it must be tried again."""
        errors = self._ray.exceptions
        try:
            outcome: JobOutcome = self._ray.get(reference)
        except errors.RayTaskError as error:
            return failed(spec, f"Ray task: {type(error).__name__}: {error}")
        except errors.LocalRayletDiedError as error:
            raise HamcvError(
                f"{self._address}: lost the connection to the Ray cluster; what is finished is kept; run the same "
                "command again"
            ) from error
        except errors.OutOfMemoryError:
            return losses.add(spec, "the Ray node ran out of memory and ended the job")
        except errors.RayError as error:
            return losses.add(spec, f"the Ray worker was lost ({type(error).__name__})")
        return outcome

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _room(self, resources: dict[str, float]) -> int:
        cpus = int(resources.get("CPU", 0)) // self.threads
        return min(cpus, int(resources.get("GPU", 0))) if self.device == "cuda" else cpus


@contextmanager
def open_ray(options: EngineOptions) -> Iterator[RayEngine]:
    """Join a Ray cluster.

    Raises
    ------
    UsageError
        When the extra is not installed, nobody answers at the address, or no node has the CPUs and the GPU of a job.
    """
    address = options.address
    assert address is not None
    host, _, port = address.rpartition(":")
    # "auto" and "local" can start a cluster.
    if not host or "/" in host or not port.isdecimal():
        raise UsageError(f"--address {address}: give the address of the head node of a Ray cluster, HOST:6379")
    # It would otherwise report to its makers on behalf of whoever runs this.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # One attempt of 40 s, not 20 of them.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    try:
        import ray
    except ImportError as error:
        raise UsageError(f"--backend ray: {error}; pip install 'hamcv[ray]'") from error
    with _joined(ray, address, host, int(port)):
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1]
        if options.device == "cuda" and not with_gpu:
            raise UsageError(
                f"--device cuda: no node of the Ray cluster at {address} has a GPU; start one with "
                "`ray start --num-gpus`, or use --device cpu"
            )
        device = "cuda" if with_gpu and options.device != "cpu" else "cpu"
        used = with_gpu if device == "cuda" else nodes
        threads = min(share_threads(options.jobs, device, options.n_jobs)[1], _cpus_of_a_job(used, device))
        if threads < 1:
            raise UsageError(
                f"--address {address}: no node of this Ray cluster has a free CPU for a job; start one with "
                "`ray start --num-cpus`"
            )
        yield RayEngine(ray, address=address, device=device, limit=options.jobs, threads=threads)


def _cpus_of_a_job(nodes: Sequence[dict[str, float]], device: str) -> int:
    """Return the CPUs that a job can have on each of the nodes that have any, 0 when none has."""
    shares = [
        int(node.get("CPU", 0) // (node["GPU"] if device == "cuda" else 1)) for node in nodes if node.get("CPU", 0) >= 1
    ]
    return min(shares, default=0)


@contextmanager
def _joined(ray: Any, address: str, host: str, port: int) -> Iterator[None]:
    if ray.is_initialized():
        raise HamcvError("this process is connected to a Ray cluster already; call ray.shutdown() first")
    try:
        # Ray itself tries much longer, and writes of it.
        socket.create_connection((host.strip("[]"), port), timeout=CONNECT_SECONDS).close()
        with _own_signals(), warnings.catch_warnings():
            # Some versions announce what will become of tasks without a GPU.
            warnings.filterwarnings("ignore", message="Tip: In future versions of Ray", category=FutureWarning)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UsageError(
            f"--address {address}: no Ray cluster can be joined there ({_reason(error)}); give the address that "
            "`ray start --head` prints, on a node of that cluster and with its versions of Ray and Python"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _reason(error: BaseException) -> str:
    """Return in one line why Ray did not connect; it hides that in the text of a traceback."""
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    if any("Traceback (" in line for line in lines):
        lines = lines[-1:]
    return " ".join(lines) or type(error).__name__


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep our handler of SIGTERM, whose exit code scripts rely on: Ray puts in its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
