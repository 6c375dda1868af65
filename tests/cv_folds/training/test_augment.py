from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from cv_folds.training.augment import AugmentationParameters, augment, draw_parameters, recolour, resample
from cv_folds.training.pixels import IMAGENET, Normalisation, normalise
from cv_folds.training.settings import AugmentationSettings

SIZE = 32
PLAIN = Normalisation(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
NONE = AugmentationSettings(
    horizontal_flip=0, vertical_flip=0, rotation=0, zoom=0, shift=0, brightness=0, contrast=0, saturation=0
)


EVERYTHING = AugmentationSettings(hue=0.2, blur=0.5, sharpness=0.5, erasing=0.5)


def nothing(n: int = 1) -> AugmentationParameters:
    one, zero = torch.ones(n), torch.zeros(n)
    return AugmentationParameters(
        flip_x=one,
        flip_y=one,
        angle=zero,
        scale=one,
        shift_x=zero,
        shift_y=zero,
        brightness=one,
        contrast=one,
        saturation=one,
    )


def with_values(**values: float) -> AugmentationParameters:
    return replace(nothing(), **{name: torch.tensor([value]) for name, value in values.items()})


def noise(n: int = 1, low: int = 0, high: int = 256, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (n, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)


def smooth(seed: int = 0) -> torch.Tensor:
    """(1, 3, SIZE, SIZE) float32 noise without the fine detail that two interpolations may treat differently."""
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed)) * 255
    return torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic", align_corners=True).clamp(0, 255)


def planes(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.permute(0, 3, 1, 2).float()


def test_nothing_changes_without_augmentation():
    pixels = noise(4)
    parameters = draw_parameters(4, NONE, torch.Generator().manual_seed(0))
    torch.testing.assert_close(augment(pixels, parameters, PLAIN), planes(pixels) / 255, rtol=0, atol=1e-5)
    torch.testing.assert_close(augment(pixels, parameters, IMAGENET), normalise(pixels, IMAGENET), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (with_values(flip_x=-1.0), reference.hflip),
        (with_values(flip_y=-1.0), reference.vflip),
        (with_values(flip_x=-1.0, flip_y=-1.0), lambda image: reference.rotate(image, 180)),
        (with_values(angle=math.pi), lambda image: reference.rotate(image, 180)),
        (with_values(angle=math.pi / 2), lambda image: reference.rotate(image, 90)),
        (with_values(angle=-math.pi / 2), lambda image: reference.rotate(image, 270)),
        (with_values(flip_x=-1.0, angle=math.pi / 2), lambda image: reference.rotate(reference.hflip(image), 90)),
    ],
)
def test_flips_and_quarter_turns_only_move_pixels(parameters, expected):
    images = planes(noise())
    torch.testing.assert_close(resample(images, parameters), expected(images), rtol=0, atol=0.02)


@pytest.mark.parametrize("degrees", [-170.0, -45.0, 0.0, 7.0, 30.0, 133.0])
@pytest.mark.parametrize("scale", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.0625, -0.125)])
def test_the_interior_is_that_of_torchvisions_affine(degrees, scale, shift):
    images = smooth()
    moved = resample(images, with_values(angle=math.radians(degrees), scale=scale, shift_x=shift[0], shift_y=shift[1]))
    # torchvision turns clockwise for a positive angle.
    expected = reference.affine(
        images,
        angle=-degrees,
        translate=[shift[0] * SIZE, shift[1] * SIZE],
        scale=scale,
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
    inside = (
        reference.affine(
            torch.ones_like(images), -degrees, [shift[0] * SIZE, shift[1] * SIZE], scale, [0.0, 0.0],
            interpolation=InterpolationMode.BILINEAR,
        )
        > 0.999
    )  # fmt: skip
    assert inside.float().mean() > 0.3
    torch.testing.assert_close(moved[inside], expected[inside], rtol=0, atol=0.05)


@pytest.mark.parametrize(("shift_x", "shift_y"), [(3, 0), (-5, 2), (0, -1)])
def test_a_shift_moves_right_and_down_and_reflects_at_the_border(shift_x, shift_y):
    images = planes(noise())
    moved = resample(images, with_values(shift_x=shift_x / SIZE, shift_y=shift_y / SIZE))
    padded = reference.pad(images, [5, 5, 5, 5], padding_mode="symmetric")
    expected = padded[:, :, 5 - shift_y : 5 - shift_y + SIZE, 5 - shift_x : 5 - shift_x + SIZE]
    torch.testing.assert_close(moved, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("factor", [0.7, 0.9, 1.1, 1.3])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("brightness", reference.adjust_brightness),
        ("contrast", reference.adjust_contrast),
        ("saturation", reference.adjust_saturation),
    ],
)
def test_colour_is_that_of_torchvision(name, expected, factor):
    images = planes(noise(low=80, high=150)) / 255
    changed = recolour(images * 255, with_values(**{name: factor}), PLAIN)
    torch.testing.assert_close(changed, expected(images, factor), rtol=0, atol=1e-4)


