"""Score and time a recipe against a plain training script on one lesion-grouped fold: same model, size and epochs.

The plain side is what people write first: all training folds, weighted sampler, AdamW with one cycle, label
smoothing, flips, rotation, zoom and brightness, images in memory, last epoch. Ours is the job of a run: it sets an
eighth of the training folds aside to choose the epoch. Both are scored once on the held-out fold, by which no setting
may be chosen.

python scripts/compare_with_plain.py --data DIR --recipe scratch --backbone mobilenet_v3_large --json out.json

On a machine with other work, wall-clock seconds compare only where both sides run at the same time. With --threads 1
the CPU seconds, which waiting for other work does not add to, compare across calls of one machine.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tune import scores

from cv_folds.data.cache import cache_root, decoded_pixels
from cv_folds.out_of_fold import FoldLogits
from cv_folds.splits import Folds
from cv_folds.training.backbones import build_backbone
from cv_folds.training.job_spec import JobSpec
from cv_folds.training.jobs import run_job
from cv_folds.training.pixels import IMAGENET, normalise
from cv_folds.training.record import LOGITS_FILE
from cv_folds.training.weights import WeightsFile, find_weights, load_weights
from hamcv.config import resolve
from hamcv.folding import split
from hamcv.run_config import RunConfig
from hamcv.sources import open_dataset

BATCH = 64


def main() -> None:
    """Run both sides, one after the other, and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--weights")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--plain-learning-rate", type=float, default=3e-3)
    parser.add_argument("--set", action="append", default=[], metavar="key=value")
    parser.add_argument("--sides", default="hamcv,plain", help="which of the two to run, in this order")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = resolve(options.recipe, {"data": options.data, "weights": options.weights}, options.set)
    dataset = open_dataset(config.data)
    folds = split(dataset, n_folds=config.folds, seed=config.seed).folds
    pixels = decoded_pixels(dataset, config.training.image_size, root=cache_root(), workers=options.threads)
    weights = find_weights(config.weights, options.backbone, download=False)
    sides = {"hamcv": ours, "plain": plain}
    table = {
        name: sides[name](config, folds, pixels, weights, options)
        | {"epochs": config.training.epochs, "image_size": config.training.image_size}
        for name in options.sides.split(",")
    }
    for name, row in table.items():
        print(name, json.dumps(row))
    options.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def spent(self) -> dict[str, float]:
        """Return wall-clock seconds, and CPU seconds of this process over all threads."""
        cpu = time.process_time() - self._cpu
        return {"seconds": round(time.perf_counter() - self._wall, 1), "cpu_seconds": round(cpu, 1)}


def ours(
    config: RunConfig, folds: Folds, pixels: Path, weights: WeightsFile | None, options: argparse.Namespace
) -> dict[str, float]:
    """Run the job of one fold as `hamcv run` does, and score its out-of-fold logits."""
    with tempfile.TemporaryDirectory() as folder:
        spec = JobSpec(
            run=Path(folder),
            backbone=options.backbone,
            fold=options.fold,
            folds=folds,
            pixels=pixels,
            fingerprint="",
            settings=config.training,
            weights=weights,
            seed=config.seed,
            device="cuda" if torch.cuda.is_available() else "cpu",
            threads=options.threads,
        )
        clock = Clock()
        run_job(spec)
        spent = clock.spent()
        logits = FoldLogits.load(spec.folder / LOGITS_FILE)
    held_out = folds.labels[folds.folds == options.fold]
    return spent | scores(torch.from_numpy(logits.logits.copy()), held_out)


def plain(
    config: RunConfig, folds: Folds, pixels: Path, weights: WeightsFile | None, options: argparse.Namespace
) -> dict[str, float]:
    """Train as a plain script does."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.from_numpy(np.load(pixels)).to(device)
    labels = torch.from_numpy(folds.labels.copy())
    train = torch.from_numpy(np.flatnonzero(folds.folds != options.fold))
    test = torch.from_numpy(np.flatnonzero(folds.folds == options.fold))
    model = build_backbone(options.backbone, len(folds.classes), image_size=config.training.image_size)
    if weights is not None:
        load_weights(model, weights)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    clock = Clock()
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.plain_learning_rate, weight_decay=0.01)
    steps = len(train) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.plain_learning_rate, total_steps=steps * config.training.epochs
    )
    sampling = 1 / torch.bincount(labels[train]).double()[labels[train]]
    for _ in range(config.training.epochs):
        model.train()
        order = train[torch.multinomial(sampling, steps * BATCH, replacement=True)]
        for rows in order.split(BATCH):
            changed = changed_by_hand(images[rows.to(device)])
            loss = functional.cross_entropy(
                model(changed.contiguous(memory_format=torch.channels_last)),
                labels[rows].to(device),
                label_smoothing=0.05,
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(normalise(images[rows.to(device)], IMAGENET)) for rows in test.split(256)])
    return clock.spent() | scores(logits.double().cpu(), folds.labels[test.numpy()])


def changed_by_hand(pixels: torch.Tensor) -> torch.Tensor:
    """Flip, turn, zoom and brighten (n, size, size, 3) uint8 images and normalise them."""
    images = normalise(pixels, IMAGENET)
    n = len(images)
    angle, zoom = (torch.rand(n) * 2 - 1) * math.pi, 1 + (torch.rand(n) - 0.5) * 0.4
    flip = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    cos, sin, zero = angle.cos() * zoom, angle.sin() * zoom, torch.zeros(n)
    theta = torch.stack([torch.stack([cos * flip, -sin, zero], 1), torch.stack([sin * flip, cos, zero], 1)], 1)
    grid = functional.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    turned = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return turned * (0.8 + 0.4 * torch.rand(n, 1, 1, 1, device=images.device))


if __name__ == "__main__":
    main()
