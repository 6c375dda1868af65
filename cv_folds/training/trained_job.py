"""The work of a job: from decoded pixels to a trained network and what it says of the images it had not seen."""

from __future__ import annotations

import time
import zlib
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from cv_folds.arrays import IntArray
from cv_folds.held_out import held_out_folds
from cv_folds.out_of_fold import FoldLogits
from cv_folds.splits import VALIDATION, InnerSplit, inner_split
from cv_folds.training.backbones import bfloat16_pays, build_backbone, set_batch_norm_momentum
from cv_folds.training.checkpoint import Checkpoints
from cv_folds.training.compiled import compiled_like
from cv_folds.training.course import EpochRow
from cv_folds.training.familiarity import Familiarity, familiarity_of
from cv_folds.training.features import MOST_IMAGES
from cv_folds.training.history import event_writer, write_history
from cv_folds.training.job_spec import JobSpec
from cv_folds.training.loop import Fitted, Means, fit
from cv_folds.training.normalisation import choose_normalisation, usual_normalisation
from cv_folds.training.pixels import Normalisation
from cv_folds.training.predict import Seen, evaluation_batch_size, predict_features, predict_logits
from cv_folds.training.progress_file import progress_writer
from cv_folds.training.record import HISTORY_FILE
from cv_folds.training.spins import draw_spins
from cv_folds.training.store import open_store
from cv_folds.training.view import ImageView
from cv_folds.training.weights import load_weights


@dataclass(frozen=True, kw_only=True)
class TrainedJob:
    """What training and prediction gave, before it is written."""

    model: nn.Module
    """With the weights of the chosen epoch."""
    fitted: Fitted
    """How the training went."""
    split: InnerSplit
    """What it was fitted on, and what chose the epoch."""
    logits: FoldLogits
    """Of the images that were held out."""
    validation: FoldLogits | None
    """Of the validation part of a fixed division; None in a cross-validation."""
    familiarity: Familiarity | None
    """How far images are from those learned from; None of a network that is never deployed."""
    normalisation: Normalisation
    """Of the pixels."""
    bfloat16: bool
    """Whether training steps were computed in bfloat16."""
    micro_batch: int
    """Images that were computed at a time in training."""
    seconds: float
    """Wall time, that of interrupted attempts included."""


