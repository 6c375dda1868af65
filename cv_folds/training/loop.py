"""Fitting one network: phases, early stopping on the inner validation split, and checkpoints on the way.

`fit` receives views of the training and validation images only. A view cannot reach any row but its own, so the
held-out fold can neither be trained on nor choose the epoch: it is not there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from cv_folds.errors import JobFailedError
from cv_folds.training.augment import augment
from cv_folds.training.average import WeightAverage
from cv_folds.training.backbones import n_outputs
from cv_folds.training.checkpoint import Checkpoints
from cv_folds.training.course import Course, EpochRow
from cv_folds.training.freezing import choose_trained, set_training_mode
from cv_folds.training.mixing import mix_images
from cv_folds.training.monitor import ValidationFigures, shortfall, validation_figures
from cv_folds.training.pixels import Normalisation
from cv_folds.training.plan import draw_plan, size_of_epoch
from cv_folds.training.predict import evaluation_batch_size, predict_logits
from cv_folds.training.resampling import class_weights
from cv_folds.training.settings import PhaseSettings, TrainingSettings
from cv_folds.training.spins import Spins, draw_spins
from cv_folds.training.state import TrainingState, capture, restore
from cv_folds.training.state_dict import load_tensors
from cv_folds.training.step import Stepper
from cv_folds.training.view import ImageView


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a training leaves; the model itself holds the weights of `best_epoch`."""

    history: tuple[EpochRow, ...]
    """One row an epoch."""
    best_epoch: int
    """The epoch that `TrainingSettings.monitor` chose, counted from 1."""
    resumed: int
    """How often the training went on from a checkpoint."""
    seconds_before: float
    """Spent before the last checkpoint that it went on from."""


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
    validation_loss: float | None
    """Least refinement loss so far; None before the first epoch ended."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """How to compute: nothing here is a matter of method, though rounding may differ."""

    bfloat16: bool = False
    """Run the forward and backward pass under bfloat16 autocast."""
    micro_batch: int | None = None
    """Images computed at a time in training; None for the whole batch."""
    compiled: Callable[[torch.Tensor], torch.Tensor] | None = None
    """The model in compiled form, for the training steps; None to run the model itself."""
    checkpoints: Checkpoints | None = None
    """Where to leave the state; None for nowhere."""
    checkpoint_seconds: float = 600.0
    """Longest time without a checkpoint within an epoch, and over short epochs that share one because writing one each
    would take more than a tenth of the time; other epochs leave one each. 0: after every step and epoch."""


def fit(
    model: nn.Module,
    train: ImageView,
    validation: ImageView,
    *,
    settings: TrainingSettings,
    from_scratch: bool,
    normalisation: Normalisation,
    generator: torch.Generator,
    on_step: Callable[[Progress], object],
    on_epoch: Callable[[tuple[EpochRow, ...]], object],
    means: Means | None = None,
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
        Chooses between the two learning rates of a training without phases.
    normalisation : Normalisation
        Of the pixels.
    generator : torch.Generator
        A CPU generator for sampling and augmentation. Dropout draws from torch's global generator.
    on_step, on_epoch : callable
        Told of every step, and of all rows so far after every epoch.
    means : Means, optional
        How to compute. With checkpoints, a training that was interrupted goes on from the last one.

    Returns
    -------
    Fitted

    Raises
    ------
    JobFailedError
        When the loss is no longer finite, or a checkpoint cannot be written.
    """
    means = means or Means()
    size = size_of_epoch(train.labels, settings)
    micro_batch = means.micro_batch or size.batch_size
    evaluation_batch = evaluation_batch_size(micro_batch, train.device)
    phases = settings.phases_of(from_scratch=from_scratch)
    weights = None
    if settings.class_weights == "balanced":
        weights = class_weights(train.labels, n_outputs(model)).to(train.device)

    def stepper_of(phase: PhaseSettings, average: WeightAverage | None = None) -> Stepper:
        choose_trained(model, phase)
        return Stepper(
            model,
            # Not `or`: a compiled module has a truth value only where it has a length.
            forward=model if means.compiled is None else means.compiled,
            settings=settings,
            peak=phase.learning_rate,
            steps=size.steps * phase.epochs,
            bfloat16=means.bfloat16,
            micro_batch=micro_batch,
            class_weights=weights,
            average=average,
        )

    snapshot = None if means.checkpoints is None else means.checkpoints.latest()
    number = 0 if snapshot is None else int(snapshot.state["phase"])
    state = TrainingState(
        stepper=stepper_of(phases[number]),
        phase=number,
        course=Course(monitor=settings.monitor),
        generator=generator,
        epoch_start=generator.get_state(),
    )
    seconds_before = 0.0
    if snapshot is not None:
        restore(state, snapshot)
        seconds_before = sum(row.seconds for row in state.course.rows) + state.seconds
        on_epoch(tuple(state.course.rows))
    while (coming := state.course.coming_phase(phases, patience=settings.patience)) is not None:
        phase = phases[coming]
        if coming != state.phase:
            state.begin(coming, stepper_of(phase, state.stepper.average))
        start = time.perf_counter() - state.seconds
        train_loss, speed = _train_epoch(state, train, phase, settings, normalisation, on_step, means, start)
        if not math.isfinite(train_loss):
            raise _not_finite("training", len(state.course.rows) + 1, phase.learning_rate)
        row = _validated(state, validation, evaluation_batch, normalisation, settings, train_loss, speed, start)
        if not math.isfinite(row.validation_loss):
            raise _not_finite("validation", row.epoch, phase.learning_rate)
        if state.course.add(row):
            _keep(_weights_of(state.stepper, row.weights), state.best)
        state.losses, state.epoch_start, state.seconds = [], generator.get_state(), 0.0
        if means.checkpoints is not None and means.checkpoints.worthwhile(means.checkpoint_seconds):
            _save(state, means)
        on_epoch(tuple(state.course.rows))
    if means.checkpoints is not None:
        means.checkpoints.wait()
    model.requires_grad_(True)
    load_tensors(model, state.best)
    return Fitted(
        history=tuple(state.course.rows),
        best_epoch=state.course.best_epoch,
        resumed=state.resumed,
        seconds_before=seconds_before,
    )


