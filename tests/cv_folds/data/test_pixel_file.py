from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from cv_folds.data.pixel_file import PixelFile, make_pixel_file

SHAPE = (20, 5, 5, 3)


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)


def test_what_numpy_wrote_is_read(tmp_path):
    np.save(tmp_path / "pixels.npy", images())
    file = PixelFile(tmp_path / "pixels.npy")
    assert (file.shape, len(file), file.nbytes) == (SHAPE, 20, images().nbytes)
    rows = np.array([7, 0, 19, 7])
    out = np.zeros((4, *SHAPE[1:]), dtype=np.uint8)
    file.read(rows, out)
    np.testing.assert_array_equal(out, images()[rows])


def test_numpy_reads_what_was_written(tmp_path):
    file = make_pixel_file(tmp_path / "pixels.npy", SHAPE)
    for row in np.random.default_rng(1).permutation(20).tolist():
        file.write(row, images()[row])
    np.testing.assert_array_equal(np.load(tmp_path / "pixels.npy"), images())


def test_threads_write_side_by_side(tmp_path):
    file = make_pixel_file(tmp_path / "pixels.npy", SHAPE)
    threads = [threading.Thread(target=file.write, args=(row, images()[row])) for row in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(np.load(tmp_path / "pixels.npy"), images())


@pytest.mark.parametrize("rows", [[20], [-1], [0, 25]])
def test_a_row_that_is_not_there(tmp_path, rows):
    np.save(tmp_path / "pixels.npy", images())
    out = np.zeros((len(rows), *SHAPE[1:]), dtype=np.uint8)
    with pytest.raises(IndexError, match="20 images"):
        PixelFile(tmp_path / "pixels.npy").read(np.array(rows), out)


def test_a_file_that_was_cut_names_the_mend(tmp_path):
    path = tmp_path / "pixels.npy"
    np.save(path, images())
    file = PixelFile(path)
    os.truncate(path, path.stat().st_size - 10)
    out = np.zeros((1, *SHAPE[1:]), dtype=np.uint8)
    file.read(np.array([18]), out)
    with pytest.raises(OSError, match="delete the folder of the cache"):
        file.read(np.array([19]), out)


def test_a_reader_cannot_write(tmp_path):
    np.save(tmp_path / "pixels.npy", images())
    with pytest.raises(OSError, match="Bad file descriptor"):
        PixelFile(tmp_path / "pixels.npy").write(0, images()[0])
