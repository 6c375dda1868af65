"""Generated pictures with the texture of skin, and views of them, for the tests of the search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from cv_folds_samples import image_row
from PIL import Image

from cv_folds.arrays import ByteArray
from cv_folds.data.dataset import LesionDataset, build_dataset

WIDTH, HEIGHT = 200, 150


def skin(seed: int, width: int = 600, height: int = 450) -> ByteArray:
    """Return a dark, structured spot on lighter skin."""
    rng = np.random.default_rng(seed)
    ground = np.zeros((height, width), np.float32)
    for sigma, strength in ((3, 6), (7, 9), (16, 10), (40, 12)):
        noise = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), sigma)
        ground += strength * noise / noise.std()
    y, x = np.mgrid[:height, :width].astype(np.float32)
    centre, radii = rng.uniform(0.4, 0.6, 2) * (width, height), rng.uniform(0.18, 0.3, 2) * (width, height)
    distance = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1]) + ground / 80
    spot = 1 / (1 + np.exp((distance - 1) * 12))
    colour = np.array([200, 160, 140], np.float32) - spot[:, :, None] * np.array([90, 95, 80], np.float32)
    return np.clip(colour + ground[:, :, None], 0, 255).astype(np.uint8)


def view(
    image: ByteArray,
    *,
    degrees: float = 0.0,
    zoom: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    mirrored: bool = False,
    brightness: float = 1.0,
    noise: int | None = None,
) -> ByteArray:
    """Return the image turned about its middle, enlarged and shifted (in shares of its size), at 200 x 150."""
    height, width = image.shape[:2]
    if mirrored:
        image = image[:, ::-1]
    middle = (width * (0.5 + shift[0]), height * (0.5 + shift[1]))
    matrix = cv2.getRotationMatrix2D(middle, degrees, zoom)
    matrix[:, 2] += np.array([width / 2, height / 2]) - middle
    turned = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    small = cv2.resize(turned, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32) * brightness
    if noise is not None:
        small += np.random.default_rng(noise).normal(0, 3, small.shape)
    return np.clip(small, 0, 255).astype(np.uint8)


def with_ruler(image: ByteArray) -> ByteArray:
    """Return the image with a scale along its lower edge."""
    drawn = image.copy()
    height, width = image.shape[:2]
    cv2.line(drawn, (0, height - 12), (width, height - 12), (20, 20, 20), 1)
    for x in range(4, width, 8):
        cv2.line(drawn, (x, height - 12), (x, height - (4 if x % 40 == 4 else 8)), (20, 20, 20), 1)
    return drawn


def with_hair(image: ByteArray, seed: int) -> ByteArray:
    """Return the image with dark hairs across; the same seed gives the same hairs."""
    rng = np.random.default_rng(seed)
    drawn = image.copy()
    height, width = image.shape[:2]
    for _ in range(9):
        t = np.linspace(0, 1, 40)
        a, b, c = (rng.uniform(0, 1, 2) * (width, height) for _ in range(3))
        points = np.outer((1 - t) ** 2, a) + np.outer(2 * t * (1 - t), b) + np.outer(t**2, c)
        cv2.polylines(drawn, [points.round().astype(np.int32)], False, (40, 30, 25), 1, cv2.LINE_AA)
    return drawn


def dataset_of(
    folder: Path,
    pictures: Mapping[str, ByteArray],
    lesions: Mapping[str, str] | None = None,
    diagnoses: Mapping[str, str] | None = None,
) -> LesionDataset:
    """Write the pictures and return them as a data set; each is a lesion of its own unless `lesions` names it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, picture in pictures.items():
        file = folder / f"{name}.png"
        Image.fromarray(picture).save(file)
        rows.append(image_row(name, (lesions or {}).get(name, f"L_{name}"), (diagnoses or {}).get(name, "nv"), file))
    return build_dataset(rows, name="pictures", root=folder, demo=False)
