"""How far an image lies from those a network was trained on, in the space of the network's own features.

The features are what enters the layer that gives the logits. Their distribution over training images is described by a
Gaussian whose leading directions have variances of their own and whose other directions share one: probabilistic
principal components (Tipping and Bishop, "Probabilistic principal component analysis", JRSS B 61, 1999). The distance
is Mahalanobis's under that Gaussian, as Lee et al., "A simple unified framework for detecting out-of-distribution
samples" (NeurIPS 2018), use one, here without classes: rare ones have too few images for a mean of their own.
"""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from cv_folds.arrays import FloatArray, StrArray, frozen
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
    """The distribution of a network's features over training images."""

    mean: torch.Tensor
    """(d,) float32."""
    directions: torch.Tensor
    """(r, d) float32, orthonormal: the directions of most variance."""
    variances: torch.Tensor
    """(r,) float32, along `directions`, none below `rest`."""
    rest: torch.Tensor
    """() float32, mean variance along all other directions; above 0."""

    def distances(self, features: torch.Tensor) -> torch.Tensor:
        """Return the (n,) float64 distances of (n, d) features, on the CPU.

        Divided by the root of d: about 1 for images like those that the distribution was estimated from.
        """
        directions, variances = self.directions.double(), self.variances.double()

        def squared(offset: torch.Tensor) -> torch.Tensor:
            along = directions @ offset
            beside = (offset.square().sum() - along.square().sum()).clamp(min=0)
            return (along.square() / variances).sum() + beside / self.rest.double()

        offsets = features.detach().cpu().double() - self.mean.double()
        # One at a time, each in memory of its own: an image has the same distance to the bit, whatever is beside it.
        found = [squared(offset.clone()) for offset in offsets]
        return (torch.stack(found) / features.shape[1]).sqrt() if found else offsets[:, 0]

    def to_bytes(self) -> bytes:
        """Return a safetensors file."""
        return safetensors.torch.save({name: getattr(self, name).contiguous() for name in _TENSORS})

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> FeatureStatistics:
        """Read what `to_bytes` wrote; anything else raises `DataError` that calls it `name`."""
        try:
            tensors = safetensors.torch.load(content)
        except safetensors.SafetensorError as error:
            raise DataError(f"{name} is no safetensors file ({error})") from error
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
        self._hook = model.get_submodule(classifier_layer(model)).register_forward_pre_hook(self._see)

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


@dataclass(frozen=True, kw_only=True)
class FoldDistances:
    """How far the held-out images of one job lie from those it was trained on."""

    backbone: str
    """Name in the backbone registry."""
    fold: int
    """The fold that was held out."""
    image_ids: StrArray
    """(n,) ids of the held-out images."""
    distances: FloatArray
    """(n,) as `FeatureStatistics.distances` gives them."""

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file (no pickle inside) atomically."""
        columns: Mapping[str, Any] = {
            "backbone": np.array(self.backbone),
            "fold": np.array(self.fold),
            "image_ids": self.image_ids,
            "distances": self.distances,
        }

        def write(partial: Path) -> None:
            with partial.open("wb") as stream:
                np.savez(stream, **columns)

        write_atomically(path, write)

    @classmethod
    def load(cls, path: Path) -> FoldDistances:
        """Read what `save` wrote; a damaged file raises `DataError` that names it."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                found = cls(
                    backbone=str(stored["backbone"]),
                    fold=int(stored["fold"]),
                    image_ids=frozen(stored["image_ids"], np.str_),
                    distances=frozen(stored["distances"], np.float64),
                )
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is no file of distances ({error}); delete its folder and run again") from error
        if found.distances.shape != found.image_ids.shape or not np.isfinite(found.distances).all():
            raise DataError(f"{path}: its distances do not fit its images; delete its folder and run again")
        return found
