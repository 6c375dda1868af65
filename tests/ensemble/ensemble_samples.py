"""Synthetic out-of-fold tables, and networks small enough to test in moments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from cv_folds.arrays import frozen
from cv_folds.out_of_fold import OutOfFold
from cv_folds.training.fold_distances import FoldDistances
from ensemble.pooled_distances import PooledDistances, pool_distances

CLASSES = ("akiec", "mel", "nv")
BACKBONES = ("tiny_wide", "tiny_thin")
N_FOLDS = 2
SIZE = 12


def synthetic_oof(
    seed: int, *, n_lesions: int = 60, n_folds: int = 3, classes: tuple[str, ...] = CLASSES, n_backbones: int = 2
) -> OutOfFold:
    """Lesions of one to three images, the last class the most frequent, logits that say something about the label."""
    rng = np.random.default_rng(seed)
    share = np.arange(1.0, len(classes) + 1) ** 2
    of_lesion = rng.choice(len(classes), size=n_lesions, p=share / share.sum())
    of_lesion[: len(classes) * n_folds] = np.repeat(np.arange(len(classes)), n_folds)
    fold_of_lesion = np.concatenate([np.tile(np.arange(n_folds), len(classes)), rng.integers(n_folds, size=n_lesions)])
    lesion = np.repeat(np.arange(n_lesions), rng.integers(1, 4, size=n_lesions))
    labels = of_lesion[lesion]
    logits = rng.normal(size=(len(lesion), n_backbones, len(classes)))
    logits += rng.normal(size=(n_lesions, 1, len(classes)))[lesion]
    logits[np.arange(len(lesion)), :, labels] += 1.5
    names = frozen([f"lesion_{index:03d}" for index in lesion])
    return OutOfFold(
        image_ids=frozen([f"image_{index:04d}" for index in range(len(lesion))]),
        lesion_ids=names,
        groups=names,
        labels=frozen(labels, np.int64),
        folds=frozen(fold_of_lesion[lesion], np.int64),
        classes=classes,
        backbones=tuple(f"backbone_{index}" for index in range(n_backbones)),
        logits=frozen(logits * 2),
    )


def tiny_backbone(name: str, n_classes: int, *, image_size: int) -> nn.Module:
    assert image_size == SIZE
    width = {"tiny_wide": 8, "tiny_thin": 3}[name]
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(4 * width, n_classes),
    )  # fmt: skip


def write_members(folder: Path) -> dict[tuple[str, int], Path]:
    folder.mkdir()
    files = {}
    for fold in range(N_FOLDS):
        for index, backbone in enumerate(BACKBONES):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(10 * fold + index)
                network = tiny_backbone(backbone, len(CLASSES), image_size=SIZE)
            files[backbone, fold] = folder / f"{backbone}-{fold}.safetensors"
            save_file({key: value * 3 for key, value in network.state_dict().items()}, files[backbone, fold])
    return files


def distances_of(oof: OutOfFold, seed: int) -> list[FoldDistances]:
    """Images of a lesion lie about equally far; members differ in scale; in no order."""
    rng = np.random.default_rng(seed)
    _, lesion = np.unique(oof.groups, return_inverse=True)
    unusual = rng.normal(size=lesion.max() + 1)[lesion] + 0.3 * rng.normal(size=len(lesion))
    parts = []
    for fold in np.unique(oof.folds).tolist():
        for column, backbone in enumerate(oof.backbones):
            rows = rng.permutation(np.flatnonzero(oof.folds == fold))
            features, appearance = (
                np.exp((1 + column) * (unusual[rows] + rng.normal(size=len(rows))) + fold) for _ in range(2)
            )
            parts.append(
                FoldDistances(
                    backbone=backbone,
                    fold=fold,
                    image_ids=frozen(oof.image_ids[rows]),
                    features=frozen(features),
                    appearance=frozen(appearance),
                )
            )
    return parts


def pooled(oof: OutOfFold, seed: int = 0) -> PooledDistances:
    return pool_distances(distances_of(oof, seed), oof.backbones)
