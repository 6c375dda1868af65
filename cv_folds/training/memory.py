"""How the C library treats the memory of a process that trains."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next allocation, where it is glibc; elsewhere nothing happens.

    By default it maps each large tensor anew and gives it back when it is freed, so that the kernel clears every page
    again in every step. Measured on two cores at 96 px, batch 32: 42,000 page faults a step fell to 200, and a
    MobileNetV3's training became 1.35 times as fast, a ResNet50's 1.12 times, with 1 to 3 % more memory.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST)


def return_freed_memory() -> None:
    """Give what is free back to the system, as at the end of a job."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
