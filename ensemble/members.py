"""The trained networks of a bundle, loaded when first needed."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from torch import nn

from cv_folds.training.exactness import exact_float32
from cv_folds.training.pixels import Normalisation, normalise
from ensemble.bundle import Bundle
from ensemble.manifest import Member
from ensemble.networks import load_network
from ensemble.views import Views


class Members:
    """All networks of a bundle on one device; any number of threads may call it.

    Parameters
    ----------
    bundle : Bundle
        Where the weights lie.
    device : torch.device
        Where the networks run, in float32 whatever the weights are stored in.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        manifest = bundle.manifest
        self.device = device
        self.image_size = manifest.preprocessing.image_size
        self.n_folds = manifest.n_folds
        self._bundle = bundle
        self._normalisation = Normalisation(mean=manifest.preprocessing.mean, std=manifest.preprocessing.std)
        self.ordered = tuple(
            manifest.member(backbone, fold)
            for fold in range(manifest.n_folds)
            for backbone in manifest.combiner.backbones
        )
        """All members, fold by fold, in each fold in the order of the combiner."""
        self._networks: dict[Member, nn.Module] = {}
        self._locks = {member: threading.Lock() for member in self.ordered}

    def prepare(self, pixels: torch.Tensor, views: Views) -> list[torch.Tensor]:
        """Move a batch to the device and normalise its views, once for all networks.

        Parameters
        ----------
        pixels : (n, size, size, 3) uint8 tensor
            RGB images.
        views : Views
            What the networks see of each.

        Returns
        -------
        list of (n, 3, size, size) float32 tensor
        """
        with torch.inference_mode():
            return [normalise(view, self._normalisation) for view in views.of(pixels.to(self.device))]

    def logits(self, numbers: Sequence[int], views: Sequence[torch.Tensor]) -> torch.Tensor:
        """Run some of the networks.

        Parameters
        ----------
        numbers : sequence of int
            Positions in `ordered`.
        views : sequence of (n, 3, size, size) float32 tensor
            What `prepare` returned.

        Returns
        -------
        (n, n_views, n_numbers, n_classes) float32 tensor on the CPU
        """
        networks = [self.network(self.ordered[number]) for number in numbers]
        with torch.inference_mode(), exact_float32(self.device):
            rows = [torch.stack([network(view) for network in networks], dim=1) for view in views]
            return torch.stack(rows, dim=1).float().cpu()

    def network(self, member: Member) -> nn.Module:
        """Return one network in evaluation mode, read from its file at the first call."""
        with self._locks[member]:
            if member not in self._networks:
                self._networks[member] = self._load(member)
            return self._networks[member]

    def _load(self, member: Member) -> nn.Module:
        network = load_network(
            self._bundle.path(member),
            member.sha256,
            backbone=member.backbone,
            n_classes=len(self._bundle.manifest.classes),
            image_size=self.image_size,
        )
        return network.to(self.device)
