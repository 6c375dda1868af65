"""Fitting one network: the loop, early stopping on the inner validation split, and prediction.

`fit` receives views of the training and validation images only. A view cannot reach any row but its own, so the
held-out fold can neither be trained on nor choose the epoch: it is not there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from cv_folds.errors import JobFailedError
from cv_folds.training.augment import augment, draw_parameters
from cv_folds.training.exactness import exact_float32
from cv_folds.training.pixels import Normalisation, normalise
from cv_folds.training.resampling import class_weights, draw_epoch, epoch_size
from cv_folds.training.settings import TrainingSettings


class ImageView:
    """Some rows of the decoded pixels with their labels; the other rows cannot be reached through it.

    Parameters
    ----------
    pixels : (N, size, size, 3) uint8 tensor
        All decoded images, on the training device.
    rows : (n,) int64 tensor
        The rows that this view shows.
    labels : (n,) int64 tensor
        Their classes, on the CPU.
    """

    def __init__(self, pixels: torch.Tensor, rows: torch.Tensor, labels: torch.Tensor) -> None:
        assert len(rows) == len(labels)
        self._pixels = pixels
        self._rows = rows.to(pixels.device)
        self.labels = labels
        self.device = pixels.device

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the (m, size, size, 3) uint8 images at (m,) positions of this view."""
        return self._pixels[self._rows[positions.to(self.device, non_blocking=True)]]


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One row of ``history.csv``."""

    epoch: int
    """Counted from 1."""
    learning_rate: float
    """At the end of the epoch."""
    train_loss: float
    """Mean cross-entropy of the resampled, augmented training images, label smoothing included."""
    validation_loss: float
    """Class-weighted cross-entropy of the validation images; early stopping takes the epoch where it is least."""
    validation_balanced_accuracy: float
    """Mean recall over the classes that the validation images hold."""
    seconds: float
    """Wall time of the epoch, validation included."""
    images_per_second: float
    """Training images by the seconds spent on them."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a training leaves; the model itself holds the weights of `best_epoch`."""

    history: tuple[EpochRow, ...]
    """One row an epoch."""
    best_epoch: int
    """The epoch with the least validation loss, counted from 1."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training stands, for a person who watches."""

    epoch: int
    """The running epoch, counted from 1."""
    step: int
    """Steps done in this epoch."""
    steps: int
    """Steps of an epoch."""
    images_per_second: float
    """Since the epoch began."""


