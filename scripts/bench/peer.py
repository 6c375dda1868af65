"""The usual way: `ImageFolder`, a `DataLoader` with a worker a core, torchvision's transforms on PIL images."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, WeightedRandomSampler, default_collate
from torchvision import transforms
from torchvision.datasets import ImageFolder

from bench.alternation import Spent, timed
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.step import Stepper

_PREFETCH = 2


def peer_images(folder: Path, settings: TrainingSettings) -> ImageFolder:
    """Return the images with the transforms that the settings ask for; those not asked for are left out.

    Scaled down first, which is the cheapest order.
    """
    chosen = settings.augmentation
    steps: list[Any] = [transforms.Resize((settings.image_size, settings.image_size))]
    if chosen.horizontal_flip:
        steps.append(transforms.RandomHorizontalFlip(chosen.horizontal_flip))
    if chosen.vertical_flip:
        steps.append(transforms.RandomVerticalFlip(chosen.vertical_flip))
    if chosen.rotation or chosen.zoom or chosen.shift:
        steps.append(
            transforms.RandomAffine(
                chosen.rotation,
                translate=(chosen.shift, chosen.shift),
                scale=(1 / (1 + chosen.zoom), 1 + chosen.zoom),
                interpolation=transforms.InterpolationMode.BILINEAR,
            )
        )
    if chosen.brightness or chosen.contrast or chosen.saturation:
        steps.append(transforms.ColorJitter(chosen.brightness, chosen.contrast, chosen.saturation))
    steps += [transforms.ToTensor(), transforms.Normalize(IMAGENET.mean, IMAGENET.std)]
    return ImageFolder(str(folder), transforms.Compose(steps))


def peer_input(images: ImageFolder, batch_size: int) -> Callable[[int], Spent]:
    """Return what loads batches in this process alone."""
    place = 0

    def load(batches: int) -> Spent:
        def work() -> int:
            nonlocal place
            for _ in range(batches):
                default_collate([images[(place + offset) % len(images)] for offset in range(batch_size)])
                place += batch_size
            return batches * batch_size

        return timed(work)

    return load


def peer_training(
    images: ImageFolder, new_stepper: Callable[[], Stepper], *, batch_size: int, workers: int, device: torch.device
) -> Callable[[int], Spent]:
    """Return what trains with batches from worker processes, sampled by class as the engine samples them."""
    targets = torch.tensor(images.targets)
    weights = (torch.bincount(targets).clamp(min=1).double() ** -1)[targets].tolist()
    # What the workers load ahead: it shall neither be a head start nor be missing at the end.
    ahead = workers * _PREFETCH

    def train(batches: int) -> Spent:
        sampler = WeightedRandomSampler(weights, (batches + 2 * ahead) * batch_size)
        loader = DataLoader(
            images,
            batch_size,
            sampler=sampler,
            num_workers=workers,
            prefetch_factor=_PREFETCH,
            pin_memory=device.type == "cuda",
        )
        stepper = new_stepper()
        stepper.model.train()
        stream = iter(loader)

        def step() -> int:
            pixels, classes = next(stream)
            stepper.step(pixels.to(device, non_blocking=True), classes.to(device, non_blocking=True), None)
            return len(classes)

        for _ in range(ahead):
            step()
        wait_for(device)
        spent = timed(lambda: sum(step() for _ in range(batches)) + wait_for(device))
        for _ in stream:
            pass
        return spent

    return train


def plain_step(name: str, n_classes: int, pixels: torch.Tensor) -> Callable[[int], Spent]:
    """Return the step that a short script would take: float32, usual order of memory, AdamW as it comes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=n_classes)
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    targets = torch.arange(len(pixels)) % n_classes

    def work(batches: int) -> Spent:
        def steps() -> int:
            for _ in range(batches):
                optimiser.zero_grad()
                functional.cross_entropy(model(pixels), targets, label_smoothing=0.05).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            return batches * len(targets)

        return timed(steps)

    return work


@contextmanager
def plain_steps_elsewhere(
    name: str, n_classes: int, shape: tuple[int, ...], threads: int
) -> Iterator[Callable[[int], Spent]]:
    """Yield `plain_step` in a process of its own: how the engine sets up this one shall not reach it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(_prepare, name, n_classes, shape, threads).result()
        yield lambda batches: pool.submit(_turn, batches).result()


_prepared: list[Callable[[int], Spent]] = []


def _prepare(name: str, n_classes: int, shape: tuple[int, ...], threads: int) -> None:
    torch.set_num_threads(threads)
    _prepared.append(plain_step(name, n_classes, torch.randn(shape, generator=torch.Generator().manual_seed(0))))


def _turn(batches: int) -> Spent:
    return _prepared[-1](batches)


def wait_for(device: torch.device) -> int:
    """Wait until the device has done what it was told; return 0."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 0