def _train_epoch(
    state: TrainingState,
    train: ImageView,
    phase: PhaseSettings,
    settings: TrainingSettings,
    normalisation: Normalisation,
    on_step: Callable[[Progress], object],
    means: Means,
    start: float,
) -> tuple[float, float]:
    """Train for one epoch, or what is left of it; return its mean loss and its images per second."""
    state.generator.set_state(state.epoch_start)
    plan = draw_plan(train.labels, settings, state.generator)
    steps, batch_size = plan.positions.shape
    done = len(state.losses)
    # Sent to the device once: a copy at every step would make the host wait.
    parameters = plan.parameters.to(train.device)
    targets = train.labels[plan.positions].to(train.device)
    mixes = [None if mix is None else mix.to(train.device) for mix in plan.mixes]
    least = min((row.validation_loss for row in state.course.rows), default=None)
    set_training_mode(state.stepper.model, phase)
    saved = time.perf_counter()
    for step, pixels in enumerate(train.batches(list(plan.positions[done:])), start=done):
        images = augment(pixels, parameters.rows(slice(step * batch_size, (step + 1) * batch_size)), normalisation)
        mix = mixes[step]
        if mix is not None:
            images = mix_images(images, mix)
        # Kept on the device: reading a loss back every step would make the host wait for it.
        state.losses.append(state.stepper.step(images, targets[step], mix))
        now = time.perf_counter()
        on_step(
            Progress(
                epoch=len(state.course.rows) + 1,
                step=step + 1,
                steps=steps,
                images_per_second=(step + 1) * batch_size / (now - start),
                validation_loss=least,
            )
        )
        if now - saved > means.checkpoint_seconds and step + 1 < steps:
            state.seconds = now - start
            _save(state, means)
            saved = time.perf_counter()
    loss = float(torch.stack(state.losses).mean())
    return loss, steps * batch_size / (time.perf_counter() - start)


def _validated(
    state: TrainingState,
    validation: ImageView,
    batch_size: int,
    normalisation: Normalisation,
    settings: TrainingSettings,
    train_loss: float,
    speed: float,
    start: float,
) -> EpochRow:
    """Validate the last weights and their average, and describe the epoch by the better ones."""
    stepper = state.stepper
    # The same for both kinds of weights, so that chance favours neither.
    spins = draw_spins(len(validation), settings.validation_spins, state.generator)
    chosen = _validate(stepper.model, validation, batch_size, normalisation, settings, spins)
    weights: Literal["last", "average"] = "last"
    if stepper.average is not None:
        average = _validate(stepper.average.model, validation, batch_size, normalisation, settings, spins)
        if shortfall(average, settings.monitor) < shortfall(chosen, settings.monitor):
            chosen, weights = average, "average"
    return EpochRow(
        epoch=len(state.course.rows) + 1,
        phase=state.phase + 1,
        learning_rate=stepper.learning_rate,
        train_loss=train_loss,
        validation_loss=chosen.loss,
        validation_balanced_accuracy=chosen.balanced_accuracy,
        validation_weighted_loss=chosen.weighted_loss,
        validation_macro_f1=chosen.macro_f1,
        weights=weights,
        seconds=time.perf_counter() - start,
        images_per_second=speed,
    )


def _validate(
    model: nn.Module,
    view: ImageView,
    batch_size: int,
    normalisation: Normalisation,
    settings: TrainingSettings,
    spins: Spins | None = None,
) -> ValidationFigures:
    logits = predict_logits(model, view, batch_size=batch_size, normalisation=normalisation, spins=spins)
    return validation_figures(logits, view.labels, settings)


def _weights_of(stepper: Stepper, which: Literal["last", "average"]) -> nn.Module:
    if which == "last":
        return stepper.model
    assert stepper.average is not None
    return stepper.average.model


def _keep(model: nn.Module, best: dict[str, torch.Tensor]) -> None:
    """Copy the weights into `best`, into the tensors of the last copy where there is one, to save memory."""
    for key, value in model.state_dict().items():
        if key in best:
            best[key].copy_(value)
        else:
            best[key] = value.detach().clone()


def _save(state: TrainingState, means: Means) -> None:
    if means.checkpoints is not None:
        means.checkpoints.save(capture(state))


def _not_finite(which: str, epoch: int, learning_rate: float) -> JobFailedError:
    return JobFailedError(
        f"the {which} loss is not finite in epoch {epoch}; lower the learning rate (now {learning_rate:g}) "
        f'or set training.precision="float32"'
    )
