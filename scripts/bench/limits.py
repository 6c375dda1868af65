"""What the device can do at most, measured on it, and what a training step asks of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from bench.alternation import Spent, timed
from bench.peer import wait_for
from cv_folds.training.step import Stepper


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What one step over a batch asks of the device."""

    flops: float
    """Floating-point operations of matrix products and convolutions, a multiply-add counted as two."""
    bytes_moved: float
    """Read and written, when every operation reads its inputs and writes its outputs once."""


def copying(n_bytes: int, device: torch.device) -> tuple[Callable[[int], Spent], float]:
    """Return what copies within the device's memory, and the bytes read and written by one copy."""
    source = torch.ones(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return _repeat(lambda: target.copy_(source), device), 2.0 * n_bytes


def multiplying(n: int, dtype: torch.dtype, device: torch.device) -> tuple[Callable[[int], Spent], float]:
    """Return what multiplies two (n, n) matrices, and the floating-point operations of one product."""
    left, right = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    return _repeat(lambda: left @ right, device), 2.0 * n**3


def demand_of(stepper: Stepper, pixels: torch.Tensor, targets: torch.Tensor) -> Demand:
    """Count what one step asks."""
    stepper.model.train()
    # The first one makes the optimiser's state.
    stepper.step(pixels, targets, None)
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _backward_flops}) as flops:
        stepper.step(pixels, targets, None)
    with _ByteCounter() as counter:
        stepper.step(pixels, targets, None)
    return Demand(flops=float(flops.get_total_flops()), bytes_moved=float(counter.total))


def _backward_flops(
    gradient: Sequence[int],
    _images: Sequence[int],
    kernel: Sequence[int],
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,
    _output_padding: object,
    _groups: int,
    wanted: Sequence[bool],
    **_: object,
) -> int:
    """Count a convolution's backward pass; torch's own count takes every grouped convolution for a dense one.

    The gradients of images and kernel cost as much as the forward pass, each.
    """
    assert not transposed
    return 2 * math.prod(gradient) * math.prod(kernel[1:]) * sum(wanted[:2])


def _repeat(work: Callable[[], object], device: torch.device) -> Callable[[int], Spent]:
    def repeat(times: int) -> Spent:
        def run() -> int:
            for _ in range(times):
                work()
            return times + wait_for(device)

        wait_for(device)
        return timed(run)

    return repeat


class _ByteCounter(TorchDispatchMode):  # type: ignore[misc]
    """Adds up the tensors that go into and come out of every operation; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.total += sum(tensor.nbytes for tensor in _tensors([args, kwargs or {}, result]))
        return result


def _tensors(tree: object) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))