def train_and_predict(
    spec: JobSpec, device: torch.device, checkpoints: Checkpoints, micro_batch: int, *, resident: bool
) -> TrainedJob:
    """Train a network, from its last checkpoint if there is one, and predict what is held out once.

    Parameters
    ----------
    spec : JobSpec
        The job.
    device : torch.device
        Where to compute.
    checkpoints : Checkpoints
        Of this job.
    micro_batch : int
        Most images computed at a time in training.
    resident : bool
        Whether all images may lie on a GPU.

    Raises
    ------
    JobFailedError
        When the loss is no longer finite, or a checkpoint cannot be written.
    UsageError
        When the weights do not fit the backbone.
    """
    start = time.perf_counter()
    bfloat16 = _use_bfloat16(spec, device)
    store = open_store(spec.pixels, device, resident=resident)
    labels = torch.from_numpy(spec.folds.labels.copy())

    def view(rows: IntArray) -> ImageView:
        positions = torch.from_numpy(np.array(rows))
        return ImageView(store, positions, labels[positions])

    split = inner_split(spec.folds, spec.fold, second=spec.second, parts=spec.settings.validation_parts, seed=spec.seed)
    train = view(split.train)
    usual = usual_normalisation(spec.backbone, pretrained=spec.weights is not None)
    normalisation = choose_normalisation(spec.settings, train, usual)
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
        torch.manual_seed(_job_seed(spec))
        model, compiled = _initial_model(spec).to(device, memory_format=torch.channels_last), None  # type: ignore[call-overload]
        if spec.settings.compile:
            key = (spec.backbone, spec.folds.classes, spec.settings, device, bfloat16, micro_batch)
            model, compiled = compiled_like(model, key)
        tell = stack.enter_context(event_writer(spec.folder)) if spec.tensorboard else None

        def on_epoch(rows: tuple[EpochRow, ...]) -> None:
            write_history(spec.folder / HISTORY_FILE, rows)
            if tell is not None:
                tell(rows)

        fitted = fit(
            model,
            train,
            view(split.validation),
            settings=spec.settings,
            from_scratch=spec.weights is None,
            normalisation=normalisation,
            generator=torch.Generator().manual_seed(_job_seed(spec)),
            on_step=progress_writer(spec.folder),
            on_epoch=on_epoch,
            means=Means(
                bfloat16=bfloat16,
                micro_batch=micro_batch,
                compiled=compiled,
                checkpoints=checkpoints,
                checkpoint_seconds=spec.checkpoint_seconds,
            ),
        )

        def see(rows: IntArray) -> Seen:
            batch_size = evaluation_batch_size(micro_batch, device)
            return predict_features(model, view(rows), batch_size=batch_size, normalisation=normalisation)

        spinning = torch.Generator().manual_seed(_job_seed(spec, "spins"))

        def see_spun(rows: IntArray) -> Seen:
            """Look at images as they are for their features, and under spins for their logits if there are any."""
            seen, spins = see(rows), draw_spins(len(rows), spec.settings.held_out_spins, spinning)
            if spins is None:
                return seen
            batch_size = evaluation_batch_size(micro_batch, device)
            logits = predict_logits(model, view(rows), batch_size=batch_size, normalisation=normalisation, spins=spins)
            return replace(seen, logits=logits)

        def logits_of(seen: Seen, rows: IntArray, fold: int, second: int | None = None) -> FoldLogits:
            return FoldLogits(
                backbone=spec.backbone,
                fold=fold,
                second=second,
                classes=spec.folds.classes,
                image_ids=spec.folds.image_ids[rows],
                logits=seen.logits.double().numpy(),
            )

        # The held-out folds appear here for the first and only time.
        rows = np.flatnonzero(np.isin(spec.folds.folds, held_out_folds(spec.fold, spec.second)))
        held_out = see_spun(rows)
        chosen = see_spun(split.validation) if spec.folds.holdout else None
        unseen = [(spec.folds.image_ids[rows], held_out)]
        if chosen is not None:
            unseen.append((spec.folds.image_ids[split.validation], chosen))
        # A network without two folds is never deployed: nobody will ask it how strange an image is.
        familiarity = (
            familiarity_of(see(_some_of(split.train, spec)), spec.backbone, spec.fold, unseen)
            if spec.second is None
            else None
        )
    return TrainedJob(
        model=model,
        fitted=fitted,
        split=split,
        logits=logits_of(held_out, rows, spec.fold, spec.second),
        validation=None if chosen is None else logits_of(chosen, split.validation, VALIDATION),
        familiarity=familiarity,
        normalisation=normalisation,
        bfloat16=bfloat16,
        micro_batch=micro_batch,
        seconds=time.perf_counter() - start + fitted.seconds_before,
    )


def _initial_model(spec: JobSpec) -> nn.Module:
    model = build_backbone(spec.backbone, len(spec.folds.classes), image_size=spec.settings.image_size)
    if spec.weights is not None:
        load_weights(model, spec.weights)
    set_batch_norm_momentum(model, spec.settings.batch_norm_momentum)
    return model


def _some_of(rows: IntArray, spec: JobSpec) -> IntArray:
    """Return some of the training rows, in order, for the distribution of the features; always the same."""
    if len(rows) <= MOST_IMAGES:
        return rows
    chosen: IntArray = np.sort(np.random.default_rng(_job_seed(spec)).choice(rows, MOST_IMAGES, replace=False))
    return chosen


def _job_seed(spec: JobSpec, purpose: str = "") -> int:
    """Return the seed of a job's training, or of something else in it that has a name."""
    entropy = [spec.seed, spec.fold, zlib.crc32(f"{spec.backbone}{purpose}".encode())]
    # A second fold is never 0, which numpy could not tell from nothing.
    entropy += [] if spec.second is None else [spec.second]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _use_bfloat16(spec: JobSpec, device: torch.device) -> bool:
    if spec.settings.precision == "auto":
        return bfloat16_pays(spec.backbone, device)
    return spec.settings.precision == "bfloat16"
