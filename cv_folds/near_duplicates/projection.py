"""Descriptors of fewer dimensions, in which the mirror image is a change of signs.

SIFT has no answer to mirror images, but the descriptor of a mirrored patch is a permutation of that of the patch. The
principal components of a covariance that this permutation leaves unchanged are even or odd under it, so that a
descriptor of the mirror image is had by turning the signs of the odd components: no image is worked on twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cv_folds.near_duplicates.features import ANGLE, Float32Array, X

Int8Array: TypeAlias = NDArray[np.int8]

SCALE = 160.0
"""Steps of the 8-bit components a unit of length."""

MIRRORED = np.arange(128).reshape(4, 4, 8)[::-1, :, (-np.arange(8)) % 8].reshape(128)
"""Where each entry of OpenCV's descriptor stands in that of the mirrored patch.

4 rows across and 4 columns along the patch's own direction, 8 directions of gradients relative to it.
"""


@dataclass(frozen=True, kw_only=True)
class Projection:
    """An orthogonal projection of descriptors."""

    mean: Float32Array
    """(128,), the same for mirrored descriptors."""
    axes: Float32Array
    """(128, d), orthonormal columns."""
    parity: Float32Array
    """(d,) 1 where a component stays in the mirror image, -1 where it turns its sign."""

    def apply(self, descriptors: Float32Array) -> Int8Array:
        """Return (n, d) int8 components, in steps of 1 / `SCALE`."""
        scaled = (descriptors - self.mean) @ self.axes * SCALE
        return np.clip(np.rint(scaled), -127, 127).astype(np.int8)


def fit_projection(descriptors: Float32Array, dimensions: int) -> Projection:
    """Find the principal components of (n, 128) descriptors and their mirror images together.

    Parameters
    ----------
    descriptors : (n, 128) float32 array
        A sample.
    dimensions : int
        How many components to keep.
    """
    mean = descriptors.sum(axis=0, dtype=np.float64) / max(len(descriptors), 1)
    mean = (mean + mean[MIRRORED]) / 2
    centred = descriptors - mean
    covariance = centred.T @ centred / max(len(descriptors), 1)
    covariance = (covariance + covariance[MIRRORED][:, MIRRORED]) / 2
    mirror = np.eye(128)[MIRRORED]
    variances, axes, parities = [], [], []
    for parity in (1, -1):
        weights, basis = np.linalg.eigh((np.eye(128) + parity * mirror) / 2)
        inside = basis[:, weights > 0.5]
        variance, vectors = np.linalg.eigh(inside.T @ covariance @ inside)
        variances.append(variance)
        axes.append(inside @ vectors)
        parities.append(np.full(len(variance), parity))
    order = np.argsort(-np.concatenate(variances), kind="stable")[:dimensions]
    return Projection(
        mean=mean.astype(np.float32),
        axes=np.concatenate(axes, axis=1)[:, order].astype(np.float32),
        parity=np.concatenate(parities)[order].astype(np.float32),
    )


def mirror_points(points: Float32Array) -> Float32Array:
    """Return (n, 4) points as they lie in the image mirrored at its left edge: to the left of it."""
    mirrored = points.copy()
    mirrored[:, X] = -points[:, X]
    mirrored[:, ANGLE] = np.pi - points[:, ANGLE]
    return mirrored
