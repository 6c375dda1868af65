"""Logits of a trained network, computed as the deployed predictor computes them."""

from __future__ import annotations

import torch
from torch import nn

from cv_folds.training.exactness import exact_float32
from cv_folds.training.pixels import Normalisation, normalise
from cv_folds.training.view import ImageView


def evaluation_batch_size(micro_batch: int, device: torch.device) -> int:
    """Return how many images to predict at a time, given how many the device takes in training.

    Without gradients a GPU has room for more and is faster with them. A CPU is not, and tensors of other sizes than
    those of training would leave holes in its memory.
    """
    return 4 * micro_batch if device.type == "cuda" else micro_batch


def predict_logits(model: nn.Module, view: ImageView, *, batch_size: int, normalisation: Normalisation) -> torch.Tensor:
    """Return the (n, n_classes) float32 logits of a view's images, on the CPU.

    Always in exact float32 and without autocast. Leaves the model in evaluation mode.
    """
    model.eval()
    parts: list[torch.Tensor] = []
    with torch.inference_mode(), exact_float32(view.device):
        batches = view.batches(torch.split(torch.arange(len(view)), batch_size))
        parts.extend(model(normalise(pixels, normalisation)).float() for pixels in batches)
    return torch.cat(parts).cpu()
