"""The jobs of one machine: slots side by side, each with a worker process of its own.

A slot keeps its worker from job to job, so that torch is imported once. A worker that is killed takes only its own
job along, which is tried once more in a fresh one.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch
from joblib.externals.loky.backend import get_context
from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor, ShutdownExecutorError

from cv_folds.scheduling.engine import EngineOptions
from cv_folds.scheduling.outcome import JobOutcome, Losses, failed, run_and_tidy, run_contained
from cv_folds.scheduling.threads import share_threads, visible_gpus
from cv_folds.training.job_spec import JobSpec

ATTEMPTS = 2
"""How often a job is started in all when its worker is killed."""

_WATCHER = "end-with-parent"
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class LocalEngine:
    """Runs jobs on this machine.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda`` for all GPUs that this process sees, or ``cuda:N`` for one of them.
    side_by_side : int
        Number of slots. A single one on a CPU needs no worker: its jobs run in this process.
    threads : int
        CPU threads of each job.
    """

    place = None

    def __init__(self, *, device: str, side_by_side: int, threads: int) -> None:
        self.device = device
        self.side_by_side = side_by_side
        self.threads = threads
        self._gpus = visible_gpus(device) if device.startswith("cuda") else ()

    def check(self, specs: Sequence[JobSpec]) -> None:
        """Workers of this machine see what this process sees."""

    def outcomes(self, specs: Sequence[JobSpec]) -> Generator[JobOutcome, None, None]:
        """Run jobs, in this process or in a worker a slot."""
        slots = min(self.side_by_side, len(specs))
        if slots <= 1 and not self._gpus:
            yield from _in_this_process(specs)
        else:
            yield from self._in_workers(specs, slots)

    def _in_workers(self, specs: Sequence[JobSpec], n_slots: int) -> Generator[JobOutcome, None, None]:
        waiting: queue.SimpleQueue[JobSpec | None] = queue.SimpleQueue()
        ended: queue.SimpleQueue[JobOutcome | BaseException] = queue.SimpleQueue()
        for spec in specs:
            waiting.put(spec)
        losses = Losses(ATTEMPTS)
        slots = [_Slot(waiting, ended, losses, gpu=self._gpu(index), threads=self.threads) for index in range(n_slots)]
        for slot in slots:
            slot.start()
        try:
            for _ in specs:
                outcome = ended.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            for slot in slots:
                waiting.put(None)
                slot.close()
            for slot in slots:
                slot.join()

    def _gpu(self, slot: int) -> str | None:
        return self._gpus[slot % len(self._gpus)] if self._gpus else None


@contextmanager
def open_local(options: EngineOptions) -> Iterator[LocalEngine]:
    """Open the engine of this machine."""
    gpus = len(visible_gpus(options.device)) if options.device.startswith("cuda") else 0
    side_by_side, threads = share_threads(options.jobs, options.device, options.n_jobs, gpus=gpus)
    with warnings.catch_warnings():
        # loky replaces a worker whose memory grew, which is what a worker that trains one model after another does.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
        yield LocalEngine(device=options.device, side_by_side=side_by_side, threads=threads)


def _in_this_process(specs: Sequence[JobSpec]) -> Generator[JobOutcome, None, None]:
    threads = torch.get_num_threads()
    try:
        yield from map(run_contained, specs)
    finally:
        torch.set_num_threads(threads)


class _Slot(threading.Thread):
    """Takes one waiting job after the other and runs it in its worker."""

    def __init__(
        self,
        waiting: queue.SimpleQueue[JobSpec | None],
        ended: queue.SimpleQueue[JobOutcome | BaseException],
        losses: Losses,
        *,
        gpu: str | None,
        threads: int,
    ) -> None:
        super().__init__(name="job-slot", daemon=True)
        self._waiting = waiting
        self._ended = ended
        self._losses = losses
        self._gpu = gpu
        # Libraries that bring their own threads read these when they are loaded.
        self._environment = {name: str(threads) for name in _THREAD_LIMITS if name not in os.environ}
        if gpu is not None:
            self._environment["CUDA_VISIBLE_DEVICES"] = gpu
        self._executor: ProcessPoolExecutor | None = None
        self._closed = False
        self._lock = threading.Lock()

    def run(self) -> None:
        """Work until there is nothing left, or until the slot is closed."""
        # Workers inherit the mask: an interrupt from the keyboard is for the parent, which ends them.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            while (spec := self._waiting.get()) is not None:
                if (outcome := self._outcome(spec)) is not None:
                    self._ended.put(outcome)
                elif self._closed:
                    return
                else:
                    self._waiting.put(spec)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for the outcomes
            self._ended.put(error)

    def close(self) -> None:
        """End the worker at once, in the middle of a job too."""
        self._closed = True
        self._end_worker()

    def _end_worker(self) -> None:
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True, kill_workers=True)

    def _outcome(self, spec: JobSpec) -> JobOutcome | None:
        """Return how a job ended; None when it must be tried again or the slot was closed."""
        # The worker sees its GPU alone, and as the first.
        inside = spec if self._gpu is None else replace(spec, device="cuda:0")
        with self._lock:
            if self._closed:
                return None
            running = self._submit(inside)
        try:
            outcome = running.result()
        except ShutdownExecutorError:
            return None
        except BrokenProcessPool:
            with self._lock:
                self._executor = None
            return self._losses.add(spec, "the worker process was killed")
        except Exception as error:  # noqa: BLE001 - raised outside the job's own border, such as by a lack of memory
            outcome = failed(spec, f"{type(error).__name__}: {error}")
        if outcome.error is not None and self._gpu is not None:
            # A failed kernel can leave a GPU unusable to its process, and every job after this one would fail too.
            self._end_worker()
        return outcome

    def _submit(self, spec: JobSpec) -> Future[JobOutcome]:
        if self._executor is not None:
            # A worker that was killed while it was idle is nobody's fault.
            with suppress(BrokenProcessPool):
                return self._begin(self._executor, spec)
        self._executor = ProcessPoolExecutor(
            max_workers=1, context=get_context("loky"), env=self._environment, timeout=None
        )
        return self._begin(self._executor, spec)

    def _begin(self, executor: ProcessPoolExecutor, spec: JobSpec) -> Future[JobOutcome]:
        running: Future[JobOutcome] = executor.submit(_run_in_worker, spec, os.getpid())
        # loky's thread breaks down when it is closed with a call that it has not passed on yet; `close` waits for us.
        while not (running.running() or running.done()):
            time.sleep(0.001)
        return running


def _run_in_worker(spec: JobSpec, parent: int) -> JobOutcome:
    if all(thread.name != _WATCHER for thread in threading.enumerate()):
        threading.Thread(target=_end_with, args=(parent,), name=_WATCHER, daemon=True).start()
    return run_and_tidy(spec)


def _end_with(parent: int) -> None:
    """End this worker when its parent is gone: loky's workers would finish their queue."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
