"""Float32 that is float32 on a GPU too, so that out-of-fold and deployed predictions are computed alike."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Keep a GPU from rounding to TensorFloat-32 and from choosing kernels by timing them.

    The switches are the whole process's: of the threads that come here only one at a time is let in. Afterwards each
    has the value that it had, as its own: where it followed one of torch's general switches, it does so no more. For
    the CPU nothing is changed and nobody waits.

    Parameters
    ----------
    device : torch.device
        Where the block computes.
    """
    if device.type == "cpu":
        yield
        return
    with _LOCK:
        before = [getattr(*switch) for switch, _ in _switches()]
        try:
            for switch, value in _switches():
                setattr(*switch, value)
            yield
        finally:
            for (switch, _), value in zip(_switches(), before, strict=True):
                setattr(*switch, value)


def _switches() -> list[tuple[tuple[Any, str], Any]]:
    """Return every switch, and what it is in the block.

    torch's older switches of the rounding (`allow_tf32`) raise where an application has used the newer ones, which work
    after either.
    """
    cudnn = torch.backends.cudnn
    rounding = (cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    return [
        *(((operations, "fp32_precision"), "ieee") for operations in rounding),
        ((cudnn, "benchmark"), False),
        ((cudnn, "deterministic"), True),
    ]


_LOCK = threading.Lock()
