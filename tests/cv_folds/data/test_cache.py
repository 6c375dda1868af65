from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cv_folds_samples import metadata_row, random_image, write_layout

from cv_folds.data import cache
from cv_folds.data.cache import cache_root, decoded_pixels
from cv_folds.data.dataset import LesionDataset
from cv_folds.data.readers import read_dataset
from cv_folds.errors import DataError, HamcvError
from cv_folds.images import decode_rgb, to_pixels

N = 9


@pytest.fixture
def dataset(tmp_path: Path) -> LesionDataset:
    rows = [metadata_row(f"ISIC_{index}", f"HAM_{index}", "nv") for index in range(N)]
    return read_dataset(write_layout(tmp_path / "ham", rows))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files decoded so far."""
    paths: list[Path] = []

    def counting(source):
        paths.append(source)
        return decode_rgb(source)

    monkeypatch.setattr(cache, "decode_rgb", counting)
    return paths


def left_in(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_rows_are_the_images_in_dataset_order(tmp_path, dataset):
    seen = []
    path = decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=3, on_image=lambda: seen.append(1))
    pixels = np.load(path)
    assert (pixels.shape, pixels.dtype) == ((N, 16, 16, 3), np.uint8)
    for row, file in enumerate(dataset.paths):
        np.testing.assert_array_equal(pixels[row], to_pixels(decode_rgb(file), 16))
    assert len(seen) == N
    assert left_in(tmp_path / "cache") == [path]


def test_decoded_once(tmp_path, dataset, decoded):
    first = decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=2)
    assert sorted(decoded) == sorted(dataset.paths)
    assert decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=2) == first
    assert len(decoded) == N
    assert decoded_pixels(dataset, 8, root=tmp_path / "cache", workers=2) != first
    assert len(decoded) == 2 * N


def test_a_changed_file_of_the_same_size_is_decoded_again(tmp_path, dataset, decoded):
    first = decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=2)
    file = dataset.paths[4]
    size = file.stat().st_size
    later = file.stat().st_mtime_ns + 1_000_000_000
    random_image(77).save(file)
    assert file.stat().st_size == size
    os.utime(file, ns=(later, later))
    second = decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=2)
    assert second != first
    np.testing.assert_array_equal(np.load(second)[4], to_pixels(random_image(77), 16))


def test_another_decoder_builds_another_cache(tmp_path, dataset, monkeypatch):
    first = decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=2)
    monkeypatch.setattr(cache, "DECODER", "another")
    assert decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=2) != first


def test_all_unreadable_images_are_listed_and_nothing_stays(tmp_path, dataset):
    whole = dataset.paths[2].read_bytes()
    dataset.paths[2].write_bytes(whole[: len(whole) // 2])
    text = dataset.paths[5].with_suffix(".jpg")
    text.write_text("not an image")
    dataset.paths[7].write_bytes(b"")
    paths = tuple(text if row == 5 else path for row, path in enumerate(dataset.paths))
    with pytest.raises(DataError) as caught:
        decoded_pixels(replace(dataset, paths=paths), 16, root=tmp_path / "cache", workers=2)
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert "3 images" in message
    for row in (2, 5, 7):
        assert str(paths[row]) in message
    assert left_in(tmp_path / "cache") == []
    assert list((tmp_path / "cache" / "decoded").iterdir()) == []


def test_an_image_that_vanished_is_bad_data(tmp_path, dataset):
    dataset.paths[3].unlink()
    with pytest.raises(DataError, match=f"{dataset.paths[3]}: no such image file"):
        decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=2)


def test_builders_side_by_side_agree(tmp_path, dataset, monkeypatch):
    together = threading.Barrier(4)
    publish = cache._publish

    def publish_at_once(building, target):
        together.wait()
        publish(building, target)

    monkeypatch.setattr(cache, "_publish", publish_at_once)
    with ThreadPoolExecutor(4) as pool:
        builds = [pool.submit(decoded_pixels, dataset, 16, root=tmp_path / "cache", workers=1) for _ in range(4)]
        (path,) = {build.result() for build in builds}
    assert left_in(tmp_path / "cache") == [path]
    np.testing.assert_array_equal(np.load(path)[0], to_pixels(decode_rgb(dataset.paths[0]), 16))


@pytest.mark.parametrize("step", ["mkdtemp", "rename", "posix_fallocate"])
def test_a_full_disk_names_the_folder_and_the_way_out(tmp_path, dataset, monkeypatch, step):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = {"mkdtemp": cache.tempfile, "rename": Path, "posix_fallocate": os}[step]
    monkeypatch.setattr(owner, step, full, raising=False)
    with pytest.raises(HamcvError, match="No space left on device") as caught:
        decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=2)
    assert caught.value.exit_code == 1
    assert str(tmp_path / "cache") in str(caught.value)
    assert "HAMCV_CACHE" in str(caught.value)
    assert left_in(tmp_path / "cache") == []


def test_a_cache_folder_that_lost_its_file_is_not_returned(tmp_path, dataset):
    path = decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=2)
    path.rename(path.with_name("moved.npy"))
    with pytest.raises(HamcvError, match="HAMCV_CACHE"):
        decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=2)
    path.with_name("moved.npy").unlink()
    assert decoded_pixels(dataset, 16, root=tmp_path / "cache", workers=2) == path
    assert path.is_file()


def test_where_the_cache_lies(monkeypatch):
    monkeypatch.setenv("HAMCV_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert cache_root() == Path("/own")
    monkeypatch.delenv("HAMCV_CACHE")
    assert cache_root() == Path("/shared/hamcv")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_root() == Path.home() / ".cache" / "hamcv"
