"""Logits of a trained network, computed as the deployed predictor computes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from cv_folds.training.appearance import appearance_of
from cv_folds.training.exactness import exact_float32
from cv_folds.training.features import tapped
from cv_folds.training.pixels import Normalisation, normalise
from cv_folds.training.spins import Spins
from cv_folds.training.view import ImageView


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Some images, and what a network makes of them; all tensors on the CPU."""

    logits: torch.Tensor
    """(n, n_classes) float32."""
    features: torch.Tensor
    """(n, d) float32, what the logits are made of."""
    appearance: torch.Tensor
    """(n, d) float32, `appearance_of` of the images."""


def evaluation_batch_size(micro_batch: int, device: torch.device) -> int:
    """Return how many images to predict at a time, given how many the device takes in training.

    Without gradients a GPU has room for more and is faster with them. A CPU is not, and tensors of other sizes than
    those of training would leave holes in its memory.
    """
    return 4 * micro_batch if device.type == "cuda" else micro_batch


def predict_logits(
    model: nn.Module, view: ImageView, *, batch_size: int, normalisation: Normalisation, spins: Spins | None = None
) -> torch.Tensor:
    """Return the (n, n_classes) float32 logits of a view's images, on the CPU.

    Always in exact float32 and without autocast. Leaves the model in evaluation mode. With `spins`, the logarithms of
    the mean probabilities over the repetitions.
    """
    if spins is None:
        return _run(model, view, batch_size, normalisation, lambda _: None)
    return _spun(model, view, batch_size, normalisation, spins)


def predict_features(model: nn.Module, view: ImageView, *, batch_size: int, normalisation: Normalisation) -> Seen:
    """Return the logits of a view's images, as `predict_logits` does, their features and how the images look."""
    features: list[torch.Tensor] = []
    appearance: list[torch.Tensor] = []
    with tapped(model) as tap:

        def look(pixels: torch.Tensor) -> None:
            features.append(tap.take().float())
            appearance.append(appearance_of(pixels))

        logits = _run(model, view, batch_size, normalisation, look)
    return Seen(logits=logits, features=torch.cat(features).cpu(), appearance=torch.cat(appearance).cpu())


def _spun(
    model: nn.Module, view: ImageView, batch_size: int, normalisation: Normalisation, spins: Spins
) -> torch.Tensor:
    model.eval()
    parts: list[torch.Tensor] = []
    batches = torch.split(torch.arange(len(view)), batch_size)
    with torch.inference_mode(), exact_float32(view.device):
        for positions, pixels in zip(batches, view.batches(batches), strict=True):
            # In the order of memory that the network's weights have.
            spun = (
                images.contiguous(memory_format=torch.channels_last)
                for images in spins.of(pixels, positions, normalisation)
            )
            logs = torch.stack([model(images).float().log_softmax(dim=1) for images in spun])
            parts.append(logs.logsumexp(dim=0) - math.log(len(logs)))
    return torch.cat(parts).cpu()


def _run(
    model: nn.Module,
    view: ImageView,
    batch_size: int,
    normalisation: Normalisation,
    after_batch: Callable[[torch.Tensor], object],
) -> torch.Tensor:
    model.eval()
    parts: list[torch.Tensor] = []
    with torch.inference_mode(), exact_float32(view.device):
        for pixels in view.batches(torch.split(torch.arange(len(view)), batch_size)):
            parts.append(model(normalise(pixels, normalisation)).float())
            after_batch(pixels)
    return torch.cat(parts).cpu()
