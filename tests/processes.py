"""Looking at the processes that a test started, and waiting for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    """Return the process ids of the children."""
    found = []
    # Each thread has children of its own, and may end while it is looked at.
    for task in Path("/proc", str(pid), "task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(child) for child in task.read_text().split()]
    return found


def command_line(pid: int) -> str:
    """Return the command line; empty when the process is gone, or ended and not yet waited for."""
    try:
        return Path("/proc", str(pid), "cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def wait_for(happened: Callable[[], bool], seconds: float = 300, look_every: float = 0.2) -> None:
    """Return once it happened; fail when it did not in time."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(look_every)