def test_colours_follow_one_another_as_in_torchvision():
    images = planes(noise(low=90, high=140)) / 255
    changed = recolour(images * 255, with_values(brightness=1.1, contrast=0.8, saturation=1.3), PLAIN)
    expected = reference.adjust_saturation(
        reference.adjust_contrast(reference.adjust_brightness(images, 1.1), 0.8), 1.3
    )
    torch.testing.assert_close(changed, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_all_of_it_is_the_chain_of_torchvisions_transforms(seed):
    settings = AugmentationSettings(zoom=0.25, shift=0.1)
    drawn = draw_parameters(1, settings, torch.Generator().manual_seed(seed))
    flip_x, flip_y, angle, scale, shift_x, shift_y, brightness, contrast, saturation = (
        float(value) for value in drawn.tensors().values()
    )
    # So mild that no pixel is clamped on the way, which torchvision does after every transform.
    pixels = (smooth(seed) / 4 + 90).round().permute(0, 2, 3, 1).to(torch.uint8)

    def moved(images: torch.Tensor) -> torch.Tensor:
        images = reference.hflip(images) if flip_x < 0 else images
        images = reference.vflip(images) if flip_y < 0 else images
        shift = [shift_x * SIZE, shift_y * SIZE]
        return reference.affine(
            images, -math.degrees(angle), shift, scale, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR
        )

    inside = moved(torch.ones(1, 3, SIZE, SIZE)) > 0.999
    assert inside.float().mean() > 0.3
    ours = resample(planes(pixels), drawn)
    torch.testing.assert_close(ours[inside], moved(planes(pixels))[inside], rtol=0, atol=0.1)
    # The contrast is about the mean grey of the whole image, borders included: the colours start from our geometry.
    expected = reference.adjust_brightness(ours / 255, brightness)
    expected = reference.adjust_saturation(reference.adjust_contrast(expected, contrast), saturation)
    expected = reference.normalize(expected, list(IMAGENET.mean), list(IMAGENET.std))
    torch.testing.assert_close(augment(pixels, drawn, IMAGENET), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_colours_stay_within_what_a_pixel_can_hold(factor):
    images = planes(noise())
    changed = recolour(images, with_values(brightness=factor, contrast=1.9, saturation=1.9), PLAIN)
    assert changed.min() >= 0
    assert changed.max() <= 1
    clamped = recolour(images, with_values(brightness=1.5), PLAIN)
    torch.testing.assert_close(clamped, reference.adjust_brightness(images / 255, 1.5), rtol=0, atol=1e-5)


def test_the_normalisation_comes_last():
    pixels = noise(3)
    parameters = draw_parameters(3, AugmentationSettings(), torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET.mean, IMAGENET.std))
    expected = (augment(pixels, parameters, PLAIN) - mean) / std
    torch.testing.assert_close(augment(pixels, parameters, IMAGENET), expected, rtol=0, atol=1e-4)


def test_normalise_is_torchvisions():
    pixels = noise(3)
    expected = reference.normalize(planes(pixels) / 255, list(IMAGENET.mean), list(IMAGENET.std))
    result = normalise(pixels, IMAGENET)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_images_of_a_batch_do_not_touch_each_other():
    pixels = noise(5)
    parameters = draw_parameters(5, EVERYTHING, torch.Generator().manual_seed(2))
    together = augment(pixels, parameters, IMAGENET)
    assert together.shape == (5, 3, SIZE, SIZE)
    assert together.dtype == torch.float32
    for row in range(5):
        alone = parameters.rows(slice(row, row + 1))
        torch.testing.assert_close(augment(pixels[row : row + 1], alone, IMAGENET)[0], together[row], rtol=0, atol=1e-4)


def test_images_that_are_only_flipped_are_moved_without_interpolation():
    settings = NONE.model_copy(update={"horizontal_flip": 0.5, "vertical_flip": 0.5})
    pixels = noise(40)
    parameters = draw_parameters(40, settings, torch.Generator().manual_seed(5))
    flipped = augment(pixels, parameters, IMAGENET)
    for image, result, x, y in zip(planes(pixels), flipped, parameters.flip_x, parameters.flip_y, strict=True):
        expected = reference.hflip(image) if x < 0 else image
        expected = reference.vflip(expected) if y < 0 else expected
        expected = reference.normalize(expected / 255, list(IMAGENET.mean), list(IMAGENET.std))
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        AugmentationSettings(),
        AugmentationSettings(brightness=0, contrast=0, saturation=0),
        AugmentationSettings(rotation=0, zoom=0, shift=0),
        NONE,
    ],
)
def test_the_short_ways_give_what_the_whole_way_gives(settings):
    pixels = noise(9)
    parameters = draw_parameters(9, settings, torch.Generator().manual_seed(4))
    whole = recolour(resample(planes(pixels), parameters), parameters, IMAGENET)
    torch.testing.assert_close(augment(pixels, parameters, IMAGENET), whole, rtol=0, atol=2e-3)


