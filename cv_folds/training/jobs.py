"""One training of a backbone: from decoded pixels to a trained model and its out-of-fold logits on disk."""

from __future__ import annotations

import gc
import hashlib
import json
import resource
import sys
import time
import zlib
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from cv_folds.arrays import IntArray
from cv_folds.errors import JobFailedError
from cv_folds.files import sha256, write_atomically, write_json
from cv_folds.held_out import held_out_folds
from cv_folds.images import DECODER
from cv_folds.out_of_fold import FoldLogits
from cv_folds.splits import VALIDATION, Folds, InnerSplit, inner_split
from cv_folds.training.backbones import bfloat16_pays, build_backbone, count_parameters, set_batch_norm_momentum
from cv_folds.training.checkpoint import CHECKPOINT_FOLDER, Checkpoints
from cv_folds.training.compiled import compiled_like
from cv_folds.training.course import EpochRow
from cv_folds.training.familiarity import Familiarity, familiarity_of
from cv_folds.training.features import MOST_IMAGES
from cv_folds.training.history import event_writer, write_history
from cv_folds.training.loop import Fitted, Means, fit
from cv_folds.training.memory import keep_freed_memory
from cv_folds.training.normalisation import choose_normalisation, usual_normalisation
from cv_folds.training.pixels import IMAGENET, Normalisation
from cv_folds.training.predict import Seen, evaluation_batch_size, predict_features, predict_logits
from cv_folds.training.progress_file import progress_writer, remove_progress
from cv_folds.training.record import (
    HISTORY_FILE,
    LOGITS_FILE,
    MODEL_FILE,
    RECORD_FILE,
    RESULT_FILES,
    VALIDATION_FILE,
    JobRecord,
    job_folder,
    job_name,
    read_record,
    verified_record,
)
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.spins import draw_spins
from cv_folds.training.store import open_store
from cv_folds.training.view import ImageView
from cv_folds.training.weights import WeightsFile, load_weights


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """All that a job needs; plain data, so that it can be sent to another process or machine."""

    run: Path
    """The run folder."""
    backbone: str
    """Name of the backbone."""
    fold: int
    """The fold that is held out, counted from 0."""
    folds: Folds
    """The outer folds."""
    pixels: Path
    """The decoded images, rows in the order of `folds`."""
    fingerprint: str
    """Of the dataset."""
    settings: TrainingSettings
    """How to train."""
    weights: WeightsFile | None
    """Where to start from; None for random weights."""
    seed: int
    """Seed of the whole run."""
    device: str
    """``cpu``, ``cuda`` or ``cuda:N``."""
    threads: int
    """CPU threads of this job."""
    second: int | None = None
    """Another fold that is held out too, with a larger number; None for none."""
    arm: str = ""
    """The folder below the run folder that holds the jobs of this division of the images; empty for the main one."""
    tensorboard: bool = False
    """Write TensorBoard event files into the job folder."""
    checkpoint_seconds: float = 600.0
    """Longest time within an epoch without a checkpoint; see `cv_folds.training.loop.Means`."""

    @property
    def folder(self) -> Path:
        """Where the job writes."""
        return job_folder(self.run / self.arm, self.backbone, self.fold, self.second)

    @property
    def name(self) -> str:
        """For messages."""
        return job_name(self.arm, self.backbone, self.fold, self.second)

    def digest(self) -> str:
        """Return a SHA-256 over everything that determines the result, but for the device."""
        parts = {
            "backbone": self.backbone,
            "fold": self.fold,
            "folds": hashlib.sha256(self.folds.folds.tobytes()).hexdigest(),
            # The inner split depends on them too.
            "groups": hashlib.sha256("\n".join(self.folds.groups.tolist()).encode()).hexdigest(),
            "fingerprint": self.fingerprint,
            "decoder": DECODER,
            "settings": self.settings.model_dump(mode="json"),
            "weights": None if self.weights is None else self.weights.sha256,
            "seed": self.seed,
        }
        if self.folds.holdout:
            parts["holdout"] = True
        if self.second is not None:
            parts["second"] = self.second
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What training and prediction gave, before it is written."""

    model: nn.Module
    fitted: Fitted
    split: InnerSplit
    logits: FoldLogits
    validation: FoldLogits | None
    familiarity: Familiarity | None
    normalisation: Normalisation
    bfloat16: bool
    micro_batch: int
    seconds: float


def finished(spec: JobSpec) -> JobRecord | None:
    """Return the record when the job was finished with these settings and its files are whole, else None."""
    record = read_record(spec.folder)
    # The digest first: it spares the reading of files that another run left.
    if record is None or record.settings_digest != spec.digest():
        return None
    return verified_record(spec.folder)


def run_job(spec: JobSpec) -> JobRecord:
    """Train, predict what is held out once, and write the job folder; a finished job is not repeated.

    A job that was interrupted goes on from its last checkpoint. When the memory of a GPU runs out, it goes on from
    there with half the images computed at a time.

    Raises
    ------
    JobFailedError
        When the loss is no longer finite, a checkpoint cannot be written, or the GPU's memory is too small.
    UsageError
        When the weights do not fit the backbone.
    """
    if (record := finished(spec)) is not None:
        return record
    spec.folder.mkdir(parents=True, exist_ok=True)
    (spec.folder / RECORD_FILE).unlink(missing_ok=True)
    torch.set_num_threads(spec.threads)
    device = torch.device(spec.device)
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    with closing(Checkpoints(spec.folder / CHECKPOINT_FOLDER, spec.digest())) as checkpoints:
        try:
            outcome = _with_less_memory(spec, device, checkpoints)
        finally:
            remove_progress(spec.folder)
        record = _write(spec, outcome)
        checkpoints.remove()
    return record


def _with_less_memory(spec: JobSpec, device: torch.device, checkpoints: Checkpoints) -> _Outcome:
    """Try with the whole batch, then with halves of it, until the device's memory suffices."""
    micro_batch = spec.settings.batch_size
    while True:
        try:
            return _train_and_predict(spec, device, checkpoints, micro_batch)
        except torch.OutOfMemoryError as error:
            if micro_batch < 4:
                raise JobFailedError(
                    f"the memory of {spec.device} is too small even for {micro_batch} images at a time; "
                    "give a smaller --image-size or another backbone, or end other programs that use it"
                ) from error
        # Out of the handler: the exception kept the tensors of the failed step alive.
        micro_batch //= 2
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _train_and_predict(spec: JobSpec, device: torch.device, checkpoints: Checkpoints, micro_batch: int) -> _Outcome:
    start = time.perf_counter()
    bfloat16 = _use_bfloat16(spec, device)
    store = open_store(spec.pixels, device)
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
    return _Outcome(
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


def _write(spec: JobSpec, outcome: _Outcome) -> JobRecord:
    _write_model(spec.folder / MODEL_FILE, outcome.model)
    outcome.logits.save(spec.folder / LOGITS_FILE)
    files: tuple[str, ...] = RESULT_FILES
    if outcome.familiarity is not None:
        files = (*files, *outcome.familiarity.save(spec.folder))
    if outcome.validation is not None:
        outcome.validation.save(spec.folder / VALIDATION_FILE)
        files = (*files, VALIDATION_FILE)
    history = outcome.fitted.history
    record = JobRecord(
        backbone=spec.backbone,
        fold=spec.fold,
        second=spec.second,
        seed=spec.seed,
        settings_digest=spec.digest(),
        best_epoch=outcome.fitted.best_epoch,
        epochs_run=len(history),
        n_train=len(outcome.split.train),
        n_validation=len(outcome.split.validation),
        n_held_out=len(outcome.logits.image_ids),
        seconds=outcome.seconds,
        # Every epoch shows as many images, so that the seconds add up to this mean.
        images_per_second=len(history) / sum(1 / row.images_per_second for row in history),
        parameters=count_parameters(outcome.model),
        precision="bfloat16" if outcome.bfloat16 else "float32",
        device=spec.device,
        batch_size=spec.settings.batch_size,
        micro_batch=outcome.micro_batch,
        resumed=outcome.fitted.resumed,
        normalisation=None if outcome.normalisation == IMAGENET else outcome.normalisation,
        peak_memory_mib=peak_memory_mib(),
        files={name: sha256(spec.folder / name) for name in files},
    )
    content = record.model_dump(mode="json", exclude_none=True)
    write_json(spec.folder / RECORD_FILE, {"schema": content.pop("schema_")} | content)
    return record


def peak_memory_mib() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


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


def _write_model(path: Path, model: nn.Module) -> None:
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    # `save_file` would make a file that only its owner may read, whatever the umask.
    write_atomically(path, lambda partial: partial.write_bytes(save(tensors)))
