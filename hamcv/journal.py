"""``run.json``: what ran, on what, how long each stage took and how it ended."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

import hamcv
from cv_folds.data.dataset import LesionDataset
from cv_folds.files import write_json
from cv_folds.leakage import Leakage
from cv_folds.scheduling.outcome import JobOutcome
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.training.backbone_names import is_timm
from hamcv.run_config import RunConfig

PACKAGES = (
    "torch",
    "torchvision",
    "scikit-learn",
    "imbalanced-learn",
    "scipy",
    "numpy",
    "pandas",
    "pillow",
    "opencv-python-headless",
    "safetensors",
    "joblib",
    "matplotlib",
    "typst",
)


class RunJournal:
    """Keeps ``run.json`` up to date while a run goes on.

    A resumed run keeps the time of its start, and the seconds of its stages add up.

    Parameters
    ----------
    path : Path
        The file.
    config : RunConfig
        The settings of the run.
    dataset : LesionDataset
        What it works on.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    threads : int
        CPU threads of each job.
    side_by_side : int
        Most jobs at a time.
    place : str or None
        Where the jobs run, when it is not this machine.
    leakage : Leakage or None
        What leaks in folds that were used although they leak.
    """

    def __init__(
        self,
        path: Path,
        config: RunConfig,
        dataset: LesionDataset,
        *,
        device: str,
        threads: int,
        side_by_side: int,
        place: str | None = None,
        leakage: Leakage | None = None,
    ) -> None:
        self._path = path
        self._content: dict[str, Any] = {
            "schema": 1,
            "status": "running",
            "recipe": config.recipe,
            "protocol": config.protocol,
            "started": _now(),
            "finished": None,
            "versions": versions() | _timm_version(config.backbones) | _cuda_version(device),
            "platform": platform.platform(),
            "device": {
                "kind": torch.device(device).type,
                "name": place or device_name(device),
                "threads": threads,
                "side_by_side": side_by_side,
                # The machines of a cluster are not this one.
                **({} if place else _machine(device)),
            },
            "git_revision": git_revision(),
            "data": {
                "name": dataset.name,
                "fingerprint": dataset.fingerprint,
                "demo": dataset.demo,
                "n_images": len(dataset),
                "n_lesions": dataset.n_lesions,
                "images_per_class": dataset.class_counts(),
                "lesions_per_class": dataset.lesion_counts(),
            },
            "weights": _weights(config.weights),
            "seconds": {},
            "images_per_second": None,
            "peak_memory_mib": None,
            "jobs": [],
        }
        if leakage is not None:
            self._content["allowed_leakage"] = leakage.model_dump(mode="json")
        if (earlier := _earlier(path)) is not None:
            self._content |= {"started": earlier["started"], "seconds": earlier["seconds"]}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; what it took is written when it ends, however it ends."""
        start = time.perf_counter()
        self._write()
        try:
            yield
        finally:
            self.spent(name, time.perf_counter() - start)

    def spent(self, name: str, seconds: float) -> None:
        """Add to the seconds of a stage."""
        self._content["seconds"][name] = round(self._content["seconds"].get(name, 0.0) + seconds, 3)
        self._write()

    def jobs(self, outcomes: tuple[JobOutcome, ...], peak_memory_mib: float) -> None:
        """Record how the jobs ended and the memory they took."""
        self._content["jobs"] = [_job(outcome) for outcome in outcomes]
        speeds = [outcome.record.images_per_second for outcome in outcomes if outcome.record is not None]
        self._content["images_per_second"] = len(speeds) / sum(1 / speed for speed in speeds) if speeds else None
        self._content["peak_memory_mib"] = round(peak_memory_mib, 1)
        self._write()

    def finish(self) -> None:
        """Record that everything but the report is there."""
        self._content["finished"] = _now()
        self._write()

    def end(self, status: Literal["done", "failed", "interrupted"]) -> None:
        """Record how the run ended."""
        self._content |= {"status": status, "finished": self._content["finished"] or _now()}
        self._write()

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of the stages so far."""
        return dict(self._content["seconds"])

    def _write(self) -> None:
        write_json(self._path, self._content)


def _earlier(path: Path) -> dict[str, Any] | None:
    """Return what an interrupted or finished attempt at the same run left; None when there is nothing usable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    usable = isinstance(content, dict) and isinstance(content.get("seconds"), dict) and "started" in content
    return content if usable else None


def versions() -> dict[str, str]:
    """Return the versions of hamcv, Python and the packages that the results depend on."""
    found = {"hamcv": hamcv.__version__, "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in PACKAGES}


def device_name(device: str) -> str:
    """Return the name of the accelerator or of the processor, as the system gives it."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _machine(device: str) -> dict[str, float]:
    """Return cores and memory of this machine, and the memory of its GPU when that is used."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = {"cores": cpu_cores(), "memory_mib": round(memory / 2**20, 1)}
    if torch.device(device).type == "cuda":
        found["gpu_memory_mib"] = round(torch.cuda.get_device_properties(device).total_memory / 2**20, 1)
    return found


def _timm_version(backbones: Sequence[str]) -> dict[str, str]:
    """Return the version of timm where a backbone is one of its: another may build another network."""
    return {"timm": importlib.metadata.version("timm")} if any(map(is_timm, backbones)) else {}


def _cuda_version(device: str) -> dict[str, str]:
    if torch.device(device).type != "cuda":
        return {}
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {"cuda": str(torch.version.cuda), "cudnn": str(cudnn)}


def git_revision() -> str | None:
    """Return the revision of the checkout that the code runs from, with a mark when it was changed; else None."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def _job(outcome: JobOutcome) -> dict[str, Any]:
    record = outcome.record
    return ({"arm": outcome.arm} if outcome.arm else {}) | {
        "backbone": outcome.backbone,
        "fold": outcome.fold,
        **({} if outcome.second is None else {"second": outcome.second}),
        "status": "done" if record is not None else "failed",
        "seconds": record.seconds if record is not None else None,
        "images_per_second": record.images_per_second if record is not None else None,
        "best_epoch": record.best_epoch if record is not None else None,
        "epochs_run": record.epochs_run if record is not None else None,
        "error": outcome.error,
    }


def _weights(weights: str) -> str:
    """Return the name only of a folder: a report shall not carry paths of the machine."""
    return weights if weights in ("imagenet", "none") else f"folder {Path(weights).name}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
