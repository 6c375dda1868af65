"""The features of all images, in memory: 64 bytes each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from cv_folds.arrays import IntArray
from cv_folds.errors import DataError, list_rows
from cv_folds.near_duplicates.features import Features, Float32Array, features_of, working_image
from cv_folds.near_duplicates.projection import Int8Array, Projection, fit_projection
from cv_folds.near_duplicates.settings import SearchSettings

SAMPLED_IMAGES = 300
"""Evenly spread over the data set; what the projection is fitted on."""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Features image after image."""

    points: Float32Array
    """(f, 4) as in `Features`."""
    descriptors: Int8Array
    """(f, d) in steps of 1 / `projection.SCALE`."""
    starts: IntArray
    """(n + 1,): image i has the features from ``starts[i]`` up to ``starts[i + 1]``."""
    projection: Projection
    """How the descriptors were made."""

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.starts) - 1

    def image_of(self) -> IntArray:
        """Return (f,) the image of each feature."""
        return np.repeat(np.arange(self.n_images), np.diff(self.starts))

    def rows(self, images: Sequence[int]) -> IntArray:
        """Return the features of some images, image after image."""
        return np.concatenate([np.arange(self.starts[image], self.starts[image + 1]) for image in images])


def collect(
    paths: Sequence[Path],
    settings: SearchSettings,
    *,
    workers: int,
    on_image: Callable[[], object] = lambda: None,
) -> Collection:
    """Extract the features of all images.

    Parameters
    ----------
    paths : sequence of Path
        Image files.
    settings : SearchSettings
        How many features, of how many dimensions.
    workers : int
        Threads; OpenCV and Pillow release the interpreter lock.
    on_image : callable
        Called after each image, from any thread.

    Raises
    ------
    DataError
        When images cannot be decoded: all of them at once.
    """

    def extract(path: Path) -> Features | str:
        try:
            return features_of(working_image(path, settings), settings)
        except DataError as error:
            return str(error)

    sampled = [paths[row] for row in np.unique(np.linspace(0, len(paths) - 1, SAMPLED_IMAGES).astype(int))]
    points = np.empty((len(paths) * settings.features, 4), np.float32)
    descriptors = np.empty((len(points), settings.dimensions), np.int8)
    starts = np.zeros(len(paths) + 1, np.int64)
    problems = []
    with ThreadPoolExecutor(workers) as pool:
        sample = [found.descriptors for found in pool.map(extract, sampled) if isinstance(found, Features)]
        projection = fit_projection(np.concatenate([np.zeros((0, 128), np.float32), *sample]), settings.dimensions)

        def reduced(path: Path) -> tuple[Float32Array, Int8Array] | str:
            found = extract(path)
            on_image()
            return found if isinstance(found, str) else (found.points, projection.apply(found.descriptors))

        # A bounded number at a time: results that wait for an earlier one are kept in memory.
        blocks = (pool.map(reduced, paths[start : start + 256]) for start in range(0, len(paths), 256))
        for row, found in enumerate(chain.from_iterable(blocks)):
            starts[row + 1] = starts[row]
            if isinstance(found, str):
                problems.append(found)
                continue
            starts[row + 1] += len(found[0])
            points[starts[row] : starts[row + 1]], descriptors[starts[row] : starts[row + 1]] = found
    if problems:
        raise DataError(f"{len(problems)} images cannot be used:\n" + list_rows(problems))
    return Collection(
        points=points[: starts[-1]], descriptors=descriptors[: starts[-1]], starts=starts, projection=projection
    )
