"""Where the decoded pixels lie while a network trains, and how batches of them reach the device.

Whole in a GPU's memory when they fit; else read from the file ahead of time, into pinned buffers that are copied while
the device computes. On a CPU they are read from the file alike, which the operating system keeps in memory as far as
there is room; a worker itself holds a few batches only, however large the dataset is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import torch

from cv_folds.data.pixel_file import PixelFile
from cv_folds.training.memory import out_of_memory

# The rest is for the network, its activations and the optimiser.
_RESIDENT_SHARE = 0.5
_BATCHES_AHEAD = 4
_UPLOADED_AT_A_TIME = 256


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
    """Images that stay in their file and are read batch by batch, some batches ahead.

    Parameters
    ----------
    pixels : PixelFile
        The images.
    device : torch.device
        Where batches arrive.
    """

    def __init__(self, pixels: PixelFile, device: torch.device) -> None:
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

    def gather(self, pixels: PixelFile, rows: torch.Tensor) -> torch.Tensor:
        """Fill the buffer, when the device has taken what was in it before."""
        if self._copied is not None:
            self._copied.synchronize()
        filled = self._buffer[: len(rows)]
        pixels.read(rows.numpy(), filled.numpy())
        return filled

    def send(self, filled: torch.Tensor) -> torch.Tensor:
        """Copy to the device, without waiting for it."""
        if self._device.type != "cuda":
            return filled.to(self._device, copy=True)
        sent = filled.to(self._device, non_blocking=True)
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._copied.record(torch.cuda.current_stream(self._device))
        return sent


def open_store(path: Path, device: torch.device, *, resident: bool = True) -> PixelStore:
    """Open decoded images for training.

    Parameters
    ----------
    path : Path
        What `decoded_pixels` wrote.
    device : torch.device
        Where to train.
    resident : bool
        Whether the images may lie on a GPU.

    Returns
    -------
    PixelStore
        On a GPU resident when that is allowed and the images take at most half of its free memory, else streamed; on a
        CPU streamed.
    """
    pixels = PixelFile(path)
    if device.type != "cuda" or not resident:
        return StreamedPixels(pixels, device)
    # All jobs of a process share one copy.
    if (kept := _uploaded.get((path, device))) is not None:
        return kept
    free, _ = torch.cuda.mem_get_info(device)
    # What the job before this one gave back is kept by torch and looks taken.
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if pixels.nbytes > _RESIDENT_SHARE * free:
        return StreamedPixels(pixels, device)
    _uploaded.clear()
    try:
        _uploaded[path, device] = ResidentPixels(_upload(pixels, device))
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        # Another program was faster.
        return StreamedPixels(pixels, device)
    return _uploaded[path, device]


def give_back(path: Path, device: torch.device) -> bool:
    """Let go of the images that lie on a device; False when there are none."""
    return _uploaded.pop((path, device), None) is not None


_uploaded: dict[tuple[Path, torch.device], ResidentPixels] = {}


def _upload(pixels: PixelFile, device: torch.device) -> torch.Tensor:
    """Copy all images to a device, a part at a time: the host needs no room for all of them."""
    resident = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    rows = torch.split(torch.arange(len(pixels)), _UPLOADED_AT_A_TIME)
    done = 0
    for batch in StreamedPixels(pixels, device).batches(rows):
        resident[done : done + len(batch)] = batch
        done += len(batch)
    return resident
