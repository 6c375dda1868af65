"""One training step: forward, loss, backward, clipped gradient, AdamW, moving average."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from cv_folds.training.average import WeightAverage
from cv_folds.training.mixing import Mix
from cv_folds.training.settings import TrainingSettings


class Stepper:
    """A network with its optimiser, schedule and moving average.

    Nothing in a step reads a value back from the device, so that a GPU never waits for the host.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place, on the device of the images.
    forward : callable
        What computes the logits in training: the model itself, or its compiled form with the same weights.
    settings : TrainingSettings
        Optimiser, schedule, smoothing, clipping and averaging.
    peak : float
        Largest learning rate.
    steps : int
        Steps of the whole training; the schedule ends there.
    bfloat16 : bool
        Run forward and backward pass under bfloat16 autocast.
    micro_batch : int
        Most images computed at a time; gradients of a larger batch are added up. The loss and its gradient are the
        same up to rounding, but batch normalisation sees the statistics of the micro-batch.
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
    ) -> None:
        assert micro_batch > 0
        self.model = model
        self.average = WeightAverage(model, settings.ema_decay) if settings.ema_decay > 0 else None
        self.optimiser = torch.optim.AdamW(_parameter_groups(model, settings.weight_decay), lr=peak, fused=True)
        self.steps_done = 0
        self._forward = forward
        self._settings = settings
        self._peak = peak
        self._steps = steps
        self._bfloat16 = bfloat16
        self._micro_batch = micro_batch
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
            smoothing = self._settings.label_smoothing
            return functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")

        losses = against(targets[which])
        if mix is None:
            return losses
        return mix.share * losses + (1 - mix.share) * against(targets[mix.order[which]])

    def _set_learning_rate(self) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate


def learning_rate_factor(step: int, steps: int, settings: TrainingSettings) -> float:
    """Return the factor on the peak learning rate at a step, by half cosines: rise and fall, or fall only."""
    rise = settings.warmup * steps if settings.schedule == "one_cycle" else 0.0
    if step < rise:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * step / rise)) / 2
    return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1.0, steps - rise)))) / 2


def _parts(n: int, most: int) -> list[slice]:
    """Cut `n` images into as few parts as may be, of like size: a last part of one image has no batch statistics."""
    count = math.ceil(n / most)
    return [slice(n * index // count, n * (index + 1) // count) for index in range(count)]


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    kept = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
