from __future__ import annotations

import cv2
import numpy as np
import pytest
from near_duplicate_samples import HEIGHT, WIDTH, skin, view, with_ruler

from cv_folds.near_duplicates.overlay import compare, lay

STILL = np.array([[1.0, 0, 0], [0, 1, 0]])


def test_an_image_agrees_with_itself():
    image = view(skin(0))
    found = compare(image, image, STILL)
    assert found.overlap == 1
    assert min(*found.correlations, *found.local) > 0.95
    assert found.colour > 0.99


@pytest.mark.parametrize("seed", range(4))
def test_brightness_and_noise_change_little(seed):
    image = skin(seed)
    found = compare(view(image), view(image, brightness=0.7, noise=seed), STILL)
    assert found.correlations[1] > 0.9
    assert found.local[1] > 0.7


def test_a_turned_enlarged_image_agrees_under_its_motion_only():
    image = skin(5)
    turned = view(image, degrees=40, zoom=1.6)
    matrix = cv2.getRotationMatrix2D(((WIDTH - 1) / 2, (HEIGHT - 1) / 2), -40, 1 / 1.6)
    found = compare(view(image), turned, matrix)
    assert found.correlations[1] > 0.9
    assert 0.3 < found.overlap < 0.5
    assert found.offset < 0.05
    assert abs(compare(view(image), turned, STILL).correlations[1]) < 0.5


def test_a_shared_ruler_is_not_agreement():
    one, other = (with_ruler(view(skin(seed))) for seed in (6, 7))
    found = compare(one, other, STILL)
    assert found.local[1] < 0.4
    assert found.colour < 0.5


@pytest.mark.parametrize(
    "matrix",
    [[[1, 0, 500], [0, 1, 0]], [[0.05, 0, 0], [0, 0.05, 0]]],
    ids=["apart", "a few pixels"],
)
def test_without_overlap_nothing_agrees(matrix):
    image = view(skin(8))
    found = compare(image, image, np.array(matrix, dtype=float))
    assert found.overlap == 0
    assert found.correlations == found.local == (0, 0, 0)
    assert found.colour == 0


def test_flat_images_have_no_correlation():
    flat = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    found = compare(flat, flat, STILL)
    assert found.correlations == pytest.approx((0, 0, 0), abs=1e-3)
    assert found.local == pytest.approx((0, 0, 0), abs=1e-3)


def test_images_of_different_shapes_can_be_laid_on_each_other():
    moved, covered = lay(view(skin(9))[:100, :80], STILL, WIDTH, HEIGHT)
    assert moved.shape == (HEIGHT, WIDTH, 3)
    assert covered.sum() == 80 * 100


def test_the_offset_is_that_of_the_middles():
    image = view(skin(10))
    half = np.hypot(WIDTH - 1, HEIGHT - 1) / 2
    shifted = np.array([[1.0, 0, 60], [0, 1, 0]])
    assert compare(image, image, shifted).offset == pytest.approx(60 / half)
    enlarged = np.array([[2.0, 0, -(WIDTH - 1) / 2], [0, 2, -(HEIGHT - 1) / 2]])
    assert compare(image, image, enlarged).offset == pytest.approx(0, abs=1e-6)
