"""The whole ensemble as one torch module, from pixels to probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ensemble.fitted import FittedModel
from ensemble.manifest import Preprocessing
from ensemble.onnx.calibrating import calibrating_module
from ensemble.onnx.combining import combining_module


class EnsembleGraph(nn.Module):
    """Normalisation, all members, prior, combiner, calibrator and the mean over folds.

    Parameters
    ----------
    networks : sequence of sequence of nn.Module
        Fold by fold, in each fold in the order of the combiner; in evaluation mode.
    model : FittedModel
        From the logits of one fold to probabilities.
    preprocessing : Preprocessing
        Means and deviations of the channels.
    """

    mean: torch.Tensor
    std: torch.Tensor
    offsets: torch.Tensor

    def __init__(
        self, networks: Sequence[Sequence[nn.Module]], model: FittedModel, preprocessing: Preprocessing
    ) -> None:
        super().__init__()
        self.folds = nn.ModuleList([nn.ModuleList(of_fold) for of_fold in networks])
        self.combiner = combining_module(model.combiner)
        self.calibrator = calibrating_module(model.calibrator)
        self.register_buffer("mean", torch.tensor(preprocessing.mean)[:, None, None] * 255)
        self.register_buffer("std", torch.tensor(preprocessing.std)[:, None, None] * 255)
        self.register_buffer("offsets", torch.tensor(model.prior.offsets))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (n, n_classes) float32 probabilities of (n, 3, size, size) uint8 images."""
        pixels = (images.float() - self.mean) / self.std
        rows = []
        for of_fold in self.folds:
            assert isinstance(of_fold, nn.ModuleList)
            logits = torch.stack([network(pixels) for network in of_fold], dim=1).double()
            rows.append(self.calibrator(self.combiner(logits + self.offsets)))
        return torch.stack(rows, dim=0).mean(dim=0).float()
