"""The whole ensemble as one torch module, from pixels to probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from cv_folds.training.pixels import Normalisation
from ensemble.fitted import FittedModel
from ensemble.onnx.calibrating import calibrating_module
from ensemble.onnx.combining import combining_module


class _Normalising(nn.Module):
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(normalisation.mean)[:, None, None] * 255)
        self.register_buffer("std", torch.tensor(normalisation.std)[:, None, None] * 255)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std


class EnsembleGraph(nn.Module):
    """Normalisation, all members, prior, combiner, calibrator and the mean over folds.

    Parameters
    ----------
    networks : sequence of sequence of nn.Module
        Fold by fold, in each fold in the order of the combiner; in evaluation mode.
    model : FittedModel
        From the logits of one fold to probabilities.
    normalisations : sequence of sequence of Normalisation
        Means and deviations of the channels, in the order of `networks`.
    """

    offsets: torch.Tensor

    def __init__(
        self,
        networks: Sequence[Sequence[nn.Module]],
        model: FittedModel,
        normalisations: Sequence[Sequence[Normalisation]],
    ) -> None:
        super().__init__()
        self.folds = nn.ModuleList([nn.ModuleList(of_fold) for of_fold in networks])
        self.combiner = combining_module(model.combiner)
        self.calibrator = calibrating_module(model.calibrator)
        distinct = list(dict.fromkeys(one for of_fold in normalisations for one in of_fold))
        self.normalising = nn.ModuleList([_Normalising(one) for one in distinct])
        self._which = [[distinct.index(one) for one in of_fold] for of_fold in normalisations]
        self.register_buffer("offsets", torch.tensor(model.prior.offsets))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (n, n_classes) float32 probabilities of (n, 3, size, size) uint8 images."""
        pixels = [normalising(images.float()) for normalising in self.normalising]
        rows = []
        for of_fold, which in zip(self.folds, self._which, strict=True):
            assert isinstance(of_fold, nn.ModuleList)
            outputs = [network(pixels[number]) for network, number in zip(of_fold, which, strict=True)]
            logits = torch.stack(outputs, dim=1).double()
            rows.append(self.calibrator(self.combiner(logits + self.offsets)))
        return torch.stack(rows, dim=0).mean(dim=0).float()
