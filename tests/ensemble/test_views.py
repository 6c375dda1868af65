from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from cv_folds.errors import UsageError
from ensemble.views import Views


def images(seed: int, n: int = 2, size: int = 13) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(256, size=(n, size, size, 3), dtype=np.uint8))


def test_the_turns_of_a_square_are_eight_different_ones_and_start_with_none():
    pixels = images(0, 1)
    views = [view.numpy() for view in Views(turns=8).of(pixels)]
    np.testing.assert_array_equal(views[0], pixels.numpy())
    assert len({view.tobytes() for view in views}) == 8
    square = pixels[0].numpy()
    expected = {np.rot90(turned, k).tobytes() for turned in (square, square[:, ::-1]) for k in range(4)}
    assert {view.tobytes() for view in views} == expected


def test_spins_are_added_and_the_first_of_more():
    pixels = images(1)
    few, many = list(Views(turns=2, spins=2).of(pixels)), list(Views(turns=2, spins=4).of(pixels))
    assert (len(few), len(many)) == (4, 6)
    for one, other in zip(few, many, strict=False):
        assert torch.equal(one, other)
    assert len({view.numpy().tobytes() for view in many[2:]}) == 4


def test_an_image_is_spun_alike_whatever_is_beside_it():
    pixels = images(2, 5)
    together = list(Views(spins=3, seed=7).of(pixels))
    alone = [torch.cat(views) for views in zip(*(Views(spins=3, seed=7).of(one[None]) for one in pixels), strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(together[1], list(Views(spins=1, seed=8).of(pixels))[1])


def test_a_spin_is_a_turn_by_the_angle_of_its_number():
    size = 15
    pixels = images(3, 1, size)
    angle = np.random.default_rng([4, 0]).uniform(0, 2 * math.pi)
    spun = list(Views(spins=1, seed=4).of(pixels))[1][0].numpy()
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    source = [math.sin(angle) * x + math.cos(angle) * y, math.cos(angle) * x - math.sin(angle) * y]
    places = np.array(source) + (size - 1) / 2
    expected = np.stack(
        [map_coordinates(pixels[0, ..., c].numpy().astype(float), places, order=1) for c in range(3)], 2
    )
    # Inside the circle that no turn leaves, where borders play no part.
    inside = x**2 + y**2 < (size / 2 - 1) ** 2
    np.testing.assert_allclose(spun[inside], expected[inside], atol=0.01)


def test_spun_pixels_stay_in_range_and_one_colour_stays_that_colour():
    for view in Views(turns=8, spins=8).of(images(4)):
        assert view.shape == (2, 13, 13, 3)
        assert view.min() >= 0
        assert view.max() <= 255
    plain = torch.full((1, 9, 9, 3), 77, dtype=torch.uint8)
    for view in Views(spins=5).of(plain):
        torch.testing.assert_close(view.float(), plain.float())


@pytest.mark.parametrize("numbers", [{"turns": 0}, {"turns": 9}, {"spins": -1}, {"spins": 65}, {"seed": -1}])
def test_other_numbers_are_refused(numbers):
    with pytest.raises(UsageError, match=next(iter(numbers)).replace("turns", "views")):
        Views(**numbers)
