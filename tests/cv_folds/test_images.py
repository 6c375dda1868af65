from __future__ import annotations

import re
import struct
import warnings

import cv2
import numpy as np
import pytest
import torch
from cv_folds_samples import random_image
from PIL import Image, ImageOps

from cv_folds import images
from cv_folds.errors import DataError
from cv_folds.images import check_image, decode_rgb, image_size, to_pixels


def test_one_image_in_every_form_gives_the_same_pixels(tmp_path):
    image = random_image(3)
    array = np.array(image)
    path = tmp_path / "image.png"
    image.save(path)
    sources = [path, str(path), image, array, np.asfortranarray(array), torch.from_numpy(array).permute(2, 0, 1)]
    for source in sources:
        decoded = decode_rgb(source)
        assert decoded.mode == "RGB"
        np.testing.assert_array_equal(np.array(decoded), array)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_exif_says(tmp_path, orientation):
    image = random_image(4)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "image.png"
    image.save(path, exif=exif)
    turned = decode_rgb(path)
    with Image.open(path) as stored:
        np.testing.assert_array_equal(np.array(turned), np.array(ImageOps.exif_transpose(stored)))
    assert turned.size == ((12, 9) if orientation <= 4 else (9, 12))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1", "YCbCr"])
def test_every_eight_bit_mode_becomes_rgb(tmp_path, mode):
    grey = Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode)
    assert np.array(decode_rgb(grey)).tolist() == np.full((4, 5, 3), 255).tolist()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_without_a_known_white_are_refused_instead_of_cut(tmp_path, dtype):
    deep = Image.fromarray((np.arange(20).reshape(4, 5) * 1000).astype(dtype))
    path = tmp_path / "deep.tif"
    deep.save(path)
    for check in (decode_rgb, check_image):
        with pytest.raises(DataError, match=re.escape(f"{path}: ") + ".*8 or 16 bits a channel"):
            check(path)
    with pytest.raises(DataError, match="8 or 16 bits a channel"):
        decode_rgb(deep)


def test_twelve_bits_are_not_taken_for_sixteen(tmp_path):
    path = tmp_path / "deep.tif"
    Image.fromarray(np.arange(16, dtype=np.uint16).reshape(4, 4)).save(path)
    content = bytearray(path.read_bytes())
    bits = content.index(struct.pack("<HHIH", 258, 3, 1, 16))
    content[bits + 8] = 12
    path.write_bytes(content)
    for check in (decode_rgb, check_image):
        with pytest.raises(DataError, match=re.escape(f"{path}: ") + ".*I;12"):
            check(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_is_divided_by_257(tmp_path, suffix):
    values = np.random.default_rng(0).integers(65536, size=(30, 40), dtype=np.uint16)
    values[0, :3] = (0, 257 * 9, 65535)
    path = tmp_path / f"deep{suffix}"
    image = Image.fromarray(values)
    image.save(path)
    expected = np.rint(values / 257).astype(np.uint8)
    for source in (path, image):
        pixels = np.array(decode_rgb(source))
        for channel in range(3):
            np.testing.assert_array_equal(pixels[..., channel], expected)
    assert check_image(path) == (40, 30)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colours_are_those_of_eight_bits(tmp_path, suffix, channels):
    colours = np.random.default_rng(1).integers(256, size=(30, 40, channels), dtype=np.uint8)
    colours[..., 3:] = 255
    path = tmp_path / f"deep{suffix}"
    assert cv2.imwrite(str(path), colours.astype(np.uint16) * 257)
    np.testing.assert_array_equal(np.array(decode_rgb(path)), colours[..., 2::-1])


def test_what_is_transparent_is_laid_on_white(tmp_path):
    rng = np.random.default_rng(2)
    colours = rng.integers(256, size=(6, 5, 4), dtype=np.uint8)
    colours[0, 0, 3], colours[0, 1, 3] = 0, 255
    image = Image.fromarray(colours)
    image.save(tmp_path / "image.png")
    share = colours[..., 3:] / 255
    expected = colours[..., :3] * share + 255 * (1 - share)
    for source in (image, tmp_path / "image.png"):
        pixels = np.array(decode_rgb(source))
        assert abs(pixels - expected).max() <= 1
        assert pixels[0, 0].tolist() == [255] * 3
        assert pixels[0, 1].tolist() == colours[0, 1, :3].tolist()
    grey = np.array(decode_rgb(Image.fromarray(colours[..., [0, 3]])))
    assert abs(grey - (colours[..., :1] * share + 255 * (1 - share))).max() <= 1


def test_a_palette_keeps_its_colours_and_its_transparent_one_becomes_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((1, 0), 1)
    assert np.array(decode_rgb(image)).tolist() == [[[10, 20, 30], [200, 100, 0]]]
    image.save(tmp_path / "image.png", transparency=0)
    assert np.array(decode_rgb(tmp_path / "image.png")).tolist() == [[[255, 255, 255], [200, 100, 0]]]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif"])
def test_a_truncated_file_is_named(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    random_image(5, 40, 30).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=re.escape(str(path))):
        decode_rgb(path)
    with Image.open(path) as opened, pytest.raises(DataError, match="cannot be decoded"):
        decode_rgb(opened)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"lesion_id,image_id\n", b"\x89PNG\r\n\x1a\n"])
