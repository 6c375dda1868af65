"""Hue, blur, sharpness and erasing against torchvision's transforms, and what they leave alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torchvision.transforms.v2 import functional as reference

from cv_folds.training.augment import AugmentationParameters, augment, draw_parameters
from cv_folds.training.detail import blur, draw_blur, draw_boxes, draw_sharpness, erase_, gaussian_kernels, sharpen
from cv_folds.training.hue import shift_hue
from cv_folds.training.pixels import IMAGENET, normalise
from cv_folds.training.plan import draw_plan
from cv_folds.training.settings import AugmentationSettings, TrainingSettings

N, SIZE = 6, 24
STILL = AugmentationSettings(
    horizontal_flip=0, vertical_flip=0, rotation=0, zoom=0, shift=0, brightness=0, contrast=0, saturation=0
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(seed: int = 0) -> torch.Tensor:
    return torch.rand(N, 3, SIZE, SIZE, generator=generator(seed))


def pixels(seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (N, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator(seed))


def drawn(seed: int = 0, **settings: object) -> AugmentationParameters:
    return draw_parameters(N, STILL.model_validate(STILL.model_dump() | settings), generator(seed))


def test_hue_is_torchvisions():
    shifts = torch.tensor([-0.5, -0.31, -0.02, 0.0, 0.13, 0.5])
    turned = shift_hue(images(), shifts)
    for image, shift, result in zip(images(), shifts.tolist(), turned, strict=True):
        torch.testing.assert_close(result, reference.adjust_hue(image, shift), rtol=0, atol=2e-5)


def test_hue_leaves_grey_and_the_extremes_of_a_pixel_alone():
    grey = torch.rand(N, 1, SIZE, SIZE, generator=generator()).expand(-1, 3, -1, -1)
    torch.testing.assert_close(shift_hue(grey, torch.full((N,), 0.3)), grey)
    turned = shift_hue(images(), torch.full((N,), 0.3))
    torch.testing.assert_close(turned.amax(1), images().amax(1))
    torch.testing.assert_close(turned.amin(1), images().amin(1))
    assert not torch.allclose(turned, images(), atol=0.1)


def test_blur_is_torchvisions():
    sigmas = torch.tensor([0.1, 0.4, 0.9, 1.3, 1.9, 2.4])
    blurred = blur(images(), gaussian_kernels(sigmas, radius=7))
    for image, sigma, result in zip(images(), sigmas.tolist(), blurred, strict=True):
        expected = reference.gaussian_blur(image, kernel_size=[15, 15], sigma=[sigma, sigma])
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


def test_sharpness_is_torchvisions():
    factors = torch.tensor([0.0, 0.3, 1.0, 1.5, 2.0, 6.0])
    sharpened = sharpen(images(), factors)
    for image, factor, result in zip(images(), factors.tolist(), sharpened, strict=True):
        torch.testing.assert_close(result, reference.adjust_sharpness(image, factor), rtol=0, atol=1e-5)


def test_erasing_is_torchvisions():
    # In pixels: top, left, height, width.
    boxes = [(0, 0, 5, 7), (3, 4, 1, 1), (10, 2, 14, 20), (23, 23, 1, 1), (6, 6, 12, 3), (0, 5, 24, 2)]
    shares = torch.tensor([[top, left, top + height, left + width] for top, left, height, width in boxes]) / SIZE
    erased = erase_(images(), shares)
    for image, (top, left, height, width), result in zip(images(), boxes, erased, strict=True):
        expected = reference.erase(image, top, left, height, width, torch.zeros(()))
        assert torch.equal(result, expected)


def test_the_whole_chain_is_hue_then_blur_then_sharpness_then_normalisation_then_erasing():
    parameters = drawn(3, hue=0.2, blur=1.0, sharpness=1.0, erasing=1.0)
    assert parameters.hue is not None
    assert parameters.blur is not None
    assert parameters.sharpness is not None
    assert parameters.erased is not None
    expected = shift_hue(pixels().permute(0, 3, 1, 2) / 255, parameters.hue)
    expected = sharpen(blur(expected, parameters.blur), parameters.sharpness)
    expected = reference.normalize(expected, list(IMAGENET.mean), list(IMAGENET.std))
    expected = erase_(expected, parameters.erased)
    torch.testing.assert_close(augment(pixels(), parameters, IMAGENET), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["blur", "sharpness", "erasing"])
def test_an_image_that_is_not_chosen_stays_as_it_is(name):
    parameters = drawn(1, **{name: 0.5})
    changed, kept = augment(pixels(), parameters, IMAGENET), normalise(pixels(), IMAGENET)
    same = [torch.allclose(one, other, rtol=0, atol=1e-4) for one, other in zip(changed, kept, strict=True)]
    assert 0 < sum(same) < N


def test_what_is_off_draws_nothing():
    labels = torch.arange(40) % 4
    old = ("flip_x", "angle", "scale", "shift_y", "saturation")

    def plan(**settings: object):
        return draw_plan(
            labels,
            TrainingSettings(batch_size=8, mixup=0.4, augmentation=AugmentationSettings(**settings)),
            generator(),
        )

    plain, more = plan(), plan(hue=0.1, blur=0.5, sharpness=0.5, erasing=0.5)
    for name in old:
        assert torch.equal(getattr(plain.parameters, name), getattr(more.parameters, name))
    assert torch.equal(plain.positions, more.positions)
    # The stream goes on as it did before there was any of them: the figures are those of an earlier version.
    after = torch.Generator().manual_seed(0)
    draw_plan(labels, TrainingSettings(batch_size=8, mixup=0.4), after)
    stream = generator()
    torch.multinomial((torch.bincount(labels).double() ** -1.0)[labels], 40, replacement=True, generator=stream)
    for _ in range(9):
        torch.rand(40, generator=stream)
    torch.randint(2**31 - 1, (1,), generator=stream)
    assert torch.equal(after.get_state(), stream.get_state())


def test_what_is_off_is_not_there():
    parameters = drawn()
    assert parameters.hue is parameters.blur is parameters.sharpness is parameters.erased is None


def test_shares_and_ranges_are_those_of_the_settings():
    n = 20_000
    kernels = draw_blur(n, 0.3, (0.5, 1.5), generator())
    middle = kernels[:, kernels.shape[1] // 2]
    blurred = kernels[middle < 1]
    assert kernels.shape == (n, 11)
    torch.testing.assert_close(kernels.sum(1), torch.ones(n))
    assert abs(len(blurred) / n - 0.3) < 0.02
    sigmas = (blurred * torch.arange(-5, 6) ** 2).sum(1).sqrt()
    # A little off: a kernel of whole pixels that ends at three deviations.
    assert 0.46 < sigmas.min() < 0.52
    assert 1.4 < sigmas.max() < 1.5
    factors = draw_sharpness(n, 0.6, (1.2, 2.0), generator())
    assert abs(float((factors > 1).float().mean()) - 0.6) < 0.02
    assert factors[factors > 1].min() >= 1.2
    assert factors.max() <= 2.0
    boxes = draw_boxes(n, 0.4, (0.02, 0.4), (0.3, 3.3), generator())
    boxes = boxes[boxes[:, 2] > 0]
    assert abs(len(boxes) / n - 0.4) < 0.02
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas, ratios = heights * widths, (heights / widths).log()
    assert 0.0199 < areas.min() < 0.03
    assert 0.39 < areas.max() < 0.401
    assert math.log(0.3) - 1e-3 < ratios.min() < math.log(0.33)
    assert math.log(3.0) < ratios.max() < math.log(3.3) + 1e-3


def test_no_rectangle_is_erased_when_none_can_fit():
    boxes = draw_boxes(100, 1.0, (0.5, 0.5), (4.0, 4.0), generator())
    assert not boxes.any()


def test_a_kernel_fits_into_the_smallest_image():
    settings = AugmentationSettings(blur=1.0, blur_sigma=(5.0, 5.0))
    small = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    assert augment(small, draw_parameters(2, settings, generator()), IMAGENET).isfinite().all()


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("blur_sigma", (2.0, 1.0)),
        ("blur_sigma", (0.0, 1.0)),
        ("blur_sigma", (1.0, 6.0)),
        ("sharpness_factor", (-1.0, 1.0)),
        ("erasing_area", (0.1, 1.0)),
        ("erasing_ratio", (0.0, 1.0)),
    ],
)
def test_a_range_outside_what_is_allowed_is_refused(name, bounds):
    with pytest.raises(ValidationError, match="the smaller first"):
        AugmentationSettings(**{name: bounds})


def test_parameters_of_some_images_keep_what_is_not_there():
    parameters = drawn(hue=0.1)
    assert parameters.rows(slice(0, 2)).blur is None
    moved = replace(parameters).to(torch.device("cpu"))
    assert moved.hue is not None
    assert len(moved.hue) == N
