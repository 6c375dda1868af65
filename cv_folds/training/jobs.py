"""One (backbone, fold) job: from decoded pixels to a trained model and its out-of-fold logits on disk.

``job.json`` is written last and atomically: a job folder that has a valid one is finished, any other is not.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import resource
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save
from torch import nn

from cv_folds.data.cache import open_pixels
from cv_folds.files import sha256, write_atomically, write_json, write_text
from cv_folds.images import DECODER
from cv_folds.out_of_fold import FoldLogits
from cv_folds.splits import Folds, inner_split
from cv_folds.training.backbones import bfloat16_pays, build_backbone, count_parameters, set_batch_norm_momentum
from cv_folds.training.loop import EpochRow, Fitted, ImageView, Progress, fit, predict_logits
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.weights import WeightsFile, load_weights

MODEL_FILE, LOGITS_FILE, HISTORY_FILE, RECORD_FILE = "model.safetensors", "oof.npz", "history.csv", "job.json"
RESULT_FILES = (MODEL_FILE, LOGITS_FILE, HISTORY_FILE)
PROGRESS_FILE = "progress.json"


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

    @property
    def folder(self) -> Path:
        """Where the job writes."""
        return job_folder(self.run, self.backbone, self.fold)

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.backbone}, fold {self.fold}"

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
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class JobRecord(BaseModel):
    """Content of ``job.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    schema_: int = 1
    """Version of this form; written as ``schema``."""
    backbone: str
    """Name of the backbone."""
    fold: int
    """The fold that was held out."""
    seed: int
    """Seed of the whole run."""
    settings_digest: str
    """`JobSpec.digest` of the job that wrote this."""
    best_epoch: int
    """The epoch whose weights were kept, counted from 1."""
    epochs_run: int
    """Epochs trained before the end or early stopping."""
    n_train: int
    """Images that the weights were fitted on."""
    n_validation: int
    """Images that chose the epoch."""
    n_held_out: int
    """Images predicted out of fold."""
    seconds: float
    """Wall time of the job."""
    images_per_second: float
    """Training images by the time spent on them, over all epochs."""
    parameters: int
    """Trainable numbers of the network."""
    precision: str
    """Arithmetic of the training steps."""
    device: str
    """Where it ran."""
    peak_memory_mib: float
    """Largest resident memory of the process up to the end of the job."""
    files: dict[str, str]
    """File name to SHA-256."""


def job_folder(run: Path, backbone: str, fold: int) -> Path:
    """Return the folder of one job."""
    return run / "jobs" / backbone / f"fold-{fold}"


def read_record(folder: Path) -> JobRecord | None:
    """Return the record of a finished job; None when there is none or it is damaged."""
    try:
        content = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        return JobRecord.model_validate(
            {("schema_" if key == "schema" else key): value for key, value in content.items()}
        )
    except (OSError, ValueError, AttributeError, ValidationError):
        return None


def verified_record(folder: Path) -> JobRecord | None:
    """Return the record when the folder holds one and all result files as it lists them, else None."""
    record = read_record(folder)
    if record is None or record.files.keys() != set(RESULT_FILES):
        return None
    for name, checksum in record.files.items():
        path = folder / name
        if not path.is_file() or sha256(path) != checksum:
            return None
    return record


def finished(spec: JobSpec) -> JobRecord | None:
    """Return the record when the job was finished with these settings and its files are whole, else None."""
    record = read_record(spec.folder)
    # The digest first: it spares the reading of files that another run left.
    if record is None or record.settings_digest != spec.digest():
        return None
    return verified_record(spec.folder)


