"""Every image decoded once, into a file of `uint8` pixels that all jobs share.

The cache is keyed by what determines its content: the dataset's fingerprint, the files' modification times, the
image size and the decoder. It is built beside its final place and renamed, so that a half-built one is never read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from cv_folds.data.dataset import LesionDataset
from cv_folds.data.pixel_file import make_pixel_file
from cv_folds.errors import DataError, HamcvError, list_rows
from cv_folds.images import DECODER, decode_rgb, to_pixels

PIXELS_FILE = "pixels.npy"


def cache_root() -> Path:
    """Return ``$HAMCV_CACHE``, else ``$XDG_CACHE_HOME/hamcv``, else ``~/.cache/hamcv``."""
    if own := os.environ.get("HAMCV_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared, "hamcv")
    return Path.home() / ".cache" / "hamcv"


def decoded_pixels(
    dataset: LesionDataset,
    image_size: int,
    *,
    root: Path,
    workers: int,
    on_image: Callable[[], object] | None = None,
) -> Path:
    """Decode and scale all images, unless that was done before.

    Parameters
    ----------
    dataset : LesionDataset
        Whose images to decode; row i of the array is image i.
    image_size : int
        Side of the square in pixels.
    root : Path
        Folder of the caches.
    workers : int
        Threads that decode side by side; Pillow releases the interpreter lock while it decodes.
    on_image : callable, optional
        Called after each image, from any thread; for a progress bar.

    Returns
    -------
    Path
        An ``.npy`` file with an (n, image_size, image_size, 3) uint8 array, for `PixelFile`.

    Raises
    ------
    DataError
        When images cannot be decoded: all of them at once.
    HamcvError
        When the cache cannot be written.
    """
    target = root / "decoded" / f"{dataset.name}-{image_size}px-{_key(dataset, image_size)}" / PIXELS_FILE
    if target.is_file():
        return target
    try:
        target.parent.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{target.parent.name}-", dir=target.parent.parent))
        try:
            _decode_all(dataset, image_size, building / target.name, workers, on_image)
            _publish(building, target.parent)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise HamcvError(
            f"{target.parent}: cannot write the decoded images ({error.strerror or error}); free space there or "
            f"name another folder with the environment variable HAMCV_CACHE"
        ) from error
    return target


def _publish(building: Path, target: Path) -> None:
    try:
        building.rename(target)
    except OSError:
        # Another process published the same content first; anything else there is in the way.
        if not (target / PIXELS_FILE).is_file():
            raise


def _decode_all(
    dataset: LesionDataset, image_size: int, path: Path, workers: int, on_image: Callable[[], object] | None
) -> None:
    pixels = make_pixel_file(path, (len(dataset), image_size, image_size, 3))

    def decode(row: int) -> str | None:
        try:
            pixels.write(row, to_pixels(decode_rgb(dataset.paths[row]), image_size))
        except DataError as error:
            return str(error)
        finally:
            if on_image is not None:
                on_image()
        return None

    with ThreadPoolExecutor(max_workers=workers) as pool:
        problems = [problem for problem in pool.map(decode, range(len(dataset))) if problem is not None]
    if problems:
        raise DataError(f"{len(problems)} images cannot be used:\n" + list_rows(problems))


def _key(dataset: LesionDataset, image_size: int) -> str:
    digest = hashlib.sha256(f"{dataset.fingerprint} {image_size} {DECODER}".encode())
    for path in dataset.paths:
        # A file that vanished since the metadata were read is reported with the other unreadable ones.
        with suppress(FileNotFoundError):
            digest.update(f" {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
