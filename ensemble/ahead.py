"""Working ahead in other threads, in order and with a bound on what is held."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(start: Callable[[Item], Callable[[], Result]], items: Iterable[Item], *, window: int) -> Iterator[Result]:
    """Yield the results for all items, in their order.

    Parameters
    ----------
    start : callable
        Begins the work on an item and returns what waits for its result.
    items : iterable
        Taken in the thread that asks for results, at most `window` ahead of the last one.
    window : int
        Most items in work.
    """
    waiting: deque[Callable[[], Result]] = deque()
    for item in items:
        waiting.append(start(item))
        if len(waiting) == window:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def single_threaded(workers: int) -> ThreadPoolExecutor:
    """Return a pool whose every thread computes alone, without torch's helpers.

    Threads that share one operator wait for each other after each of its parts: on a busy machine, or with fewer
    cores than torch believes to have, most of the time. Threads that each compute something of their own never wait,
    and the order of their sums does not depend on the number of cores.
    """
    return ThreadPoolExecutor(workers, thread_name_prefix="hamcv-member", initializer=_compute_alone)


def _compute_alone() -> None:
    # torch settles a thread's number when it is first asked for; the limit that follows is that of this thread only,
    # while `torch.set_num_threads` would reach other threads of the process as well.
    torch.get_num_threads()
    _controller().limit(limits=1, user_api="openmp")


@lru_cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
