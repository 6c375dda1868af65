"""The engine as a run uses it, and its step alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from bench.alternation import Spent, timed
from bench.images import BenchImages
from bench.peer import wait_for
from cv_folds.training.augment import augment
from cv_folds.training.backbones import build_backbone
from cv_folds.training.loop import Means, fit
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.plan import draw_plan
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.step import Stepper
from cv_folds.training.store import open_store
from cv_folds.training.view import ImageView


def fresh_model(name: str, n_classes: int, settings: TrainingSettings, device: torch.device) -> nn.Module:
    """Return a network with random weights, the same every time, as a job places it on the device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_backbone(name, n_classes, image_size=settings.image_size)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def stepper_of(model: nn.Module, settings: TrainingSettings, *, bfloat16: bool) -> Stepper:
    """Return the engine's step for a network, with fresh optimiser state."""
    return Stepper(
        model,
        forward=model,
        settings=settings,
        peak=settings.learning_rate,
        steps=10_000,
        bfloat16=bfloat16,
        micro_batch=settings.batch_size,
    )


def engine_training(
    model: nn.Module, images: BenchImages, settings: TrainingSettings, *, bfloat16: bool, device: torch.device
) -> Callable[[int], Spent]:
    """Return what trains by `fit` for one epoch of so many batches; validation is not timed."""
    store = open_store(images.pixels, device)

    def view(n: int) -> ImageView:
        rows = torch.arange(n) % images.n_images
        return ImageView(store, rows, images.labels[rows])

    def train(batches: int) -> Spent:
        spent: list[Spent] = []
        whole = timed(lambda: _one_epoch(spent, batches))
        # Only `fit` knows where validation began; the CPU time is that of all.
        return Spent(images=spent[0].images, seconds=spent[0].seconds, cpu_seconds=whole.cpu_seconds)

    def _one_epoch(spent: list[Spent], batches: int) -> int:
        n = batches * settings.batch_size
        fitted = fit(
            model,
            view(n),
            view(images.n_classes),
            settings=settings.model_copy(update={"epochs": 1}),
            from_scratch=False,
            normalisation=IMAGENET,
            generator=torch.Generator().manual_seed(batches),
            on_step=lambda _: None,
            on_epoch=lambda _: None,
            means=Means(bfloat16=bfloat16),
        )
        spent.append(Spent(images=n, seconds=n / fitted.history[0].images_per_second, cpu_seconds=0.0))
        return n

    return train


def synthetic_training(
    new_stepper: Callable[[], Stepper], pixels: torch.Tensor, targets: torch.Tensor
) -> Callable[[int], Spent]:
    """Return what takes steps on the same normalised batch again and again."""

    def train(batches: int) -> Spent:
        stepper = new_stepper()
        stepper.model.train()
        wait_for(pixels.device)

        def steps() -> int:
            for _ in range(batches):
                stepper.step(pixels, targets, None)
            return batches * len(targets) + wait_for(pixels.device)

        return timed(steps)

    return train


def engine_input(images: BenchImages, settings: TrainingSettings) -> Callable[[int], Spent]:
    """Return what draws, gathers and augments batches from the decoded cache on the CPU."""
    store = open_store(images.pixels, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)

    def load(batches: int) -> Spent:
        rows = torch.arange(batches * settings.batch_size) % images.n_images
        view = ImageView(store, rows, images.labels[rows])

        def work() -> int:
            plan = draw_plan(view.labels, settings, generator)
            size = settings.batch_size
            for step, pixels in enumerate(view.batches(list(plan.positions))):
                augment(pixels, plan.parameters.rows(slice(step * size, (step + 1) * size)), IMAGENET)
            return len(rows)

        return timed(work)

    return load


def synthetic_batch(
    settings: TrainingSettings, n_classes: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (n, 3, size, size) float32 noise in channels-last order and (n,) classes, on the device."""
    generator = torch.Generator().manual_seed(0)
    shape = (settings.batch_size, 3, settings.image_size, settings.image_size)
    pixels = torch.randn(shape, generator=generator).to(device, memory_format=torch.channels_last)
    targets = torch.randint(n_classes, (settings.batch_size,), generator=generator).to(device)
    return pixels, targets
