"""Sharing the cores of this machine out between jobs, and naming its GPUs."""

from __future__ import annotations

import os


def cpu_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_threads(jobs: int | None, device: str, n_jobs: int, *, gpus: int = 1) -> tuple[int, int]:
    """Return how many jobs run side by side and the CPU threads of each.

    On a CPU, jobs of one thread each: side by side they do more than one job with all threads, whose work is not
    all parallel. On GPUs one job at a time on each, since a job fills the device.

    Parameters
    ----------
    jobs : int or None
        What the user asks for; None for the default.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    n_jobs : int
        All jobs of the run, finished ones too: a resumed job must have the threads that it would have had at first,
        since its numbers depend on them.
    gpus : int
        How many GPUs there are for the jobs; without meaning on a CPU.
    """
    assert n_jobs > 0
    cores = cpu_cores()
    side_by_side = min(jobs if jobs is not None else (gpus if device.startswith("cuda") else cores), n_jobs)
    return side_by_side, max(1, cores // side_by_side)


def visible_gpus(device: str) -> tuple[str, ...]:
    """Return the GPUs that `device` means, each as a value for ``CUDA_VISIBLE_DEVICES`` of a process that has it alone.

    Parameters
    ----------
    device : str
        ``cuda`` for all that this process sees, or ``cuda:N`` for one of them.
    """
    # Imported when needed: combining and reporting ask for the number of cores alone.
    import torch

    count = torch.cuda.device_count()
    own = os.environ.get("CUDA_VISIBLE_DEVICES")
    # CUDA numbers the devices anew in the order of that list, whose entries may be indices or UUIDs.
    names = [str(index) for index in range(count)] if own is None else [name.strip() for name in own.split(",")]
    _, _, index = device.partition(":")
    return (names[int(index)],) if index else tuple(names[:count])
