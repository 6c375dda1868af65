"""Float32 that is float32 on a GPU too, so that out-of-fold and deployed predictions are computed alike."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Keep a GPU from rounding to TensorFloat-32 and from choosing kernels by timing them.

    The switches are the whole process's: of the threads that come here only one at a time is let in. For the CPU
    nothing is changed and nobody waits.

    Parameters
    ----------
    device : torch.device
        Where the block computes.
    """
    if device.type == "cpu":
        yield
        return
    cudnn = torch.backends.cudnn
    with _LOCK, cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False), _exact_matmul():
        yield


@contextmanager
def _exact_matmul() -> Iterator[None]:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before


_LOCK = threading.Lock()
