"""The images that both sides train on: files for the peer, the decoded cache for the engine."""

from __future__ import annotations

import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cv_folds.data.cache import decoded_pixels
from cv_folds.data.demo import write_demo_set
from cv_folds.data.readers import read_dataset

FILE_SIZE = (600, 450)
"""Width and height of HAM10000's files."""
_QUALITY = 90
# In grey values. Enlarged pictures have no fine detail, and a JPEG without it is decoded too quickly.
_NOISE = 4.0


@dataclass(frozen=True, kw_only=True)
class BenchImages:
    """One data set in the form that each side wants."""

    class_folders: Path
    """For `ImageFolder`: a folder a class, with links to the files."""
    pixels: Path
    """The decoded cache at the size of the benchmark."""
    labels: torch.Tensor
    """(n,) int64 classes in the order of the cache."""
    n_classes: int
    """Number of classes."""
    n_images: int
    """Number of images."""
    file_size: tuple[int, int]
    """Width and height of the first file in pixels."""
    median_bytes: float
    """Of a file."""


def generate(folder: Path, *, n_images: int) -> Path:
    """Write demo images at the size of HAM10000's files, in its layout; return their folder."""
    small, large = folder / "small", folder / "large"
    write_demo_set(small, n_lesions=max(35, n_images * 5 // 7), n_images=max(35, n_images))
    generator = np.random.default_rng(0)
    for path in sorted(small.rglob("*.jpg")):
        target = large / path.relative_to(small)
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            enlarged = np.asarray(image.resize(FILE_SIZE, Image.Resampling.BICUBIC), dtype=np.float32)
        noisy = enlarged + _NOISE * generator.standard_normal(enlarged.shape, dtype=np.float32)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(target, quality=_QUALITY)
    shutil.copy(small / "HAM10000_metadata.csv", large / "HAM10000_metadata.csv")
    return large


def prepare(data: Path, scratch: Path, *, image_size: int, n_images: int, workers: int) -> BenchImages:
    """Decode about `n_images` of a folder of HAM10000 and link their files into class folders."""
    dataset = read_dataset(data, name="bench")
    if len(dataset) > n_images:
        n_lesions = len(set(dataset.lesion_ids.tolist()))
        dataset = dataset.limit_lesions(n_lesions * n_images // len(dataset), np.random.default_rng(0))
    folders = scratch / "classes"
    for label, path in zip(dataset.labels.tolist(), dataset.paths, strict=True):
        link = folders / dataset.classes[label] / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    with Image.open(dataset.paths[0]) as first:
        file_size = first.size
    return BenchImages(
        class_folders=folders,
        pixels=decoded_pixels(dataset, image_size, root=scratch / "cache", workers=workers),
        labels=torch.from_numpy(dataset.labels.copy()),
        n_classes=len(dataset.classes),
        n_images=len(dataset),
        file_size=file_size,
        median_bytes=statistics.median(path.stat().st_size for path in dataset.paths),
    )