def fit(
    model: nn.Module,
    train: ImageView,
    validation: ImageView,
    *,
    settings: TrainingSettings,
    from_scratch: bool,
    bfloat16: bool,
    normalisation: Normalisation,
    generator: torch.Generator,
    on_step: Callable[[Progress], object],
    on_epoch: Callable[[tuple[EpochRow, ...]], object],
) -> Fitted:
    """Train a model and leave it with the weights of its best validation epoch.

    Parameters
    ----------
    model : torch.nn.Module
        On the device of the views; changed in place.
    train, validation : ImageView
        Disjoint by lesion; nothing else is seen.
    settings : TrainingSettings
        Epochs, patience, schedule, augmentation and the rest.
    from_scratch : bool
        Chooses between the two learning rates.
    bfloat16 : bool
        Run the forward and backward pass under bfloat16 autocast.
    normalisation : Normalisation
        Of the pixels.
    generator : torch.Generator
        A CPU generator for sampling and augmentation.
    on_step, on_epoch : callable
        Told of every step, and of all rows so far after every epoch.

    Returns
    -------
    Fitted

    Raises
    ------
    JobFailedError
        When the loss is no longer finite.
    """
    batch_size = min(settings.batch_size, epoch_size(train.labels, settings))
    steps = max(1, epoch_size(train.labels, settings) // batch_size)
    peak = settings.learning_rate_from_scratch if from_scratch else settings.learning_rate
    optimiser = torch.optim.AdamW(_parameter_groups(model, settings.weight_decay), lr=peak, fused=True)
    schedule = _schedule(optimiser, settings, steps * settings.epochs)

    def one_step(positions: torch.Tensor) -> torch.Tensor:
        parameters = draw_parameters(batch_size, settings.augmentation, generator)
        images = augment(train.pixels(positions), parameters, normalisation)
        targets = train.labels[positions].to(train.device, non_blocking=True)
        loss = _step(model, optimiser, images, targets, settings, bfloat16)
        schedule.step()
        return loss

    best: dict[str, torch.Tensor] = {}
    rows: list[EpochRow] = []
    best_epoch, least = 0, math.inf
    for epoch in range(1, settings.epochs + 1):
        start = time.perf_counter()
        drawn = draw_epoch(train.labels, settings, generator)[: steps * batch_size].reshape(steps, batch_size)
        train_loss, speed = _train_epoch(model, drawn, one_step, epoch, on_step)
        if not math.isfinite(train_loss):
            raise _not_finite("training", epoch, peak)
        validation_loss, balanced_accuracy = _validate(model, validation, settings, normalisation)
        if not math.isfinite(validation_loss):
            raise _not_finite("validation", epoch, peak)
        rows.append(
            EpochRow(
                epoch=epoch,
                learning_rate=float(schedule.get_last_lr()[0]),
                train_loss=train_loss,
                validation_loss=validation_loss,
                validation_balanced_accuracy=balanced_accuracy,
                seconds=time.perf_counter() - start,
                images_per_second=speed,
            )
        )
        if validation_loss < least:
            least, best_epoch = validation_loss, epoch
            _keep(model, best)
        on_epoch(tuple(rows))
        if epoch - best_epoch >= settings.patience:
            break
    model.load_state_dict(best)
    return Fitted(history=tuple(rows), best_epoch=best_epoch)


def _keep(model: nn.Module, best: dict[str, torch.Tensor]) -> None:
    """Copy the weights into `best`, into the tensors of the last copy where there is one, to save memory."""
    for key, value in model.state_dict().items():
        if key in best:
            best[key].copy_(value)
        else:
            best[key] = value.detach().clone()


def _train_epoch(
    model: nn.Module,
    drawn: torch.Tensor,
    one_step: Callable[[torch.Tensor], torch.Tensor],
    epoch: int,
    on_step: Callable[[Progress], object],
) -> tuple[float, float]:
    """Show the (steps, batch) drawn images; return the mean loss and the images per second."""
    start = time.perf_counter()
    steps = len(drawn)
    model.train()
    losses = []
    for step, positions in enumerate(drawn, start=1):
        # Kept on the device: reading a loss back every step would make the device wait.
        losses.append(one_step(positions))
        speed = step * drawn.shape[1] / (time.perf_counter() - start)
        on_step(Progress(epoch=epoch, step=step, steps=steps, images_per_second=speed))
    return float(torch.stack(losses).mean()), drawn.numel() / (time.perf_counter() - start)


def predict_logits(model: nn.Module, view: ImageView, *, batch_size: int, normalisation: Normalisation) -> torch.Tensor:
    """Return the (n, n_classes) float32 logits of a view's images, on the CPU.

    Always in exact float32 and without autocast, as the deployed predictor computes them.
    """
    model.eval()
    parts = []
    with torch.inference_mode(), exact_float32(view.device):
        for positions in torch.split(torch.arange(len(view)), batch_size):
            images = normalise(view.pixels(positions), normalisation)
            parts.append(model(images).float())
    return torch.cat(parts).cpu()


def _step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: torch.Tensor,
    targets: torch.Tensor,
    settings: TrainingSettings,
    bfloat16: bool,
) -> torch.Tensor:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        logits = model(images.contiguous(memory_format=torch.channels_last))
    loss = functional.cross_entropy(logits.float(), targets, label_smoothing=settings.label_smoothing)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
    optimiser.step()
    # Here and not before the next backward pass: the forward pass need not keep room for old gradients.
    optimiser.zero_grad()
    return loss.detach()


def _validate(
    model: nn.Module, view: ImageView, settings: TrainingSettings, normalisation: Normalisation
) -> tuple[float, float]:
    """Return the class-weighted loss and the balanced accuracy over the classes that the view holds."""
    logits = predict_logits(model, view, batch_size=4 * settings.batch_size, normalisation=normalisation)
    weights = class_weights(view.labels, logits.shape[1])
    loss = functional.cross_entropy(logits, view.labels, weight=weights)
    hits = (logits.argmax(1) == view.labels).float()
    recalls = [hits[view.labels == label].mean() for label in torch.unique(view.labels)]
    return float(loss), float(torch.stack(recalls).mean())


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    kept = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def _schedule(
    optimiser: torch.optim.Optimizer, settings: TrainingSettings, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Return a factor on the peak learning rate, by half cosines: rise and fall, or fall only."""
    rise = settings.warmup * steps if settings.schedule == "one_cycle" else 0.0

    def factor(step: int) -> float:
        if step < rise:
            return 0.04 + 0.96 * (1 - math.cos(math.pi * step / rise)) / 2
        return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1.0, steps - rise)))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def _not_finite(which: str, epoch: int, learning_rate: float) -> JobFailedError:
    return JobFailedError(
        f"the {which} loss is not finite in epoch {epoch}; lower the learning rate (now {learning_rate:g}) "
        f'or set training.precision="float32"'
    )
