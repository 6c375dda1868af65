"""Fits that do not depend on each other, side by side on the cores of this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

Task = TypeVar("Task")
Result = TypeVar("Result")

WORTH_A_PROCESS = 2_000
"""Rows below which a fit ends before another process has started."""


def map_tasks(function: Callable[[Task], Result], tasks: Sequence[Task], *, n_rows: int, workers: int) -> list[Result]:
    """Apply a function to every task, in other processes when that saves time.

    Parameters
    ----------
    function : callable
        Of a module, so that another process can find it; it changes nothing outside itself.
    tasks : sequence
        Its arguments.
    n_rows : int
        How many rows each task works on.
    workers : int
        Most processes side by side.

    Returns
    -------
    list
        In the order of `tasks`. Each task runs with one thread whatever the number of workers, since sums of several
        threads depend on how many there are: the results are the same to the bit.
    """
    side_by_side = min(workers, len(tasks))
    if side_by_side < 2 or n_rows < WORTH_A_PROCESS:
        with threadpool_limits(limits=1):
            return [function(task) for task in tasks]
    with parallel_config(backend="loky", inner_max_num_threads=1):
        # Without a memory map of the arguments: they are small, and temporary files would have to be cleaned up.
        results: list[Result] = Parallel(n_jobs=side_by_side, max_nbytes=None)(
            delayed(function)(task) for task in tasks
        )
    return results
