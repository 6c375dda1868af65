"""The jobs on a Dask cluster that exists: one at a time on each of its workers.

Jobs are dealt out here and not by Dask's scheduler. It counts the death of a worker against every task that waits
there, so that one job that kills its workers would end the innocent ones too.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cv_folds.errors import HamcvError, UsageError, list_rows
from cv_folds.scheduling.dask_task import pack, run_packed
from cv_folds.scheduling.engine import EngineOptions
from cv_folds.scheduling.outcome import JobOutcome, Losses, failed
from cv_folds.scheduling.probe import Sighting, complaints, look, mark, needed_files, refuse_unfit
from cv_folds.scheduling.threads import share_threads
from cv_folds.training.job_spec import JobSpec

if TYPE_CHECKING:
    from distributed import Client, Future

ATTEMPTS = 3
"""How often a job is started in all when its worker is lost: on a cluster, workers also go for reasons of their own."""

CONNECT_SECONDS = 15.0
"""How long to try to reach the scheduler."""

WORKER_SECONDS = 30.0
"""How long to wait for a first worker."""

ABANDONED_SECONDS = 600.0
"""How long to wait, in the middle of a run, for any worker to come back."""

_RESOURCE = "GPU"
_RESULT_SECONDS = 60.0
_KEPT = "what is finished is kept; run the same command again"


@dataclass(frozen=True, kw_only=True)
class _Sent:
    """A job on its way."""

    spec: JobSpec
    worker: str
    future: Future[JobOutcome]


class DaskEngine:
    """Runs jobs on the workers of a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    address : str
        As the user gave it.
    device : str
        ``cpu`` or ``cuda``; with ``cuda`` only workers that offer the resource ``GPU`` are used, one unit a job.
    limit : int or None
        Most jobs at a time.
    threads : int
        CPU threads of each job.
    """

    def __init__(self, client: Client, *, address: str, device: str, limit: int | None, threads: int) -> None:
        self._client = client
        self._address = address
        self._limit = limit
        # Worker to what keeps it from running jobs.
        self._unfit: dict[str, list[str]] = {}
        self._sent = 0
        self.device = device
        self.threads = threads

    @property
    def side_by_side(self) -> int:
        """As many as there are workers now, unless the user asked for fewer."""
        workers = max(1, len(self._usable()))
        return workers if self._limit is None else min(workers, self._limit)

    @property
    def place(self) -> str:
        """Name the cluster by its kind and size."""
        workers = self.side_by_side
        return f"{workers} Dask worker{'s' if workers > 1 else ''}"

    def check(self, specs: Sequence[JobSpec]) -> None:
        """Ask every worker, and the scheduler, which imports the function that runs them."""
        workers = self._usable()
        refuse_unfit(self._ask(workers, specs), self._address)
        self._unfit = {worker: [] for worker in workers}

    def outcomes(self, specs: Sequence[JobSpec]) -> Generator[JobOutcome, None, None]:
        """Send each idle worker a job, and one that lost its worker to the next."""
        losses = Losses(ATTEMPTS)
        waiting = deque(specs)
        running: dict[str, _Sent] = {}
        ended: queue.SimpleQueue[Future[JobOutcome]] = queue.SimpleQueue()
        busy = time.monotonic()
        try:
            while waiting or running:
                for worker in self._idle(running, specs) if waiting else ():
                    if waiting:
                        running[worker] = self._send(waiting.popleft(), worker, ended)
                busy = time.monotonic() if running else busy
                if time.monotonic() - busy > ABANDONED_SECONDS:
                    rows = [row for found in self._unfit.values() for row in found]
                    raise HamcvError(
                        f"{self._address}: no worker is left that can run the jobs; {_KEPT}\n{list_rows(rows)}"
                    )
                for sent in self._over(running, ended):
                    del running[sent.worker]
                    outcome = self._outcome(sent, losses)
                    if outcome is None:
                        waiting.append(sent.spec)
                    else:
                        yield outcome
        finally:
            with suppress(OSError):
                self._client.cancel([sent.future for sent in running.values()], force=True)

    def _workers(self) -> dict[str, Any]:
        """Return what the scheduler knows of each worker."""
        # Without a connection the client answers with nothing.
        known: dict[str, Any] | None = self._client.scheduler_info(n_workers=-1).get("workers")
        if known is None:
            raise HamcvError(f"{self._address}: lost the connection to the Dask scheduler; {_KEPT}")
        return known

    def _usable(self) -> list[str]:
        return [
            worker
            for worker, about in self._workers().items()
            if about["status"] == "running" and (self.device == "cpu" or about["resources"].get(_RESOURCE, 0) >= 1)
        ]

    def _idle(self, running: Collection[str], specs: Sequence[JobSpec]) -> list[str]:
        """Return the workers that can take a job; those that joined since are asked first whether they are fit."""
        room = len(specs) if self._limit is None else self._limit - len(running)
        idle = [worker for worker in self._usable() if worker not in running] if room > 0 else []
        if unknown := [worker for worker in idle if worker not in self._unfit]:
            sightings = self._ask(unknown, specs)
            self._unfit |= {worker: complaints({worker: sightings[worker]}) for worker in unknown}
        return [worker for worker in idle if not self._unfit[worker]][:room]

    def _ask(self, workers: list[str], specs: Sequence[JobSpec]) -> dict[str, Sighting | BaseException]:
        files = needed_files(specs)
        with mark(specs[0].run) as marker:
            answers = self._client.run(look, marker, files, workers=workers, on_error="return")
            try:
                answers["the scheduler"] = self._client.run_on_scheduler(look, marker, files)
            except Exception as error:  # noqa: BLE001 - whatever an import on another machine raises; it is shown
                answers["the scheduler"] = error
        return dict(answers)

    def _send(self, spec: JobSpec, worker: str, ended: queue.SimpleQueue[Future[JobOutcome]]) -> _Sent:
        self._sent += 1
        future = self._client.submit(
            run_packed,
            pack(spec),
            # The same job may be sent twice, to different workers.
            key=f"hamcv-{spec.name}-{self._client.id}-{self._sent}",
            pure=False,
            workers=[worker],
            resources={_RESOURCE: 1} if self.device == "cuda" else None,
        )
        future.add_done_callback(ended.put)
        return _Sent(spec=spec, worker=worker, future=future)

    def _over(self, running: dict[str, _Sent], ended: queue.SimpleQueue[Future[JobOutcome]]) -> list[_Sent]:
        """Wait up to a second; return the jobs that ended and those whose worker is gone."""
        with suppress(queue.Empty):
            ended.get(timeout=1)
        known = self._workers()
        return [sent for sent in running.values() if sent.future.done() or sent.worker not in known]

    def _outcome(self, sent: _Sent, losses: Losses) -> JobOutcome | None:
        """Return how a job ended; None when it must be tried again."""
        if sent.future.done():
            if sent.future.cancelled():
                raise HamcvError(f"{self._address}: the Dask scheduler was lost or forgot the jobs; {_KEPT}")
            try:
                # Its worker may have died between the end of the job and now.
                outcome: JobOutcome = sent.future.result(timeout=_RESULT_SECONDS)
            except (TimeoutError, OSError, RuntimeError) as error:
                return losses.add(sent.spec, f"the Dask worker {sent.worker} was lost ({type(error).__name__})")
            except Exception as error:  # noqa: BLE001 - raised by a task that never came to the job's own border
                return failed(sent.spec, f"Dask worker {sent.worker}: {type(error).__name__}: {error}")
            return outcome
        self._client.cancel([sent.future], force=True)
        return losses.add(sent.spec, f"the Dask worker {sent.worker} was lost")


@contextmanager
def open_dask(options: EngineOptions) -> Iterator[DaskEngine]:
    """Join a Dask cluster.

    Raises
    ------
    UsageError
        When the extra is not installed, nobody answers at the address, there is no worker, or none has a GPU that
        was asked for.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(f"--backend dask: {error}; pip install 'hamcv[dask]'") from error
    address = options.address
    assert address is not None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--address {address}: no Dask scheduler can be reached there ({error}); give the address that "
            "`dask scheduler` prints, such as tcp://HOST:8786"
        ) from error
    with client:
        workers = _first_workers(client, address)
        with_gpu = [about for about in workers if about["resources"].get(_RESOURCE, 0) >= 1]
        if options.device == "cuda" and not with_gpu:
            raise UsageError(
                f"--device cuda: none of the {len(workers)} workers of {address} offers the resource {_RESOURCE}; "
                f"start one a GPU, each with its own CUDA_VISIBLE_DEVICES: "
                f"dask worker {address} --nthreads 1 --resources {_RESOURCE}=1"
            )
        device = "cuda" if with_gpu and options.device != "cpu" else "cpu"
        used = with_gpu if device == "cuda" else workers
        threads = share_threads(options.jobs, device, options.n_jobs)[1]
        room = min(about["nthreads"] for about in used)
        yield DaskEngine(client, address=address, device=device, limit=options.jobs, threads=min(threads, room))


def _first_workers(client: Client, address: str) -> list[dict[str, Any]]:
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError as error:
        raise UsageError(
            f"--address {address}: this Dask cluster has no worker, not after {WORKER_SECONDS:.0f} s of waiting; "
            f"start one a core or GPU: dask worker {address} --nthreads 1"
        ) from error
    return list(client.scheduler_info(n_workers=-1)["workers"].values())
