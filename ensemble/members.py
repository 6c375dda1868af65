"""The trained networks of a bundle, loaded when first needed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from cv_folds.errors import DataError
from cv_folds.training.appearance import appearance_of
from cv_folds.training.exactness import exact_float32
from cv_folds.training.features import FeatureStatistics, FeatureTap
from cv_folds.training.pixels import Normalisation, normalise
from ensemble.bundle import Bundle
from ensemble.manifest_parts import Member, StoredGauge
from ensemble.networks import load_network
from ensemble.views import Views
from ensemble.weights_file import read_weights


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A batch of images on the device."""

    views: dict[Normalisation, list[torch.Tensor]]
    """(n, 3, size, size) float32 each, normalised in every way that a member asks for."""
    appearance: torch.Tensor | None
    """(n, d) of `appearance_of`; None when no member measures distances."""


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What some of the networks say about some images; all tensors on the CPU."""

    logits: torch.Tensor
    """(n, n_views, n_networks, n_classes) float32."""
    distances: torch.Tensor | None
    """(n, n_networks, 2) float64, of the images from those of the training, in features and in appearance; None when
    the bundle does not tell."""


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
        self.ordered = tuple(
            manifest.member(backbone, fold)
            for fold in range(manifest.n_folds)
            for backbone in manifest.combiner.backbones
        )
        """All members, fold by fold, in each fold in the order of the combiner."""
        self._normalisations = {member: manifest.normalisation(member) for member in self.ordered}
        self._measures = any(member.gauges is not None for member in self.ordered)
        self._loaded: dict[Member, _Loaded] = {}
        self._locks = {member: threading.Lock() for member in self.ordered}

    def prepare(self, pixels: torch.Tensor, views: Views) -> Prepared:
        """Move a batch to the device, normalise its views and describe how it looks, once for all networks.

        Parameters
        ----------
        pixels : (n, size, size, 3) uint8 tensor
            RGB images.
        views : Views
            What the networks see of each.
        """
        # Turning an image has a matrix product in it, which a GPU would round as the application around allows.
        with torch.inference_mode(), exact_float32(self.device):
            moved = pixels.to(self.device)
            return Prepared(
                views={
                    normalisation: [normalise(view, normalisation) for view in views.of(moved)]
                    for normalisation in dict.fromkeys(self._normalisations.values())
                },
                appearance=appearance_of(moved) if self._measures else None,
            )

    def outputs(self, numbers: Sequence[int], prepared: Prepared) -> Outputs:
        """Run some of the networks.

        Parameters
        ----------
        numbers : sequence of int
            Positions in `ordered`.
        prepared : Prepared
            The images.
        """
        chosen = [self.ordered[number] for number in numbers]
        loaded = [(self._member(member), prepared.views[self._normalisations[member]]) for member in chosen]
        distances: list[torch.Tensor] = []

        def look(member: _Loaded, view: torch.Tensor, *, first: bool) -> torch.Tensor:
            logits: torch.Tensor = member.network(view)
            # The limit for distances comes from images as they are, which is the first view.
            if first and member.gauge is not None and prepared.appearance is not None:
                distances.append(member.gauge.distances(prepared.appearance))
            return logits

        with torch.inference_mode(), exact_float32(self.device):
            rows = [
                torch.stack([look(member, views[number], first=number == 0) for member, views in loaded], dim=1)
                for number in range(len(loaded[0][1]))
            ]
            return Outputs(
                logits=torch.stack(rows, dim=1).float().cpu(),
                distances=torch.stack(distances, dim=1).cpu() if distances else None,
            )

    def network(self, member: Member) -> nn.Module:
        """Return one network in evaluation mode, read from its file at the first call."""
        return self._member(member).network

    def _member(self, member: Member) -> _Loaded:
        with self._locks[member]:
            if member not in self._loaded:
                self._loaded[member] = self._load(member)
            return self._loaded[member]

    def _load(self, member: Member) -> _Loaded:
        path = self._bundle.path(member)
        network = load_network(
            path,
            self._bundle.manifest.files[member.file],
            backbone=member.backbone,
            n_classes=len(self._bundle.manifest.classes),
            image_size=self.image_size,
        ).to(self.device)
        if member.gauges is None:
            return _Loaded(network=network, gauge=None)
        tap = FeatureTap(network)
        features = self._statistics(member.gauges.features)
        if len(features.mean) != tap.n_features:
            raise DataError(f"{path}: its network has other features than {member.gauges.features.file} describes")
        appearance = self._statistics(member.gauges.appearance)
        return _Loaded(network=network, gauge=_Gauge(tap=tap, features=features, appearance=appearance))

    def _statistics(self, stored: StoredGauge) -> FeatureStatistics:
        path = self._bundle.folder / stored.file
        tensors = read_weights(path, self._bundle.manifest.files[stored.file])
        return FeatureStatistics.of(tensors, str(path)).ready_on(self.device)


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    network: nn.Module
    gauge: _Gauge | None


@dataclass(frozen=True, kw_only=True)
class _Gauge:
    """Tells how far the images of the last forward pass are from those of the training."""

    tap: FeatureTap
    features: FeatureStatistics
    appearance: FeatureStatistics

    def distances(self, appearance: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.features.distances(self.tap.take()), self.appearance.distances(appearance)], dim=1)
