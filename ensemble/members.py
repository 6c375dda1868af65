"""The trained networks of a bundle, loaded when first needed."""

from __future__ import annotations

import hashlib
import threading

import safetensors
import safetensors.torch
import torch
from torch import nn

from cv_folds.errors import DataError
from cv_folds.training.backbones import build_backbone
from cv_folds.training.exactness import exact_float32
from cv_folds.training.pixels import Normalisation, normalise
from ensemble.bundle import Bundle
from ensemble.manifest import Member


class Members:
    """All networks of a bundle on one device; any number of threads may call it.

    Parameters
    ----------
    bundle : Bundle
        Where the weights lie.
    device : torch.device
        Where the networks run, in float32.
    """

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self._bundle = bundle
        self._device = device
        self._networks: dict[Member, nn.Module] = {}
        self._lock = threading.Lock()
        preprocessing = bundle.manifest.preprocessing
        self._normalisation = Normalisation(mean=preprocessing.mean, std=preprocessing.std)

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """Run every network.

        Parameters
        ----------
        pixels : (n, size, size, 3) uint8 tensor
            RGB images.

        Returns
        -------
        (n, n_folds, n_backbones, n_classes) float32 tensor on the CPU
        """
        manifest = self._bundle.manifest
        networks = [
            [self._network(manifest.member(backbone, fold)) for backbone in manifest.combiner.backbones]
            for fold in range(manifest.n_folds)
        ]
        with torch.inference_mode(), exact_float32(self._device):
            images = normalise(pixels.to(self._device), self._normalisation)
            rows = [torch.stack([network(images) for network in of_fold], dim=1) for of_fold in networks]
            return torch.stack(rows, dim=1).float().cpu()

    def _network(self, member: Member) -> nn.Module:
        with self._lock:
            if member not in self._networks:
                self._networks[member] = self._load(member)
            return self._networks[member]

    def _load(self, member: Member) -> nn.Module:
        path = self._bundle.path(member)
        manifest = self._bundle.manifest
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read any more ({error}); load the bundle again") from error
        # Loading comes later than the check of the whole bundle, and a run may have been repeated meanwhile.
        if hashlib.sha256(content).hexdigest() != member.sha256:
            raise DataError(f"{path} was changed after the bundle was loaded; load the bundle again")
        # The random weights are replaced at once; the caller's random numbers shall not notice.
        with torch.random.fork_rng(devices=[]):
            network = build_backbone(
                member.backbone, len(manifest.classes), image_size=manifest.preprocessing.image_size
            )
        try:
            network.load_state_dict(safetensors.torch.load(content))
        except (RuntimeError, safetensors.SafetensorError) as error:
            raise DataError(f"{path} does not hold the weights of {member.backbone}: {error}") from error
        network.to(memory_format=torch.channels_last)
        return network.to(self._device).eval().requires_grad_(False)
