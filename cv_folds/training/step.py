"""One training step: forward, loss, backward, clipped gradient, optimiser, moving average."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from cv_folds.training.average import WeightAverage
from cv_folds.training.losses import image_losses
from cv_folds.training.mixing import Mix
from cv_folds.training.settings import TrainingSettings


class Stepper:
    """A network with its optimiser, schedule and moving average.

    Nothing in a step reads a value back from the device, so that a GPU never waits for the host.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place, on the device of the images. Parameters without `requires_grad` are left alone.
    forward : callable
        What computes the logits in training: the model itself, or its compiled form with the same weights.
    settings : TrainingSettings
        Optimiser, schedule, loss, clipping and averaging.
    peak : float
        Largest learning rate.
    steps : int
        Steps of the phase; the schedule ends there.
    bfloat16 : bool
        Run forward and backward pass under bfloat16 autocast.
    micro_batch : int
        Most images computed at a time; gradients of a larger batch are added up. The loss and its gradient are the
        same up to rounding, but batch normalisation sees the statistics of the micro-batch.
    class_weights : (n_classes,) float32 tensor, optional
        Factor on the loss of an image of each class, on the device.
    average : WeightAverage, optional
        The moving average of a phase before, to go on with; where the settings ask for one, it starts here otherwise.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        forward: Callable[[torch.Tensor], torch.Tensor],
        settings: TrainingSettings,
        peak: float,
        steps: int,
        bfloat16: bool,
        micro_batch: int,
        class_weights: torch.Tensor | None = None,
        average: WeightAverage | None = None,
    ) -> None:
        assert micro_batch > 0
        self.model = model
        if average is None and settings.ema_decay > 0:
            average = WeightAverage(model, settings.ema_decay)
        self.average = average
        self.optimiser = _optimiser(model, settings, peak)
        self.steps_done = 0
        self._forward = forward
        self._settings = settings
        self._peak = peak
        self._steps = steps
        self._bfloat16 = bfloat16
        self._micro_batch = micro_batch
        self._class_weights = class_weights
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._set_learning_rate()

    @property
    def learning_rate(self) -> float:
        """Of the coming step."""
        return self._peak * learning_rate_factor(self.steps_done, self._steps, self._settings)

    def step(self, images: torch.Tensor, targets: torch.Tensor, mix: Mix | None) -> torch.Tensor:
        """Take one step.

        Parameters
        ----------
        images : (n, 3, size, size) float32 tensor
            Augmented, normalised and, with `mix`, mixed.
        targets : (n,) int64 tensor
            Their classes.
        mix : Mix or None
            How the images were mixed, for the targets.

        Returns
        -------
        () float32 tensor
            Mean loss, on the device.
        """
        parts = []
        for which in _parts(len(images), self._micro_batch):
            loss = self._losses(images[which], targets, which, mix).sum() / len(images)
            loss.backward()  # type: ignore[no-untyped-call]
            parts.append(loss.detach())
        if self._settings.gradient_clip > 0:
            nn.utils.clip_grad_norm_(self._parameters, self._settings.gradient_clip, foreach=True)
        self.optimiser.step()
        # Here and not before the next backward pass: the forward pass need not keep room for old gradients.
        self.optimiser.zero_grad()
        self.steps_done += 1
        self._set_learning_rate()
        if self.average is not None:
            self.average.update()
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def resume(self, steps_done: int) -> None:
        """Go on after so many steps; weights and optimiser are restored by the caller."""
        self.steps_done = steps_done
        self._set_learning_rate()

    def _losses(self, images: torch.Tensor, targets: torch.Tensor, which: slice, mix: Mix | None) -> torch.Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._bfloat16):
            logits = self._forward(images.contiguous(memory_format=torch.channels_last)).float()

        def against(labels: torch.Tensor) -> torch.Tensor:
            return image_losses(logits, labels, self._settings, self._class_weights)

        losses = against(targets[which])
        if mix is None:
            return losses
        return mix.share * losses + (1 - mix.share) * against(targets[mix.order[which]])

    def _set_learning_rate(self) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate


def learning_rate_factor(step: int, steps: int, settings: TrainingSettings) -> float:
    """Return the factor on the peak learning rate at a step: half cosines that rise and fall, or fall only, or 1."""
    if settings.schedule == "constant":
        return 1.0
    rise = settings.warmup * steps if settings.schedule == "one_cycle" else 0.0
    if step < rise:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * step / rise)) / 2
    return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1.0, steps - rise)))) / 2


def _parts(n: int, most: int) -> list[slice]:
    """Cut `n` images into as few parts of like size as may be.

    A part of a single image has no batch statistics: rather than that, a part is larger than `most` by an image.
    """
    count = math.ceil(n / most)
    if n // count == 1:
        count = max(1, n // 2)
    return [slice(n * index // count, n * (index + 1) // count) for index in range(count)]


def _optimiser(model: nn.Module, settings: TrainingSettings, peak: float) -> torch.optim.Optimizer:
    groups = _parameter_groups(model, settings.weight_decay)
    match settings.optimiser:
        case "adamw":
            return torch.optim.AdamW(groups, lr=peak, fused=True)
        case "adam":
            return torch.optim.Adam(groups, lr=peak, fused=True)
        case "sgd":
            momentum, nesterov = settings.momentum, settings.nesterov
            return torch.optim.SGD(groups, lr=peak, momentum=momentum, nesterov=nesterov, fused=True)


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.ndim > 1]
    kept = [parameter for parameter in trained if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
