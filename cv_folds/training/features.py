"""How far an image lies from those a network was trained on, in the space of the network's own features or any others.

The network's features are what enters the layer that gives the logits. A distribution over training images is described
by a Gaussian whose leading directions have variances of their own and whose other directions share one: probabilistic
principal components (Tipping and Bishop, "Probabilistic principal component analysis", JRSS B 61, 1999). The distance
is Mahalanobis's under that Gaussian, as Lee et al., "A simple unified framework for detecting out-of-distribution
samples and adversarial attacks" (NeurIPS 2018), use one, here without classes: rare ones have too few images for a mean
of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from cv_folds.errors import DataError
from cv_folds.files import write_atomically
from cv_folds.training.backbones import classifier_layer

MOST_DIRECTIONS = 64
"""Directions with a variance of their own."""

MOST_IMAGES = 1000
"""Training images that the distribution is estimated from: more change it little and cost a forward pass each."""

_TENSORS = ("mean", "directions", "variances", "rest")


@dataclass(frozen=True, kw_only=True)
class FeatureStatistics:
    """The distribution of features over training images."""

    mean: torch.Tensor
    """(d,) float32."""
    directions: torch.Tensor
    """(r, d) float32, orthonormal: the directions of most variance."""
    variances: torch.Tensor
    """(r,) float32, along `directions`, none below `rest`."""
    rest: torch.Tensor
    """() float32, mean variance along all other directions; above 0."""

    def ready_on(self, device: torch.device) -> FeatureStatistics:
        """Return the same in float64 on a device, where `distances` then computes without converting anything."""
        return FeatureStatistics(**{name: getattr(self, name).to(device, torch.float64) for name in _TENSORS})

    def distances(self, features: torch.Tensor) -> torch.Tensor:
        """Return the (n,) float64 distances of (n, d) features, on the device of the statistics.

        Divided by the root of d: about 1 for images like those that the distribution was estimated from.
        """
        device = self.mean.device
        offsets = features.detach().to(device).double() - self.mean.double()
        # On a CPU one at a time, each in memory of its own: an image has the same distance to the bit, whatever is
        # beside it. A GPU would spend its time on starting so many small sums.
        parts = [row.clone() for row in torch.split(offsets, 1)] if device.type == "cpu" else [offsets]
        found = [self._squared(part) for part in parts if len(part)]
        return (torch.cat([*found, offsets.new_empty(0)]) / offsets.shape[1]).sqrt()

    def _squared(self, offsets: torch.Tensor) -> torch.Tensor:
        along = (offsets @ self.directions.double().T).square()
        beside = (offsets.square().sum(dim=1) - along.sum(dim=1)).clamp(min=0)
        return (along / self.variances.double()).sum(dim=1) + beside / self.rest.double()

    def to_bytes(self) -> bytes:
        """Return a safetensors file."""
        return safetensors.torch.save({name: getattr(self, name).contiguous() for name in _TENSORS})

    def save(self, path: Path) -> None:
        """Write them to a file atomically."""
        write_atomically(path, lambda partial: partial.write_bytes(self.to_bytes()))

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> FeatureStatistics:
        """Read what `to_bytes` wrote; anything else raises `DataError` that calls it `name`."""
        try:
            tensors = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise DataError(f"{name} is no safetensors file ({error})") from error
        return cls.of(tensors, name)

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], name: str) -> FeatureStatistics:
        """Make statistics of the tensors of a file; those of other files raise `DataError` that calls it `name`."""
        if set(tensors) != set(_TENSORS):
            raise DataError(f"{name} holds {', '.join(sorted(tensors)) or 'nothing'}, not {', '.join(_TENSORS)}")
        statistics = cls(**tensors)
        r, d = len(statistics.variances), len(statistics.mean)
        if statistics.directions.shape != (r, d) or statistics.rest.shape != ():
            raise DataError(f"{name}: its tensors do not fit each other")
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()) or not float(statistics.rest) > 0:
            raise DataError(f"{name}: its variances are not positive, finite numbers")
        return statistics


def estimate_statistics(features: torch.Tensor) -> FeatureStatistics:
    """Estimate the distribution by maximum likelihood.

    Parameters
    ----------
    features : (n, d) float tensor
        Of training images, n at least 1.

    Returns
    -------
    FeatureStatistics
        With at most `MOST_DIRECTIONS` directions, and fewer than half as many as images. Features that never differ
        get a small positive variance, so that an image which does differ there is far away.
    """
    values = features.detach().cpu().double()
    n, d = values.shape
    mean = values.mean(dim=0)
    offsets = values - mean
    # Half of what n images span: the other half tells how much there is besides.
    r = min(MOST_DIRECTIONS, (n - 1) // 2, d - 1)
    total = float(offsets.square().sum()) / n
    floor = max(total / d * 1e-6, 1e-12)
    # The smaller of the two products: their positive eigenvalues are the same.
    if n < d:
        values_of, vectors = torch.linalg.eigh(offsets @ offsets.T / n)
        leading = values_of.flip(0)[:r].clamp(min=0)
        directions = torch.nn.functional.normalize((offsets.T @ vectors.flip(1)[:, :r]).T, dim=1)
    else:
        values_of, vectors = torch.linalg.eigh(offsets.T @ offsets / n)
        leading = values_of.flip(0)[:r].clamp(min=0)
        directions = vectors.flip(1)[:, :r].T
    # Directions without variance have no place of their own; they belong to the rest.
    kept = leading > floor
    leading, directions = leading[kept], directions[kept]
    rest = max((total - float(leading.sum())) / max(d - len(leading), 1), floor)
    return FeatureStatistics(
        mean=mean.float(),
        directions=directions.float().contiguous(),
        variances=leading.clamp(min=rest).float(),
        rest=torch.tensor(rest, dtype=torch.float32),
    )


class FeatureTap:
    """Sees what enters the last layer of a network, each thread what it computes itself.

    Parameters
    ----------
    model : torch.nn.Module
        A backbone; the tap stays on it until `close`.
    """

    def __init__(self, model: nn.Module) -> None:
        self._seen = threading.local()
        layer = model.get_submodule(classifier_layer(model))
        self.n_features = int(getattr(layer, "in_features", 0) or getattr(layer, "in_channels", 0))
        """d, how many features an image has."""
        self._hook = layer.register_forward_pre_hook(self._see)

    def _see(self, _layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        features = inputs[0].detach()
        # A convolution takes maps: their mean over the places is what the logits are made of.
        self._seen.last = features.flatten(2).mean(dim=2) if features.ndim == 4 else features.flatten(1)

    def take(self) -> torch.Tensor:
        """Return the (n, d) features of this thread's last forward pass."""
        features: torch.Tensor = self._seen.last
        del self._seen.last
        return features

    def close(self) -> None:
        """Take the tap off the network."""
        self._hook.remove()


@contextmanager
def tapped(model: nn.Module) -> Iterator[FeatureTap]:
    """Return a tap on a network that is closed in the end."""
    tap = FeatureTap(model)
    try:
        yield tap
    finally:
        tap.close()
