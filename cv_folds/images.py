"""From any kind of image to RGB pixels of one size: the same way for training and for prediction."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeGuard, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps

from cv_folds.arrays import ByteArray
from cv_folds.errors import DataError

if TYPE_CHECKING:
    import torch

ImageSource: TypeAlias = "str | Path | Image.Image | ByteArray | torch.Tensor"

Result = TypeVar("Result")

DECODER = "pillow-squash-bilinear-1"
"""Names the recipe of `to_pixels`; a change there must change this, since caches and bundles record it."""

MAX_PIXELS = 178_956_970
"""Largest accepted image, in pixels; the size from which Pillow warns of a decompression bomb, times two.

The warning of images in between is left to the caller's filters: they belong to the whole process, while many threads
decode at a time.
"""

# EXIF orientations that swap width and height.
_LYING = frozenset({5, 6, 7, 8})


def decode_rgb(source: ImageSource) -> Image.Image:
    """Decode one image to RGB, turned as its EXIF orientation says.

    Parameters
    ----------
    source : str, Path, PIL.Image.Image, (h, w, 3) uint8 array or (3, h, w) uint8 tensor
        A file or an image in memory.

    Returns
    -------
    PIL.Image.Image
        Mode ``RGB``. Greyscale, palettes and CMYK are converted as Pillow does, 16-bit channels are divided by 257 (so
        that 65535 becomes 255), and what is transparent is laid on white.

    Raises
    ------
    DataError
        When a file is missing, truncated, too large or no image, has 12-bit, 32-bit integer or floating-point
        channels, or an
        array is empty or has another shape or dtype.
    """
    if isinstance(source, str | Path):
        return _decode_file(Path(source))
    if isinstance(source, Image.Image):
        with _naming("an image in memory"):
            return _to_rgb(source, "an image in memory")
    if _is_tensor(source):
        if source.ndim != 3 or source.shape[0] != 3 or str(source.dtype) != "torch.uint8" or not source.numel():
            raise DataError(
                f"an image tensor must be uint8 of shape (3, height, width), not {source.dtype} of shape "
                f"{tuple(source.shape)}"
            )
        return Image.fromarray(np.ascontiguousarray(source.permute(1, 2, 0).cpu().numpy()))
    array = np.asarray(source)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
        raise DataError(
            f"an image array must be uint8 of shape (height, width, 3), not {array.dtype} of shape {array.shape}"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def to_pixels(image: Image.Image, size: int) -> ByteArray:
    """Scale an RGB image to a square, antialiased; the aspect ratio is not kept.

    Dermatoscopic images of one camera share one aspect ratio, so that squeezing it loses nothing, while a
    square crop would cut lesions that reach the border.

    Parameters
    ----------
    image : PIL.Image.Image
        Mode ``RGB``.
    size : int
        Side of the square in pixels.

    Returns
    -------
    (size, size, 3) uint8 array
    """
    if image.size == (size, size):
        return np.array(image)
    return np.array(image.resize((size, size), Image.Resampling.BILINEAR))


def _is_tensor(source: object) -> TypeGuard[torch.Tensor]:
    # Where torch was never imported, nothing is one of its tensors; importing it takes seconds and half a GiB.
    return "torch" in sys.modules and isinstance(source, sys.modules["torch"].Tensor)


def _decode_file(path: Path) -> Image.Image:
    return _read(path, lambda image: _to_rgb(image, str(path)))


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in pixels from the file's header; raises `DataError` as `decode_rgb` does."""
    return _read(path, lambda image: image.size)


def check_image(path: Path) -> tuple[int, int]:
    """Return (width, height) in pixels as `decode_rgb` would, and find every file that it would refuse.

    Of a JPEG, all data are read but only an eighth of the side is computed: several times faster.

    Raises
    ------
    DataError
        As `decode_rgb` does.
    """

    def check(image: Image.Image) -> tuple[int, int]:
        width, height = image.size
        _refuse_unknown_range(image, str(path))
        image.draft("RGB", (max(width // 8, 1), max(height // 8, 1)))
        image.load()
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in _LYING
        return (height, width) if turned else (width, height)

    return _read(path, check)


def _read(path: Path, use: Callable[[Image.Image], Result]) -> Result:
    if not path.is_file():
        raise DataError(f"{path}: no such image file")
    with _naming(str(path)), Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            raise DataError(f"{path}: {image.width} x {image.height} pixels is more than is accepted")
        return use(image)


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Turn what Pillow raises into a `DataError` that names the source."""
    try:
        yield
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # The warning arrives here where warnings are errors.
        raise DataError(f"{source}: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        # OSError: truncated or no image; SyntaxError: Pillow's word for a broken PNG chunk.
        raise DataError(f"{source}: cannot be decoded ({error}); replace the file") from error


def _to_rgb(image: Image.Image, source: str) -> Image.Image:
    _refuse_unknown_range(image, source)
    turned = ImageOps.exif_transpose(image)
    if turned.mode.startswith("I;16"):
        # Rounded; of 16-bit colours Pillow itself keeps the high byte, which differs by one level at most.
        turned = Image.fromarray(((np.asarray(turned).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if turned.has_transparency_data:
        colours = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return turned if turned.mode == "RGB" else turned.convert("RGB")


def _refuse_unknown_range(image: Image.Image, source: str) -> None:
    twelve_bits = image.mode == "I;16" and any("I;12" in str(tile) for tile in getattr(image, "tile", ()))
    if image.mode in ("I", "F") or twelve_bits:
        # Nobody knows which of these numbers is white; Pillow would cut them at 255: a white image.
        kind = "I;12" if twelve_bits else image.mode
        raise DataError(f"{source}: pixels of Pillow's mode {kind}; save it with 8 or 16 bits a channel")
