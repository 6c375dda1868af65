"""The state of a training on disk, so that a killed one goes on where it stood.

Guarantee: a checkpoint is written beside its place, synced and renamed; the one before it is removed only after the
next was written. Whenever the process is killed, or the disk is full, the last whole checkpoint is there. It is one
safetensors file (no pickle) whose header carries the rest of the state as JSON and a checksum of the tensors.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cv_folds.errors import JobFailedError
from cv_folds.files import write_atomically

CHECKPOINT_FOLDER = "checkpoints"
# Raised when the names or the meaning of the entries change: older checkpoints are then passed over.
_FORMAT = "2"
_KEPT = 2
SHARE = 0.1
"""Of the time of a training that writing checkpoints may take."""
# A channels-last tensor is stored as its transposed view, which is contiguous: a copy would double the memory.
_TRANSPOSED = "transposed"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that a training needs to go on to the bit."""

    tensors: dict[str, torch.Tensor]
    """Weights, optimiser state and random states by name."""
    state: dict[str, Any]
    """The rest, as JSON."""


class Checkpoints:
    """The checkpoints of one job.

    Parameters
    ----------
    folder : Path
        Where they lie; made when the first is written.
    digest : str
        Of everything that determines the job's result; checkpoints of another job are passed over.
    share : float
        Of the time, that writing may take; infinity for a checkpoint whenever there is something new.
    """

    def __init__(self, folder: Path, digest: str, *, share: float = SHARE) -> None:
        self._folder = folder
        self._digest = digest
        self._share = share
        self._ended: float | None = None
        self._cost = 0.0
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def worthwhile(self, longest: float) -> bool:
        """Tell whether enough was done since the last checkpoint for its writing to be a small share of the time.

        On a slow disk a large network that sees few images would spend most of its time on writing. What a kill can
        cost is bounded all the same: by ten times the writing of one checkpoint, with the usual `share`, and by
        `longest` seconds.
        """
        if self._ended is None:
            return True
        return time.perf_counter() - self._ended >= min(longest, self._cost / self._share)

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint and keep the last two.

        Tensors of a GPU are copied and written in the background, so that training goes on meanwhile.

        Raises
        ------
        JobFailedError
            When this checkpoint, or the one before it, could not be written; the earlier ones are whole.
        """
        self.wait()
        if any(tensor.device.type == "cuda" for tensor in snapshot.tensors.values()):
            on_host = {key: tensor.to("cpu", copy=True) for key, tensor in snapshot.tensors.items()}
            self._writing = self._writer.submit(self._write, Snapshot(tensors=on_host, state=snapshot.state))
        else:
            self._write(snapshot)

    def wait(self) -> None:
        """Wait until the last checkpoint is on disk; raise what went wrong with it."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        """End the writer; a checkpoint that is being written is finished, its failure no longer matters."""
        self._writer.shutdown(wait=True)

    def latest(self) -> Snapshot | None:
        """Return the newest whole checkpoint of this job; None when there is none."""
        for path in reversed(self._paths()):
            if (snapshot := _read(path, self._digest)) is not None:
                return snapshot
        return None

    def remove(self) -> None:
        """Remove all checkpoints: the job is finished, or starts afresh."""
        self.wait()
        for path in self._folder.glob("*"):
            path.unlink()
        if self._folder.is_dir():
            self._folder.rmdir()

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.safetensors"))

    def _write(self, snapshot: Snapshot) -> None:
        start = time.perf_counter()
        self._write_file(snapshot)
        self._ended = time.perf_counter()
        self._cost = self._ended - start

    def _write_file(self, snapshot: Snapshot) -> None:
        path = self._folder / f"step-{snapshot.state['steps_done']:09d}.safetensors"
        tensors, transposed = _contiguous(snapshot.tensors)
        header = {
            "format": _FORMAT,
            "digest": self._digest,
            "state": json.dumps(snapshot.state),
            "checksum": str(_checksum(tensors)),
            _TRANSPOSED: json.dumps(transposed),
        }
        try:
            write_atomically(path, lambda partial: _save(partial, tensors, header))
        except (OSError, SafetensorError) as error:
            raise JobFailedError(
                f"{path}: cannot write the checkpoint ({getattr(error, 'strerror', None) or error}); the one before it "
                "is whole: free space there and run the same command again to go on"
            ) from error
        past = [other for other in self._paths() if other <= path]
        # What lies at a later step is another job's or damaged, and must not count among those to keep.
        for other in set(self._paths()) - set(past[-_KEPT:]):
            other.unlink()


def _save(path: Path, tensors: dict[str, torch.Tensor], header: dict[str, str]) -> None:
    # `save_file` makes a file that only its owner may read; a touched one has the permissions that the umask leaves.
    path.touch()
    permissions = path.stat().st_mode
    save_file(tensors, path, metadata=header)
    path.chmod(permissions)


def _read(path: Path, digest: str) -> Snapshot | None:
    try:
        with safe_open(path, framework="pt") as stream:
            header = stream.metadata() or {}
            if (header.get("format"), header.get("digest")) != (_FORMAT, digest):
                return None
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError):
        return None
    if str(_checksum(tensors)) != header["checksum"]:
        return None
    for key in json.loads(header[_TRANSPOSED]):
        tensors[key] = tensors[key].permute(0, 3, 1, 2)
    return Snapshot(tensors=tensors, state=json.loads(header["state"]))


def _contiguous(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], list[str]]:
    stored, transposed = {}, []
    for key, tensor in tensors.items():
        if not tensor.is_contiguous() and tensor.ndim == 4:
            transposed.append(key)
            stored[key] = tensor.permute(0, 2, 3, 1).contiguous()
        else:
            stored[key] = tensor.contiguous()
    return stored, transposed


def _checksum(tensors: Mapping[str, torch.Tensor]) -> int:
    checksum = 0
    for key in sorted(tensors):
        checksum = zlib.crc32(tensors[key].reshape(-1).view(torch.uint8).numpy().data, checksum)
    return checksum