def run_job(spec: JobSpec) -> JobRecord:
    """Train, predict the held-out fold once, and write the job folder; a finished job is not repeated.

    Raises
    ------
    JobFailedError
        When the loss is no longer finite.
    UsageError
        When the weights do not fit the backbone.
    """
    if (record := finished(spec)) is not None:
        return record
    start = time.perf_counter()
    spec.folder.mkdir(parents=True, exist_ok=True)
    (spec.folder / RECORD_FILE).unlink(missing_ok=True)
    torch.set_num_threads(spec.threads)
    device = torch.device(spec.device)
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    bfloat16 = _use_bfloat16(spec, device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_job_seed(spec))
        model = _initial_model(spec).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        try:
            fitted, view_sizes, logits = _train_and_predict(spec, model, device, bfloat16)
        finally:
            _remove_progress(spec.folder)
    _write_model(spec.folder / MODEL_FILE, model)
    logits.save(spec.folder / LOGITS_FILE)
    shown = sum(row.images_per_second * row.seconds for row in fitted.history)
    record = JobRecord(
        backbone=spec.backbone,
        fold=spec.fold,
        seed=spec.seed,
        settings_digest=spec.digest(),
        best_epoch=fitted.best_epoch,
        epochs_run=len(fitted.history),
        n_train=view_sizes[0],
        n_validation=view_sizes[1],
        n_held_out=len(logits.image_ids),
        seconds=time.perf_counter() - start,
        images_per_second=shown / sum(row.seconds for row in fitted.history),
        parameters=count_parameters(model),
        precision="bfloat16" if bfloat16 else "float32",
        device=spec.device,
        peak_memory_mib=peak_memory_mib(),
        files={name: sha256(spec.folder / name) for name in RESULT_FILES},
    )
    content = record.model_dump(mode="json")
    write_json(spec.folder / RECORD_FILE, {"schema": content.pop("schema_")} | content)
    return record


def _train_and_predict(
    spec: JobSpec, model: nn.Module, device: torch.device, bfloat16: bool
) -> tuple[Fitted, tuple[int, int], FoldLogits]:
    pixels = torch.from_numpy(open_pixels(spec.pixels)).to(device)
    labels = torch.from_numpy(spec.folds.labels.copy())

    def view(rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> ImageView:
        positions = torch.from_numpy(np.array(rows))
        return ImageView(pixels, positions, labels[positions])

    split = inner_split(spec.folds, spec.fold, parts=spec.settings.validation_parts, seed=spec.seed)
    fitted = fit(
        model,
        view(split.train),
        view(split.validation),
        settings=spec.settings,
        from_scratch=spec.weights is None,
        bfloat16=bfloat16,
        normalisation=IMAGENET,
        generator=torch.Generator().manual_seed(_job_seed(spec)),
        on_step=_progress_writer(spec),
        on_epoch=lambda rows: write_history(spec.folder / HISTORY_FILE, rows),
    )
    # The held-out fold appears here for the first and only time.
    held_out = np.flatnonzero(spec.folds.folds == spec.fold)
    logits = predict_logits(model, view(held_out), batch_size=4 * spec.settings.batch_size, normalisation=IMAGENET)
    return (
        fitted,
        (len(split.train), len(split.validation)),
        FoldLogits(
            backbone=spec.backbone,
            fold=spec.fold,
            classes=spec.folds.classes,
            image_ids=spec.folds.image_ids[held_out],
            logits=logits.double().numpy(),
        ),
    )


def write_history(path: Path, rows: tuple[EpochRow, ...]) -> None:
    """Write ``history.csv`` atomically, one row an epoch."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(EpochRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text(path, text.getvalue())


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


def _job_seed(spec: JobSpec) -> int:
    entropy = [spec.seed, spec.fold, zlib.crc32(spec.backbone.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _use_bfloat16(spec: JobSpec, device: torch.device) -> bool:
    if spec.settings.precision == "auto":
        return bfloat16_pays(spec.backbone, device)
    return spec.settings.precision == "bfloat16"


def _write_model(path: Path, model: nn.Module) -> None:
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    # `save_file` would make a file that only its owner may read, whatever the umask.
    write_atomically(path, lambda partial: partial.write_bytes(save(tensors)))


def _progress_writer(spec: JobSpec) -> Callable[[Progress], None]:
    """Return a callback that leaves the state in a small file, at most twice a second, for whoever watches.

    A file needs no connection between the processes: it works alike for threads, workers and cluster nodes. It is
    not synced, a watcher takes an unreadable one for no news, and a training does not fail for want of it.
    """
    path = spec.folder / PROGRESS_FILE
    partial = path.with_suffix(f".{os.getpid()}")
    last = 0.0

    def write(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 0.5 and progress.step < progress.steps:
            return
        last = now
        with suppress(OSError):
            partial.write_text(json.dumps(asdict(progress)), encoding="utf-8")
            partial.replace(path)

    return write


def _remove_progress(folder: Path) -> None:
    """Remove the progress file and unfinished ones, those of killed processes too."""
    for path in folder.glob(f"{Path(PROGRESS_FILE).stem}.*"):
        with suppress(OSError):
            path.unlink()
