"""Where in an image a network sees what speaks for a class: Grad-CAM.

Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization" (ICCV 2017). The
maps of a late convolutional stage are added up, each weighted by the mean of the gradient of the class's logit over its
places, and only what speaks for the class is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cv_folds.errors import UsageError
from cv_folds.training.backbones import classifier_layer

FEWEST_PLACES = 4
"""Places along a side that the maps should have: small images shrink to one or two in the last stage, where a map can
no longer point anywhere, and an earlier stage is taken."""

_DEEPEST_PATH = 2
"""Stages are children or grandchildren of a torchvision network, such as ``layer4`` or ``features.7``."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of a network whose outputs are maps."""

    path: str
    """Path of the module, e.g. ``layer4``."""
    side: int
    """Places along a side of its maps, for the images that it was looked for with."""


def find_stage(model: nn.Module, name: str, *, image_size: int) -> Stage:
    """Find the last stage of a network that keeps apart the places of an image.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    name : str
        What to call it in messages.
    image_size : int
        Side of the images in pixels.

    Returns
    -------
    Stage
        The last one with at least `FEWEST_PLACES` places along a side; without one, that with the most.

    Raises
    ------
    UsageError
        When the network mixes the places before its last layer, as vision transformers with one class token do.
    """
    stages: list[Stage] = []
    mixed = False
    last = classifier_layer(model)

    def look(path: str, output: Any) -> None:
        nonlocal mixed
        if not isinstance(output, torch.Tensor):
            return
        if output.ndim == 3:
            mixed = True
        elif output.ndim == 4 and (maps := _maps(output)) is not None and maps.shape[2] > 1:
            stages.append(Stage(path=path, side=maps.shape[2]))

    with _hooked(model, last, look), torch.inference_mode():
        parameter = next(model.parameters())
        model(torch.zeros(1, 3, image_size, image_size, device=parameter.device, dtype=parameter.dtype))
    if mixed or not stages:
        why = "it works on tokens" if mixed else "it keeps no places apart"
        raise UsageError(f"{name} has no maps of the image at its end ({why}): Grad-CAM cannot be computed for it")
    fine = [stage for stage in stages if stage.side >= FEWEST_PLACES]
    return fine[-1] if fine else max(stages, key=lambda stage: stage.side)


def grad_cam(model: nn.Module, images: torch.Tensor, classes: torch.Tensor, stage: Stage) -> torch.Tensor:
    """Return how much each place of each image speaks for a class.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode; neither its weights nor their gradients change.
    images : (n, 3, size, size) float32 tensor
        Normalised, on the device of the model.
    classes : (n,) int64 tensor
        The class to explain for each image.
    stage : Stage
        Of `find_stage`.

    Returns
    -------
    (n, side, side) float32 tensor
        On the CPU; from 0 to 1, the largest value of each image being 1. All zeros where nothing speaks for the class.
    """
    kept: list[torch.Tensor] = []

    def cut(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        # Gradients begin here: nothing before the stage is remembered. A copy goes on, since the next layer may write
        # into what it is given.
        leaf = output.detach().requires_grad_(True)
        kept.append(leaf)
        return leaf.clone()

    handle = model.get_submodule(stage.path).register_forward_hook(cut)
    try:
        with torch.enable_grad():
            logits = model(images)
            chosen = logits.gather(1, classes.to(logits.device)[:, None]).sum()
            (gradients,) = torch.autograd.grad(chosen, kept[-1])
    finally:
        handle.remove()
    activations, slopes = _maps(kept[-1].detach()), _maps(gradients)
    assert activations is not None
    assert slopes is not None
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    found = (weights * activations).sum(dim=1).clamp(min=0)
    largest = found.amax(dim=(1, 2), keepdim=True)
    return torch.where(largest > 0, found / largest.clamp(min=torch.finfo(found.dtype).tiny), 0).float().cpu()


def _maps(output: torch.Tensor) -> torch.Tensor | None:
    """Return an output as (n, channels, side, side); None when it is no set of square maps.

    Images are square here, which tells apart whether channels come first or last.
    """
    if output.shape[2] == output.shape[3]:
        return output
    return output.permute(0, 3, 1, 2) if output.shape[1] == output.shape[2] else None


@contextmanager
def _hooked(model: nn.Module, last: str, look: Any) -> Iterator[None]:
    """Show `look` the output of every stage that ends before the layer that gives the logits begins."""
    ended = False

    def end(_module: nn.Module, _inputs: Any) -> None:
        nonlocal ended
        ended = True

    def seen(path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if not ended:
                look(path, output)

        return hook

    handles = [model.get_submodule(last).register_forward_pre_hook(end)]
    handles += [
        module.register_forward_hook(seen(path))
        for path, module in model.named_modules()
        if path and path.count(".") < _DEEPEST_PATH and not isinstance(module, nn.AdaptiveAvgPool2d)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
