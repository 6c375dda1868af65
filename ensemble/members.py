"""The trained networks of a bundle, loaded when first needed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

import safetensors
import safetensors.torch
import torch
from torch import nn

from cv_folds.errors import DataError
from cv_folds.training.backbones import build_backbone
from cv_folds.training.exactness import exact_float32
from cv_folds.training.pixels import Normalisation, normalise
from ensemble.batch_norm import fold_batch_norm
from ensemble.bundle import Bundle
from ensemble.manifest import Member
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
        path = self._bundle.path(member)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read any more ({error}); load the bundle again") from error
        # Loading comes later than the check of the whole bundle, and a run may have been repeated meanwhile.
        if hashlib.sha256(content).hexdigest() != member.sha256:
            raise DataError(f"{path} was changed after the bundle was loaded; load the bundle again")
        network = self._build(member.backbone)
        try:
            weights = safetensors.torch.load(content)
            del content
            # Half the digits may be stored; all are computed with.
            full = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
            network.load_state_dict(full, assign=True)
        except (RuntimeError, safetensors.SafetensorError) as error:
            raise DataError(f"{path} does not hold the weights of {member.backbone}: {error}") from error
        network = network.eval().requires_grad_(False)
        fold_batch_norm(network)
        return network.to(memory_format=torch.channels_last).to(self.device)

    def _build(self, backbone: str) -> nn.Module:
        """Make a network whose weights are to be replaced; the caller's random numbers do not notice."""
        n_classes, size = len(self._bundle.manifest.classes), self.image_size
        with torch.random.fork_rng(devices=[]):
            try:
                # Without memory or random numbers for weights that go at once.
                with torch.device("meta"):
                    return build_backbone(backbone, n_classes, image_size=size)
            except NotImplementedError:
                # RegNets compute with their first weights while they are built.
                return build_backbone(backbone, n_classes, image_size=size)
