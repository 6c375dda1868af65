"""From whatever a caller holds to images one by one, and their pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image

from cv_folds.arrays import ByteArray
from cv_folds.errors import DataError
from cv_folds.images import ImageSource, decode_rgb, to_pixels
from cv_folds.scheduling.threads import cpu_cores
from ensemble.ahead import ahead

Images: TypeAlias = "ImageSource | Iterable[ImageSource]"
"""One image or many: path, PIL image, (h, w, 3) uint8 array, (3, h, w) uint8 tensor; an array or tensor with a
fourth axis in front is many images."""

LEAST_SIDE = 8
"""Shortest accepted side in pixels: a smaller picture shows nothing."""

MOST_READERS = 8
"""Threads that decode files for a GPU. For a CPU one is enough: 15 members take a hundred times as long."""

_AHEAD = 64
"""Files that are decoded before they are needed, at most: at 224 pixels 10 MB."""


def read_images(images: Images, size: int, *, device: torch.device) -> Iterator[ByteArray | DataError]:
    """Yield the pixels of each image, files decoded ahead in other threads.

    Parameters
    ----------
    images : Images
        One image or many.
    size : int
        Side of the square that the images are scaled to, in pixels.
    device : torch.device
        For which the files are read: a GPU waits for several threads.

    Yields
    ------
    (size, size, 3) uint8 array, or DataError that names an image which cannot be read
    """
    readers = 1 if device.type == "cpu" else min(cpu_cores(), MOST_READERS)
    pool = ThreadPoolExecutor(readers, thread_name_prefix="hamcv-reader")

    def start(numbered: tuple[int, ImageSource]) -> Callable[[], ByteArray | DataError]:
        index, image = numbered
        if isinstance(image, str | Path):
            return pool.submit(_read, image, index, size).result
        # At once: a caller may fill one array again and again.
        pixels = _read(image, index, size)
        return lambda: pixels

    try:
        yield from ahead(start, enumerate(each_image(images)), window=_AHEAD)
    finally:
        pool.shutdown(cancel_futures=True)


def each_image(images: Images) -> Iterator[ImageSource]:
    """Yield the images one by one."""
    if isinstance(images, str | Path | Image.Image):
        yield images
        return
    if isinstance(images, np.ndarray | torch.Tensor) and images.ndim == 3:
        yield images
        return
    yield from images


def _read(image: ImageSource, index: int, size: int) -> ByteArray | DataError:
    name = f"{image}" if isinstance(image, str | Path) else f"image {index} (counted from 0)"
    try:
        decoded = decode_rgb(image)
    except DataError as error:
        return error if isinstance(image, str | Path) else DataError(f"{name}: {error}")
    except OSError as error:
        # A PIL image reads its file only when its pixels are asked for.
        return DataError(f"{name}: cannot be decoded ({error})")
    if min(decoded.size) < LEAST_SIDE:
        width, height = decoded.size
        return DataError(f"{name}: {width} x {height} pixels; an image needs {LEAST_SIDE} or more on each side")
    return to_pixels(decoded, size)
