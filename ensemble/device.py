"""From the name of a device to the device."""

from __future__ import annotations

import re

import torch

from cv_folds.errors import UsageError


def resolve_device(name: str) -> torch.device:
    """Return the device that `name` means on this machine.

    Parameters
    ----------
    name : str
        ``auto`` (the first CUDA device where there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    Returns
    -------
    torch.device

    Raises
    ------
    UsageError
        When the name is another, or there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UsageError(f"device {name!r}: must be auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cpu":
        return device
    if not torch.cuda.is_available():
        raise UsageError(f"device {name!r}: torch finds no CUDA device here; use cpu or auto")
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise UsageError(
            f"device {name!r}: there are {count} CUDA devices, numbered from 0; use cuda:{count - 1} or auto"
        )
    return device
