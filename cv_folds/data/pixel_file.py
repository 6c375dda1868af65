"""An ``.npy`` file of decoded images, read and written row by row.

With plain reads and writes, not through a memory map: what a process has touched of a map counts as its own memory,
so that a ten times larger dataset would seem to need ten times the memory, in every worker.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from cv_folds.arrays import ByteArray, IntArray


class PixelFile:
    """(n, size, size, 3) uint8 images on disk; any number of threads may use it.

    Parameters
    ----------
    path : Path
        The file.
    writable : bool
        Whether `write` may be called.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            assert version == (1, 0)
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
            self._start = stream.tell()
        assert dtype == np.uint8
        assert not fortran_order
        self.shape: tuple[int, ...] = shape
        self._row_bytes = int(np.prod(shape[1:]))
        self._file = os.open(path, os.O_RDWR if writable else os.O_RDONLY)

    def __len__(self) -> int:
        return self.shape[0]

    def __del__(self) -> None:
        # The constructor may have failed before.
        if hasattr(self, "_file"):
            os.close(self._file)

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return len(self) * self._row_bytes

    def read(self, rows: IntArray, out: ByteArray) -> None:
        """Fill (m, size, size, 3) `out` with the images at (m,) `rows`; `IndexError` for one that is not there."""
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"rows from {rows.min()} to {rows.max()}, but there are {len(self)} images")
        for row, target in zip(rows.tolist(), out, strict=True):
            self._read_at(row, target.data.cast("B"))

    def write(self, row: int, pixels: ByteArray) -> None:
        """Write one (size, size, 3) image."""
        assert pixels.shape == self.shape[1:]
        content = np.ascontiguousarray(pixels).data.cast("B")
        done = 0
        while done < len(content):
            done += os.pwrite(self._file, content[done:], self._start + row * self._row_bytes + done)

    def _read_at(self, row: int, target: memoryview) -> None:
        done = 0
        while done < len(target):
            count = os.preadv(self._file, [target[done:]], self._start + row * self._row_bytes + done)
            if count == 0:
                raise OSError(f"the decoded images end before row {row}; delete the folder of the cache and run again")
            done += count


def make_pixel_file(path: Path, shape: tuple[int, ...]) -> PixelFile:
    """Make a file for images of `shape`, with its space on disk taken where the system can do that."""
    with path.open("wb") as stream:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        size = stream.tell() + int(np.prod(shape))
        stream.truncate(size)
        # A full disk is found now and not after half an hour of decoding.
        if hasattr(os, "posix_fallocate") and size > 0:
            os.posix_fallocate(stream.fileno(), 0, size)
    return PixelFile(path, writable=True)
