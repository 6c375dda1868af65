"""What an image is compared by: points that can be found again, each with size, angle and a descriptor.

SIFT (Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60, 2004) in OpenCV's implementation;
descriptors are square-rooted after L1 normalisation (Arandjelović, Zisserman, "Three things everyone should know to
improve object retrieval", CVPR 2012), so that their squared distances are 2 - 2 cos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cv_folds.arrays import ByteArray
from cv_folds.images import decode_rgb
from cv_folds.near_duplicates.settings import SearchSettings

Float32Array: TypeAlias = NDArray[np.float32]

SMALLEST_SIDE = 16
"""Images whose shorter side is below this after scaling have no features: SIFT looks at neighbourhoods."""

X, Y, SIZE, ANGLE = range(4)
"""Columns of `Features.points`: pixels, pixels, pixels, radians from the x axis towards the y axis."""


TOO_FAR = 0.25
"""Pixels by which OpenCV's points lie too far right and down, from doubling the image at the start."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """The points of one image, those of highest contrast first."""

    points: Float32Array
    """(n, 4): x, y, size, angle."""
    descriptors: Float32Array
    """(n, 128) of unit length."""


def working_image(path: Path, settings: SearchSettings) -> ByteArray:
    """Decode an image to (height, width, 3) uint8 RGB with the longer side that the search works at.

    Raises
    ------
    DataError
        When the file cannot be decoded.
    """
    image = decode_rgb(path)
    factor = settings.longest_side / max(image.size)
    if factor == 1:
        return np.asarray(image)
    width, height = (max(round(side * factor), 1) for side in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def features_of(image: ByteArray, settings: SearchSettings) -> Features:
    """Return the features of a (height, width, 3) uint8 image; a flat or tiny one has none."""
    if min(image.shape[:2]) < SMALLEST_SIDE:
        return _features([], None, settings.features)
    detector = cv2.SIFT.create(nfeatures=settings.features, contrastThreshold=settings.contrast)
    found, descriptors = detector.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    return _features(found, None if descriptors is None else descriptors.astype(np.float32), settings.features)


def _features(found: Sequence[cv2.KeyPoint], descriptors: Float32Array | None, most: int) -> Features:
    if not found or descriptors is None:
        return Features(points=np.zeros((0, 4), np.float32), descriptors=np.zeros((0, 128), np.float32))
    points = np.array([(*point.pt, point.size, np.deg2rad(point.angle)) for point in found], dtype=np.float32)
    points[:, :SIZE] -= TOO_FAR
    response = np.array([point.response for point in found], dtype=np.float32)
    # OpenCV returns ties beyond the limit, in an order that is not promised.
    order = np.lexsort((*points.T, -response))[:most]
    kept = descriptors[order]
    kept /= np.maximum(kept.sum(axis=1, keepdims=True), 1e-9)
    return Features(points=points[order], descriptors=np.sqrt(kept))


@contextmanager
def one_thread_a_call() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own, since whole images are worked on side by side."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
