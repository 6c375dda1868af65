"""What images look like in a few numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cv_folds.training.appearance import appearance_of


def images(n: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(256, size=(n, size, size, 3), dtype=np.uint8))


@pytest.mark.parametrize(("size", "length"), [(4, 20), (12, 26), (16, 32), (32, 38), (64, 38), (224, 38)])
def test_the_size_decides_how_many_numbers_there_are(size, length):
    found = appearance_of(images(2, size))
    assert found.shape == (2, length)
    assert torch.isfinite(found).all()


def test_turned_and_mirrored_images_look_the_same():
    pixels = images(3, 48)
    as_it_is = appearance_of(pixels)
    for turned in (pixels.flip(1), pixels.flip(2), torch.rot90(pixels, 1, dims=(1, 2)), pixels.transpose(1, 2)):
        np.testing.assert_allclose(appearance_of(turned), as_it_is, rtol=1e-4, atol=1e-5)


def test_numbers_are_what_they_are_said_to_be():
    pixels = images(1, 30)
    found = appearance_of(pixels)[0].double().numpy()
    colours = pixels[0].double().numpy() / 255
    cells = np.array([[colours[r : r + 10, c : c + 10].mean(axis=(0, 1)) for c in (0, 10, 20)] for r in (0, 10, 20)])
    around = np.delete(cells.reshape(9, 3), 4, axis=0)
    red, green, blue = np.moveaxis(colours, 2, 0)
    planes = (colours.mean(axis=2), red - green, (red + green) / 2 - blue)
    step = 1 / 255
    gradients = [(np.diff(plane, axis=0), np.diff(plane, axis=1)) for plane in planes]
    mean = np.array([np.mean([np.abs(part).mean() for part in pair]) for pair in gradients])
    root = np.sqrt([np.mean([(part**2).mean() for part in pair]) for pair in gradients])
    expected = [
        *cells[1, 1],
        *around.mean(axis=0),
        *np.log(around.std(axis=0) + step),
        *np.log(colours.std(axis=(0, 1)) + step),
        *np.log([planes[1].std() + step, planes[2].std() + step]),
        *np.log(mean + step),
        *(np.log(root + step) - np.log(mean + step)),
    ]
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-4, atol=1e-5)


def test_an_image_does_not_depend_on_those_beside_it():
    pixels = images(5, 40)
    alone = torch.cat([appearance_of(row[None]) for row in pixels])
    np.testing.assert_allclose(appearance_of(pixels), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_images_have_finite_numbers(value):
    found = appearance_of(torch.full((1, 32, 32, 3), value, dtype=torch.uint8))[0]
    assert torch.isfinite(found).all()
    np.testing.assert_allclose(found[:6], value / 255, rtol=1e-6)
    np.testing.assert_allclose(found[6:14], np.log(1 / 255), atol=1e-4)