def test_the_parts_that_a_batch_is_cut_into_do_not_matter(monkeypatch):
    pixels = noise(9)
    parameters = draw_parameters(9, EVERYTHING, torch.Generator().manual_seed(4))
    whole = augment(pixels, parameters, IMAGENET)
    assert whole.is_contiguous(memory_format=torch.channels_last)
    for images in (1, 2, 5):
        monkeypatch.setattr("cv_folds.training.augment._PART_VALUES", images * 3 * SIZE**2)
        torch.testing.assert_close(augment(pixels, parameters, IMAGENET), whole, rtol=0, atol=1e-5)


def test_the_generator_decides_everything():
    def drawn(seed):
        return draw_parameters(50, EVERYTHING, torch.Generator().manual_seed(seed))

    torch.manual_seed(0)
    first = drawn(3)
    torch.manual_seed(1)
    for name, value in vars(drawn(3)).items():
        assert torch.equal(value, getattr(first, name)), name
    for name, value in vars(drawn(4)).items():
        assert not torch.equal(value, getattr(first, name)), name


def test_parameters_fill_their_ranges():
    settings = AugmentationSettings(horizontal_flip=0.25, vertical_flip=1, rotation=90, zoom=0.5, shift=0.1)
    drawn = draw_parameters(20_000, settings, torch.Generator().manual_seed(0))
    assert abs(float((drawn.flip_x == -1).float().mean()) - 0.25) < 0.02
    assert (drawn.flip_y == -1).all()
    ranges = {
        "angle": (-math.pi / 2, math.pi / 2),
        "scale": (1 / 1.5, 1.5),
        "shift_x": (-0.1, 0.1),
        "shift_y": (-0.1, 0.1),
        "brightness": (0.8, 1.2),
        "contrast": (0.8, 1.2),
        "saturation": (0.8, 1.2),
    }
    for name, (low, high) in ranges.items():
        values = getattr(drawn, name)
        assert values.shape == (20_000,)
        assert low - 1e-6 <= values.min() <= low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) <= values.max() <= high + 1e-6
    assert abs(float(drawn.scale.log().mean())) < 0.01