@pytest.mark.parametrize("read", [decode_rgb, image_size])
def test_a_file_that_is_no_image_is_named(tmp_path, content, read):
    path = tmp_path / "image.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{path}: cannot be decoded")):
        read(path)


@pytest.mark.parametrize("read", [decode_rgb, image_size])
def test_a_missing_file_is_named(tmp_path, read):
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(DataError, match=re.escape(f"{path}: no such image file")):
            read(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_random_damage_never_leaves_as_another_error(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = tmp_path / f"image{suffix}"
    random_image(6).save(path)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    refused = 0
    for _ in range(100):
        damaged = whole.copy()
        damaged[rng.integers(0, len(damaged), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        try:
            assert decode_rgb(path).mode == "RGB"
        except DataError:
            refused += 1
    assert refused


def test_a_small_file_of_a_huge_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    Image.new("RGB", (300, 200)).save(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 300 * 200 - 1)
    with pytest.raises(DataError, match="300 x 200 pixels is more than is accepted"):
        decode_rgb(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 300 * 200)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300 * 200 - 1)
    with pytest.raises(DataError, match=re.escape(str(path))):
        decode_rgb(path)
    # Where warnings are no errors, the limit above decides.
    with pytest.warns(Image.DecompressionBombWarning):
        assert decode_rgb(path).size == (300, 200)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=re.escape(str(path))):
        decode_rgb(path)


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((4, 5, 3), np.float64),
        np.zeros((0, 5, 3), np.uint8),
        torch.zeros(4, 5, 3, dtype=torch.uint8),
        torch.zeros(1, 3, 4, 5, dtype=torch.uint8),
        torch.zeros(3, 4, 5),
        torch.zeros(3, 4, 0, dtype=torch.uint8),
    ],
)
def test_arrays_of_another_shape_or_dtype(source):
    with pytest.raises(DataError, match=re.escape(str(tuple(source.shape)))):
        decode_rgb(source)


def test_pixels_are_scaled_to_a_square():
    image = random_image(7, 40, 30)
    pixels = to_pixels(image, 16)
    assert (pixels.shape, pixels.dtype) == ((16, 16, 3), np.uint8)
    np.testing.assert_array_equal(pixels, np.array(image.resize((16, 16), Image.Resampling.BILINEAR)))


def test_an_image_of_that_size_already_is_left_alone():
    image = random_image(8, 16, 16)
    np.testing.assert_array_equal(to_pixels(image, 16), np.array(image))


def test_one_colour_stays_that_colour_and_halving_averages():
    assert (to_pixels(Image.new("RGB", (33, 21), (7, 80, 200)), 10) == [7, 80, 200]).all()
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = 200
    assert abs(to_pixels(Image.fromarray(stripes), 8).astype(int)[1:-1] - 100).max() <= 2


def test_size_from_the_header(tmp_path):
    path = tmp_path / "image.png"
    random_image(9, 31, 17).save(path)
    assert image_size(path) == (31, 17)


def test_reading_leaves_the_warning_filters_of_the_process_alone(tmp_path, monkeypatch):
    # Many threads read at a time; `warnings.catch_warnings` in two of them can leave the filters of one for good.
    path = tmp_path / "image.png"
    random_image(10).save(path)
    filters = warnings.filters
    seen = []
    transpose = ImageOps.exif_transpose
    monkeypatch.setattr(ImageOps, "exif_transpose", lambda image: seen.append(warnings.filters) or transpose(image))
    decode_rgb(path)
    assert [found is filters for found in seen] == [True]
