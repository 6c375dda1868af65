"""Where the decoded pixels lie while a network trains, and how batches of them reach the device.

Whole in the device's memory when they fit; else gathered ahead of time from the memory map into pinned buffers and
copied while the device computes. On a CPU the memory map itself is the store: the operating system keeps what it can.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import torch

from cv_folds.data.cache import open_pixels

# The rest is for the network, its activations and the optimiser.
_RESIDENT_SHARE = 0.5
_BATCHES_AHEAD = 4


class PixelStore(Protocol):
    """Decoded images by row."""

    device: torch.device
    """Where batches arrive."""

    def batches(self, rows: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the (m, size, size, 3) uint8 images at each (m,) int64 CPU tensor of rows."""
        ...


class ResidentPixels:
    """All images in the memory of the device.

    Parameters
    ----------
    pixels : (N, size, size, 3) uint8 tensor
        The images, on the device.
    """

    def __init__(self, pixels: torch.Tensor) -> None:
        self._pixels = pixels
        self.device = pixels.device

    def batches(self, rows: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the images at each tensor of rows."""
        if not rows:
            return
        # One copy of all row numbers; a copy a batch would make the host wait for the device.
        on_device = torch.cat(list(rows)).to(self.device)
        for part in torch.split(on_device, [len(batch) for batch in rows]):
            yield torch.index_select(self._pixels, 0, part)


class StreamedPixels:
    """Images that stay in host memory or on disk and are copied batch by batch, some batches ahead.

    Parameters
    ----------
    pixels : (N, size, size, 3) uint8 tensor
        The images, usually a memory map.
    device : torch.device
        Where batches arrive.
    """

    def __init__(self, pixels: torch.Tensor, device: torch.device) -> None:
        self._pixels = pixels
        self.device = device

    def batches(self, rows: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the images at each tensor of rows."""
        if not rows:
            return
        largest = max(len(batch) for batch in rows)
        shape = (largest, *self._pixels.shape[1:])
        # The threads fill the buffers outside of the caller's inference mode.
        with torch.inference_mode(False):
            slots = [_Slot(shape, self.device) for _ in range(min(_BATCHES_AHEAD, len(rows)))]
        with ThreadPoolExecutor(max_workers=len(slots), thread_name_prefix="pixels") as pool:
            waiting: list[Future[torch.Tensor]] = []
            try:
                for index, slot in enumerate(slots):
                    waiting.append(pool.submit(slot.gather, self._pixels, rows[index]))
                for index in range(len(rows)):
                    slot = slots[index % len(slots)]
                    yield slot.send(waiting.pop(0).result())
                    if (following := index + len(slots)) < len(rows):
                        waiting.append(pool.submit(slot.gather, self._pixels, rows[following]))
            finally:
                for future in waiting:
                    future.cancel()


class _Slot:
    """One buffer that is filled by a thread and emptied by the device."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self._device = device
        self._buffer = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self._copied: torch.cuda.Event | None = None

    def gather(self, pixels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Fill the buffer, when the device has taken what was in it before."""
        if self._copied is not None:
            self._copied.synchronize()
        return torch.index_select(pixels, 0, rows, out=self._buffer[: len(rows)])

    def send(self, filled: torch.Tensor) -> torch.Tensor:
        """Copy to the device, without waiting for it."""
        if self._device.type != "cuda":
            return filled.to(self._device, copy=True)
        sent = filled.to(self._device, non_blocking=True)
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._copied.record(torch.cuda.current_stream(self._device))
        return sent


def open_store(path: Path, device: torch.device) -> PixelStore:
    """Open decoded images for training.

    Parameters
    ----------
    path : Path
        What `decoded_pixels` wrote.
    device : torch.device
        Where to train.

    Returns
    -------
    PixelStore
        On a GPU resident when the images take at most half of its free memory, else streamed.
    """
    pixels = torch.from_numpy(open_pixels(path))
    if device.type != "cuda":
        return ResidentPixels(pixels) if device.type == "cpu" else StreamedPixels(pixels, device)
    free, _ = torch.cuda.mem_get_info(device)
    # What the job before this one gave back is kept by torch and looks taken.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if pixels.nbytes <= _RESIDENT_SHARE * free:
        return ResidentPixels(pixels.to(device))
    return StreamedPixels(pixels, device)
