"""From whatever a caller holds to images one by one, and their pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image

from cv_folds.arrays import ByteArray
from cv_folds.errors import DataError
from cv_folds.images import ImageSource, decode_rgb, to_pixels

Images: TypeAlias = ImageSource | Iterable[ImageSource]
"""One image or many: path, PIL image, (h, w, 3) uint8 array, (3, h, w) uint8 tensor; an array or tensor with a
fourth axis in front is many images."""


def each_image(images: Images) -> Iterator[ImageSource]:
    """Yield the images one by one."""
    if isinstance(images, str | Path | Image.Image):
        yield images
        return
    if isinstance(images, np.ndarray | torch.Tensor) and images.ndim == 3:
        yield images
        return
    yield from images


def pixels_of(image: ImageSource, index: int, size: int) -> ByteArray:
    """Return the (size, size, 3) pixels of an image; `index` names in errors what has no path."""
    try:
        return to_pixels(decode_rgb(image), size)
    except DataError as error:
        if isinstance(image, str | Path):
            raise
        raise DataError(f"image {index} (counted from 0): {error}") from error
    except OSError as error:
        # A PIL image reads its file only when its pixels are asked for.
        raise DataError(f"image {index} (counted from 0): cannot be decoded ({error})") from error
