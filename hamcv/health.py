"""What `hamcv doctor` looks at: versions, devices, memory, weights, data, cache."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cv_folds.data.cache import cache_root
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.training.backbone_names import DEFAULT_BACKBONES
from cv_folds.training.weights import official_file
from hamcv.journal import device_name, versions
from hamcv.sources import choose_data

EXTRAS = {
    "dask": (("distributed",), "--backend dask"),
    "onnx": (("onnxruntime", "onnx", "onnxscript"), "hamcv export --onnx"),
    "ray": (("ray",), "--backend ray"),
    "tensorboard": (("tensorboard",), "--tensorboard"),
    "timm": (("timm",), "timm:NAME"),
}
"""Extra to its packages, and what needs it; the version of the first is shown."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor's table."""

    what: str
    """What was looked at."""
    found: str
    """What is there."""
    mend: str
    """How to get what is missing; empty when nothing is."""


def examine() -> tuple[Finding, ...]:
    """Look at everything that a run depends on."""
    return (
        *(Finding(what=name, found=version, mend="") for name, version in versions().items()),
        Finding(what="processor", found=f"{device_name('cpu')}, {cpu_cores()} cores", mend=""),
        _memory(),
        *_accelerators(),
        *(_weights(backbone) for backbone in DEFAULT_BACKBONES),
        _data(),
        _cache(),
        *(_extra(name, packages, need) for name, (packages, need) in EXTRAS.items()),
    )


def _extra(name: str, packages: Sequence[str], need: str) -> Finding:
    try:
        # Of all, since a part of an extra is none.
        versions_found = [importlib.metadata.version(package) for package in packages]
        found, mend = versions_found[0], ""
    except importlib.metadata.PackageNotFoundError:
        found, mend = "not installed", f"only for {need}: pip install 'hamcv[{name}]'"
    return Finding(what=f"extra {name}", found=found, mend=mend)


def _memory() -> Finding:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Finding(what="memory", found=f"{pages * size / 2**30:.0f} GiB", mend="")


def _accelerators() -> list[Finding]:
    if not torch.cuda.is_available():
        mend = "none needed for --recipe quick or demo; for the default recipe a CUDA GPU with its driver is advised"
        return [Finding(what="CUDA devices", found="none", mend=mend)]
    found = []
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        name = f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB"
        found.append(Finding(what=f"cuda:{index}", found=name, mend=""))
    return found


def _weights(backbone: str) -> Finding:
    address, path = official_file(backbone)
    if path.is_file():
        return Finding(what=f"weights {backbone}", found=str(path), mend="")
    mend = f"`hamcv run` fetches {address}; without network put the file into {path.parent}, or use --weights none"
    return Finding(what=f"weights {backbone}", found="not there yet", mend=mend)


def _data() -> Finding:
    choice = choose_data(None)
    there = choice.data == "demo" or Path(choice.data).is_dir()
    found = f"{choice.data} ({choice.reason})"
    mend = "" if there else f"{choice.data} is no folder: correct HAMCV_DATA"
    if choice.data == "demo":
        mend = "for HAM10000: `hamcv data fetch` gets it into data/ham10000; or name its folder with --data"
    return Finding(what="data", found=found, mend=mend)


def _cache() -> Finding:
    folder = cache_root()
    above = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(above).free / 2**30
    usable = os.access(above, os.W_OK)
    mend = "" if usable and free > 3 else "name a folder with 3 GiB of free space with HAMCV_CACHE"
    return Finding(what="cache", found=f"{folder}, {free:.0f} GiB free", mend=mend)
