"""One training of a backbone as a folder on disk: resumed, done with less memory, written, or found finished."""

from __future__ import annotations

import gc
import resource
import sys
from contextlib import closing
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from cv_folds.errors import JobFailedError
from cv_folds.files import PARTIAL, sha256, write_atomically, write_json
from cv_folds.training.backbones import count_parameters
from cv_folds.training.checkpoint import CHECKPOINT_FOLDER, Checkpoints
from cv_folds.training.job_spec import JobSpec
from cv_folds.training.memory import images_at_a_time, keep_freed_memory, out_of_memory
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.progress_file import remove_progress
from cv_folds.training.record import (
    LOGITS_FILE,
    MODEL_FILE,
    RECORD_FILE,
    RESULT_FILES,
    VALIDATION_FILE,
    JobRecord,
    read_record,
    verified_record,
)
from cv_folds.training.store import give_back
from cv_folds.training.trained_job import TrainedJob, train_and_predict


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
    there with the images streamed to it, or else with half of them computed at a time.

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
    # What a killed process was writing; a checkpoint takes several times the room of the weights.
    for left in spec.folder.rglob(f"*{PARTIAL}*"):
        left.unlink(missing_ok=True)
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


def _with_less_memory(spec: JobSpec, device: torch.device, checkpoints: Checkpoints) -> TrainedJob:
    """Try with what usually fits; then with the images elsewhere, then with halves of a step, until memory suffices."""
    micro_batch = images_at_a_time(spec.settings.batch_size, spec.settings.image_size, spec.device)
    resident = True
    while True:
        try:
            return train_and_predict(spec, device, checkpoints, micro_batch, resident=resident)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            # Streaming them costs less than smaller steps, and changes nothing.
            streamed = give_back(spec.pixels, device)
            if not streamed and micro_batch < 4:
                raise JobFailedError(
                    f"the memory of {spec.device} is too small even for {micro_batch} images at a time "
                    f"({str(error).splitlines()[0]}); "
                    "give a smaller --image-size or another backbone, or end other programs that use it"
                ) from error
        # Out of the handler: the exception kept the tensors of the failed step alive.
        if streamed:
            resident = False
        else:
            micro_batch //= 2
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _write(spec: JobSpec, outcome: TrainedJob) -> JobRecord:
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
        made_of=spec.made_of(),
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


def _write_model(path: Path, model: nn.Module) -> None:
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    # `save_file` would make a file that only its owner may read, whatever the umask.
    write_atomically(path, lambda partial: partial.write_bytes(save(tensors)))
