"""Two images laid on each other: whether their pixels agree, not only a few points.

Points alone can be shared by rulers, hair or ink. Here the structure of the whole part that both images show is
compared, at several scales, after brightness and what changes slowly are taken away.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cv_folds.arrays import ByteArray, FloatArray
from cv_folds.near_duplicates.features import Float32Array

SCALES = (1.0, 2.0, 4.0)
"""Standard deviations in pixels of the blur; what is smoother than four times as much is taken away."""
LEAST_OVERLAP = 400
"""Pixels; smaller parts tell nothing."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well the pixels of two images agree where both show something; correlations lie between -1 and 1."""

    overlap: float
    """Share of the first image's area that both show, or of the second's where that is smaller; 0 to 1."""
    correlations: tuple[float, float, float]
    """Normalised cross-correlation of structure at each of `SCALES`."""
    local: tuple[float, float, float]
    """Mean of the correlations within small windows, so that one strong line counts little."""
    colour: float
    """Correlation of the two colour channels, which lines of hair or rulers hardly have."""
    offset: float
    """Distance of the middles of the images, in half diagonals of the one that shows less; lesions lie in the middle,
    so that overlapping views of neighbouring lesions have a large one."""


def compare(a: ByteArray, b: ByteArray, matrix: FloatArray) -> Agreement:
    """Lay the second image on the first and compare them.

    Parameters
    ----------
    a, b : (height, width, 3) uint8 array
        Working images.
    matrix : (2, 3) float array
        From pixels of `b` to pixels of `a`.
    """
    height, width = a.shape[:2]
    moved, mask = lay(b, matrix, width, height)
    area = float(mask.sum())
    offset = _offset(a, b, matrix)
    if area < LEAST_OVERLAP:
        none = (0.0, 0.0, 0.0)
        return Agreement(overlap=0.0, correlations=none, local=none, colour=0.0, offset=offset)
    whole = b.shape[0] * b.shape[1] * abs(float(np.linalg.det(matrix[:, :2])))
    lab_a, lab_b = _lab(a), _lab(moved)
    pairs = [_structure(lab_a[:, :, 0], lab_b[:, :, 0], mask, sigma) for sigma in SCALES]
    fine, middle, coarse = (_correlation(x, y) for x, y in pairs)
    local = [_local(x, y, mask, sigma) for (x, y), sigma in zip(pairs, SCALES, strict=True)]
    colours = [_structure(lab_a[:, :, channel], lab_b[:, :, channel], mask, SCALES[-1]) for channel in (1, 2)]
    return Agreement(
        overlap=min(area / (height * width), area / whole, 1.0),
        correlations=(fine, middle, coarse),
        local=(local[0], local[1], local[2]),
        colour=float(np.mean([_correlation(x, y) for x, y in colours])),
        offset=offset,
    )


def lay(b: ByteArray, matrix: FloatArray, width: int, height: int) -> tuple[ByteArray, Float32Array]:
    """Return `b` moved into a picture of this size, and 1 where it covers that, 0 elsewhere."""
    shrunk = abs(float(np.linalg.det(matrix[:, :2]))) ** 0.5
    if shrunk < 1:
        # Bilinear sampling would skip pixels.
        b = cv2.GaussianBlur(b, (0, 0), max(0.5 * (1 / shrunk**2 - 1) ** 0.5, 0.01)).astype(np.uint8)
    moved = cv2.warpAffine(b, matrix, (width, height), flags=cv2.INTER_LINEAR)
    ones = np.ones(b.shape[:2], np.float32)
    covered = cv2.warpAffine(ones, matrix, (width, height), flags=cv2.INTER_NEAREST)
    return moved.astype(np.uint8), covered.astype(np.float32)


def _offset(a: ByteArray, b: ByteArray, matrix: FloatArray) -> float:
    half_a, half_b = (np.array([image.shape[1] - 1, image.shape[0] - 1]) / 2 for image in (a, b))
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    distance = np.linalg.norm(matrix[:, :2] @ half_b + matrix[:, 2] - half_a)
    return float(distance / max(min(np.linalg.norm(half_a), scale * np.linalg.norm(half_b)), 1e-9))


def _lab(image: ByteArray) -> Float32Array:
    return cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB).astype(np.float32)


def _structure(a: Float32Array, b: Float32Array, mask: Float32Array, sigma: float) -> tuple[Float32Array, Float32Array]:
    narrow, wide = (cv2.GaussianBlur(mask, (0, 0), width) + np.float32(1e-6) for width in (sigma, 4 * sigma))
    both = []
    for image in (a, b):
        shown = image * mask
        fine, smooth = (cv2.GaussianBlur(shown, (0, 0), width) for width in (sigma, 4 * sigma))
        both.append(((fine / narrow - smooth / wide) * mask).astype(np.float32))
    return both[0], both[1]


def _correlation(x: Float32Array, y: Float32Array) -> float:
    product = float(np.vdot(x, y))
    # A floor, in squared steps of lightness: rounding of flat images is no structure.
    return float(product / (np.sqrt(float(np.vdot(x, x)) * float(np.vdot(y, y))) + 1))


def _local(x: Float32Array, y: Float32Array, mask: Float32Array, sigma: float) -> float:
    """Return the mean, over what both show, of the correlation within a window of three blurs."""
    window = 3 * sigma
    xy, xx, yy = (cv2.GaussianBlur(product, (0, 0), window) for product in (x * y, x * x, y * y))
    # A floor, in squared steps of lightness: where neither image has structure, noise is not compared.
    correlation = xy / (np.sqrt(xx * yy) + np.float32(0.05))
    return float((correlation * mask).sum() / mask.sum())
