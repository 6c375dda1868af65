"""Pretrained weights: found before any job starts, checked entry by entry, never silently left out."""

from __future__ import annotations

import http.client
import re
import urllib.error
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from urllib.parse import urlparse

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from cv_folds.errors import UsageError, list_rows
from cv_folds.files import sha256
from cv_folds.training.backbone_names import file_stem, is_timm
from cv_folds.training.backbones import AUXILIARY_HEADS, check_backbone, classifier_layer
from cv_folds.training.state_dict import load_tensors
from cv_folds.training.timm_backbones import timm_file, todays_names

# DenseNet files predate a renaming of its layers: "norm.1.weight" is today's "norm1.weight".
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..+)$")


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """Where the starting weights of one backbone come from."""

    backbone: str
    """Name of the backbone."""
    path: Path
    """A safetensors file, or a state dict in torch's format."""
    sha256: str
    """Checksum, so that a run is resumed only from the same weights."""


def find_weights(weights: str, backbone: str, *, download: bool) -> WeightsFile | None:
    """Find the file of starting weights of one backbone.

    Parameters
    ----------
    weights : str
        ``none``, ``imagenet``, or a folder with ``BACKBONE.safetensors`` (``timm-NAME.safetensors`` for ``timm:NAME``)
        or torchvision's own file names.
    backbone : str
        Name of the backbone.
    download : bool
        Whether torchvision or timm may fetch a missing ImageNet file.

    Returns
    -------
    WeightsFile or None
        None for ``none``.

    Raises
    ------
    UsageError
        When the file is not there and cannot be had: names the file, the folder and the alternatives.
    """
    check_backbone(backbone)
    if weights == "none":
        return None
    path = _imagenet_file(backbone, download) if weights == "imagenet" else _file_in_folder(Path(weights), backbone)
    return WeightsFile(backbone=backbone, path=path, sha256=sha256(path))


def official_file(backbone: str) -> tuple[str, Path]:
    """Return the address of torchvision's default ImageNet weights and where torchvision keeps the file."""
    address = torchvision.models.get_model_weights(backbone).DEFAULT.url
    name = Path(urlparse(address).path).name
    return address, Path(torch.hub.get_dir(), "checkpoints", name)


def load_weights(model: nn.Module, weights: WeightsFile) -> tuple[str, ...]:
    """Load stored weights into a model that has a head of its own.

    The layer that gives the logits keeps its fresh values; other layers of the classifier are loaded when the file
    has them. Every other entry must be there, with the right shape, and nothing else may be.

    Returns
    -------
    tuple of str
        The other layers of the classifier that the file lacks: they keep their random values.

    Raises
    ------
    UsageError
        When the file cannot be read or an entry is missing, extra or of another shape: all of them at once.
    """
    stored = _read(weights.path)
    if is_timm(weights.backbone):
        stored = todays_names(stored, model)
    wanted = model.state_dict()
    layer = classifier_layer(model)
    head = layer.partition(".")[0] + "."
    auxiliary = tuple(f"{prefix}." for prefix in AUXILIARY_HEADS.get(weights.backbone, ()))
    problems = []
    chosen: dict[str, torch.Tensor] = {}
    for key, value in stored.items():
        if key.startswith((f"{layer}.", *auxiliary)):
            continue
        if key not in wanted:
            if not key.startswith(head):
                problems.append(f"extra entry {key}")
        elif wanted[key].shape != value.shape:
            problems.append(f"{key} has shape {tuple(value.shape)} instead of {tuple(wanted[key].shape)}")
        else:
            chosen[key] = value.to(wanted[key].dtype)
    problems += [
        f"missing entry {key}"
        for key in wanted
        if key not in stored and not key.startswith(head) and not key.endswith(".num_batches_tracked")
    ]
    if problems:
        raise UsageError(f"{weights.path} does not fit {weights.backbone}:\n{list_rows(problems)}")
    load_tensors(model, chosen, strict=False)
    lacking = (key for key in wanted if key not in chosen and not key.startswith((f"{layer}.", *auxiliary)))
    layers = (key.rpartition(".")[0] for key in lacking if not key.endswith(".num_batches_tracked"))
    return tuple(dict.fromkeys(layers))


def _imagenet_file(backbone: str, download: bool) -> Path:
    if is_timm(backbone):
        return timm_file(backbone, download=download)
    address, path = official_file(backbone)
    if path.is_file():
        return path
    reason = "not downloaded yet"
    if download:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, str(path), hash_prefix=_hash_prefix(path.name), progress=False)
        except (urllib.error.URLError, http.client.HTTPException, OSError, RuntimeError) as error:
            # RuntimeError: torchvision's word for a checksum that does not match.
            reason = f"download failed: {getattr(error, 'reason', error)}"
        else:
            return path
    raise UsageError(
        f"--weights imagenet: {path.name} for {backbone} is not in {path.parent} ({reason}). Put the file there (from "
        f"{address}), or name a folder that holds it with --weights FOLDER, or train from scratch with --weights none."
    )


def _hash_prefix(name: str) -> str | None:
    match = re.search(r"-([0-9a-f]{8,})\.", name)
    return match.group(1) if match else None


def _file_in_folder(folder: Path, backbone: str) -> Path:
    if not folder.is_dir():
        raise UsageError(f"--weights {folder}: no such folder; give imagenet, none or a folder of weight files")
    names = [f"{file_stem(backbone)}.safetensors"]
    if not is_timm(backbone):
        names.append(official_file(backbone)[1].name)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"--weights {folder}: there is no {' or '.join(names)} in it for {backbone}")


def _read(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            stored: dict[str, torch.Tensor] = load_file(path)
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        raise UsageError(f"{path} is no readable weight file ({error}); fetch it again") from error
    if not isinstance(stored, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in stored.items()
    ):
        raise UsageError(f"{path} holds no state dict (a table of names and tensors)")
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in stored.items()}
