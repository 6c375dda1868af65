from __future__ import annotations

import cv2
import numpy as np
import pytest
from near_duplicate_samples import skin, view
from PIL import Image

from cv_folds.errors import DataError
from cv_folds.near_duplicates.features import features_of, one_thread_a_call, working_image
from cv_folds.near_duplicates.projection import MIRRORED, SCALE, fit_projection, mirror_points
from cv_folds.near_duplicates.settings import SearchSettings

SETTINGS = SearchSettings()


def test_points_lie_inside_and_descriptors_have_unit_length():
    found = features_of(view(skin(1)), SETTINGS)
    assert 100 < len(found.points) <= SETTINGS.features
    assert len(found.points) == len(found.descriptors)
    assert (found.points[:, :2] >= 0).all()
    assert (found.points[:, :2] < (200, 150)).all()
    np.testing.assert_allclose((found.descriptors**2).sum(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("shape", [(150, 200), (8, 8), (2, 200), (1, 1), (15, 300)])
def test_flat_and_tiny_images_have_no_features(shape):
    found = features_of(np.full((*shape, 3), 127, np.uint8), SETTINGS)
    assert found.points.shape == (0, 4)
    assert found.descriptors.shape == (0, 128)


def test_noise_of_eight_pixels_has_no_features():
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert len(features_of(noise, SETTINGS).points) == 0


def test_the_order_does_not_depend_on_threads():
    image = view(skin(2))
    before = cv2.getNumThreads()
    with one_thread_a_call():
        assert cv2.getNumThreads() == 1
        alone = features_of(image, SETTINGS)
    assert cv2.getNumThreads() == before
    other = features_of(image, SETTINGS)
    assert np.array_equal(alone.points, other.points)
    assert np.array_equal(alone.descriptors, other.descriptors)


def test_originals_and_small_copies_are_worked_on_at_one_size(tmp_path):
    large = skin(3)
    Image.fromarray(large).save(tmp_path / "large.png")
    Image.fromarray(large).resize((200, 150), Image.Resampling.LANCZOS).save(tmp_path / "small.png")
    one, other = (working_image(tmp_path / f"{name}.png", SETTINGS) for name in ("large", "small"))
    assert one.shape == (150, 200, 3)
    assert np.array_equal(one, other)


@pytest.mark.parametrize(("size", "expected"), [((8, 8), (200, 200)), ((1000, 10), (2, 200)), ((30, 60), (200, 100))])
def test_the_longer_side_is_the_same_for_all(tmp_path, size, expected):
    Image.new("L", size, 90).save(tmp_path / "grey.png")
    assert working_image(tmp_path / "grey.png", SETTINGS).shape == (*expected, 3)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        working_image(tmp_path / "broken.jpg", SETTINGS)


@pytest.mark.parametrize("seed", range(5))
def test_features_of_the_mirror_image_are_had_without_looking_at_it(seed):
    """The reference: what OpenCV finds in the mirrored picture itself."""
    image = view(skin(seed))
    here = features_of(image, SETTINGS)
    there = features_of(np.ascontiguousarray(image[:, ::-1]), SETTINGS)
    likeness = here.descriptors[:, MIRRORED] @ there.descriptors.T
    pair = likeness.argmax(axis=1)
    sure = likeness.max(axis=1) > 0.97
    assert sure.mean() > 0.85
    moved = mirror_points(here.points)[sure]
    moved[:, 0] += image.shape[1] - 1
    found = there.points[pair[sure]]
    assert np.median(np.abs(moved[:, :3] - found[:, :3]), axis=0).max() < 0.1
    assert np.median(np.abs(np.sin((moved[:, 3] - found[:, 3]) / 2))) < 0.05
    # Any other order of the entries does worse.
    assert ((here.descriptors @ there.descriptors.T).max(axis=1) > 0.97).mean() < 0.2


@pytest.mark.parametrize("dimensions", [16, 48, 128])
def test_projection_turns_mirroring_into_signs(dimensions):
    descriptors = features_of(view(skin(4)), SETTINGS).descriptors
    projection = fit_projection(descriptors, dimensions)
    assert projection.axes.shape == (128, dimensions)
    np.testing.assert_allclose(projection.axes.T @ projection.axes, np.eye(dimensions), atol=1e-5)
    assert set(projection.parity.tolist()) <= {-1.0, 1.0}
    turned = projection.apply(descriptors[:, MIRRORED]).astype(int)
    assert np.abs(turned - projection.apply(descriptors) * projection.parity).max() <= 1


def test_a_whole_projection_keeps_distances():
    descriptors = features_of(view(skin(5)), SETTINGS).descriptors[:50]
    small = fit_projection(descriptors, 128).apply(descriptors).astype(np.float64) / SCALE
    true = ((descriptors[:, None] - descriptors[None]) ** 2).sum(axis=2)
    kept = ((small[:, None] - small[None]) ** 2).sum(axis=2)
    assert np.abs(true - kept).max() < 0.02


def test_nothing_to_fit_on_still_gives_a_projection():
    projection = fit_projection(np.zeros((0, 128), np.float32), 48)
    assert np.isfinite(projection.axes).all()
    assert np.isfinite(projection.mean).all()
