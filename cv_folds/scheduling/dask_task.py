"""What runs inside the processes of a Dask cluster.

Dask's scheduler unpacks every task to look at it. So a job travels as bytes that only a worker opens, and this module
imports torch only there: the scheduler shall not have to hold it in its memory.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cv_folds.scheduling.outcome import JobOutcome
    from cv_folds.training.job_spec import JobSpec

_ONE_AT_A_TIME = threading.Lock()


class JobCancelled(BaseException):
    """Nobody waits for this job any more."""


def pack(spec: JobSpec) -> bytes:
    """Return the job in Dask's own form for messages."""
    from distributed.protocol.pickle import dumps

    packed: bytes = dumps(spec)
    return packed


def run_packed(packed: bytes) -> JobOutcome:
    """Run a job in a thread of a Dask worker, and stop it when its task is cancelled."""
    from distributed.protocol.pickle import loads

    from cv_folds.scheduling.outcome import gpu_is_lost, run_and_tidy

    # Jobs set the threads and the random state of the whole process; a worker of several threads may get two of them.
    with _ONE_AT_A_TIME, _stopped_when_cancelled():
        outcome = run_and_tidy(loads(packed))
        if outcome.error is not None and gpu_is_lost():
            # Every job that comes to this process would fail. Its nanny starts another, and the job is tried again.
            os._exit(1)
        return outcome


@contextmanager
def _stopped_when_cancelled() -> Iterator[None]:
    """Raise `JobCancelled` in this thread once its task is no longer wanted: Dask itself lets it run to its end."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    thread = ctypes.c_ulong(threading.get_ident())
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1):
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(JobCancelled))
                return

    watcher = threading.Thread(target=watch, name="stop-when-cancelled", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
