"""Backbones of the package timm, which comes with the extra ``hamcv[timm]``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from cv_folds.errors import UsageError
from cv_folds.training.backbone_names import TIMM, check_timm_name, file_stem
from cv_folds.training.pixels import Normalisation

WEIGHTS_NAME = "model.safetensors"
"""What every repository of timm's weights calls its file."""


def check_timm(backbone: str) -> None:
    """Raise `UsageError`, with near names, when timm has no such backbone, or is not there."""
    check_timm_name(backbone)
    timm, name = _package(backbone), _name(backbone)
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = get_close_matches(architecture, timm.list_models(), n=12, cutoff=0.5)
        raise UsageError(
            f"--backbones {backbone}: timm {timm.__version__} has no such model. "
            f"Near it: {', '.join(TIMM + other for other in near) or 'none'}."
        )
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UsageError(
            f"--backbones {backbone}: timm {timm.__version__} has no weights of that tag. "
            f"It has {', '.join(f'{TIMM}{architecture}.{known}' for known in tags) or 'none for this model'}."
        )


def build_timm(backbone: str, n_classes: int, *, image_size: int) -> nn.Module:
    """Make one of timm's models with random weights and a head for `n_classes`; see `build_backbone`."""
    check_timm(backbone)
    timm, name = _package(backbone), _name(backbone)
    settings = timm.get_pretrained_cfg(name)
    arguments: dict[str, Any] = {"num_classes": n_classes}
    if settings is not None and settings.fixed_input_size and settings.input_size[-1] != image_size:
        arguments["img_size"] = image_size
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **arguments)
    except (ValueError, AssertionError, RuntimeError, TypeError) as error:
        # TypeError: a model of one size, which takes no argument for it.
        raise UsageError(
            f"{backbone} cannot be built for {image_size} px images: {error}; change --image-size"
        ) from error
    if not isinstance(head_of(model), nn.Linear | nn.Conv2d):
        raise UsageError(f"{backbone} gives its logits by more than one layer; take another backbone")
    return model


def head_of(model: nn.Module) -> object:
    """Return what one of timm's models says to be its classifier; None for any other network."""
    classifier = getattr(model, "get_classifier", None)
    return None if classifier is None else classifier()


def own_normalisation(backbone: str) -> Normalisation | None:
    """Return what a model's weights were trained with; None where timm does not tell."""
    settings = _package(backbone).get_pretrained_cfg(_name(backbone))
    return None if settings is None else Normalisation(mean=tuple(settings.mean), std=tuple(settings.std))


def timm_file(backbone: str, *, download: bool) -> Path:
    """Find the file of a model's pretrained weights where timm keeps it, and fetch it if need be.

    Raises
    ------
    UsageError
        When there are none, or they cannot be had: with the mend.
    """
    settings = _package(backbone).get_pretrained_cfg(_name(backbone))
    repository = None if settings is None else settings.hf_hub_id
    if not repository:
        raise UsageError(
            f"--weights imagenet: timm has no weights of {backbone}; name a folder that holds "
            f"{file_stem(backbone)}.safetensors with --weights FOLDER, or train from scratch with --weights none"
        )
    # A dependency of timm's.
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    kept = try_to_load_from_cache(repository, WEIGHTS_NAME)
    if isinstance(kept, str):
        return Path(kept)
    reason = "not downloaded yet"
    if download:
        try:
            return Path(hf_hub_download(repository, WEIGHTS_NAME))
        except (OSError, ValueError) as error:
            # Of several lines, the first says what happened; some errors say nothing but their kind.
            reason = f"download failed: {next(iter(str(error).splitlines()), type(error).__name__)}"
    raise UsageError(
        f"--weights imagenet: {WEIGHTS_NAME} of {repository} for {backbone} is not there ({reason}). Put it as "
        f"{file_stem(backbone)}.safetensors into a folder (from https://huggingface.co/{repository}) and name it with "
        "--weights FOLDER, or train from scratch with --weights none."
    )


def todays_names(stored: Mapping[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Return stored weights as a model wants them, by the rule that timm has beside it, if it has one.

    Older files have other names; position tables are resized to the images of the model. Of a file that is not of this
    model, which the rule cannot make anything of, the names stay.
    """
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return dict(stored)
    try:
        return dict(convert(dict(stored), model))
    except (LookupError, ValueError, RuntimeError, AttributeError, TypeError):
        return dict(stored)


def _name(backbone: str) -> str:
    return backbone.removeprefix(TIMM)


def _package(backbone: str) -> ModuleType:
    try:
        # An extra, and slow to import.
        import timm
    except ImportError:
        raise UsageError(
            f"--backbones {backbone}: needs a package that is not installed: pip install 'hamcv[timm]'"
        ) from None
    module: ModuleType = timm
    return module
