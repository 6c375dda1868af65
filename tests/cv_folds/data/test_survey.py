from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cv_folds_samples import random_image
from PIL import Image
from reader_samples import write_table

from cv_folds.data.readers import read_dataset
from cv_folds.data.survey import survey
from cv_folds.errors import DataError
from cv_folds.images import check_image, decode_rgb


def refused(call, path: Path) -> bool:
    try:
        call(path)
    except DataError:
        return True
    return False


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_look_finds_what_decoding_finds(tmp_path, seed, progressive):
    whole = tmp_path / "whole.jpg"
    random_image(seed, 57 + seed, 40).save(whole, quality=90, progressive=progressive)
    content = whole.read_bytes()
    assert check_image(whole) == (57 + seed, 40)
    rng = np.random.default_rng(seed)
    damaged = tmp_path / "damaged.jpg"
    answers = set()
    for cut in rng.integers(1, len(content), size=40).tolist():
        damaged.write_bytes(content[:cut])
        answers.add(refused(decode_rgb, damaged))
        assert refused(check_image, damaged) == refused(decode_rgb, damaged)
    assert True in answers


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_turned_image(tmp_path, orientation):
    image = random_image(0, 30, 20)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert check_image(tmp_path / "turned.jpg") == decode_rgb(tmp_path / "turned.jpg").size


def test_images_that_decoding_refuses(tmp_path):
    Image.new("F", (8, 8)).save(tmp_path / "real.tiff")
    (tmp_path / "text.jpg").write_text("no picture")
    for name in ("real.tiff", "text.jpg", "absent.jpg"):
        with pytest.raises(DataError, match=name):
            check_image(tmp_path / name)


def test_counts(tmp_path):
    header = ["image", "label", "lesion", "age", "sex", "localization"]
    rows = [
        ["a", "x", "L1", "40", "female", "back"],
        ["b", "x", "L1", "", "Unknown", ""],
        ["c", "x", "L1", "unknown", "", "unknown"],
        ["d", "y", "", "1", "male", "back"],
        ["e", "y", "L2", "2", "male", "back"],
    ]
    write_table(tmp_path / "t.csv", header, rows)
    for index, (name, *_) in enumerate(rows):
        random_image(index, *((20, 10) if index < 3 else (10, 20))).save(tmp_path / f"{name}.jpg")
    (tmp_path / "e.jpg").write_bytes(b"broken")
    seen: list[None] = []
    found = survey(read_dataset(tmp_path), workers=2, on_image=lambda: seen.append(None))
    assert len(seen) == 5
    assert found.images_per_lesion == {1: 2, 3: 1}
    assert found.sizes == {(20, 10): 3, (10, 20): 1}
    assert len(found.unreadable) == 1
    assert "e.jpg" in found.unreadable[0]
    assert {column.name: (column.missing, column.unknown) for column in found.columns} == {
        "lesion": (1, 0), "dx_type": (5, 0), "age": (2, 0), "sex": (1, 1), "localization": (1, 1),
    }  # fmt: skip
