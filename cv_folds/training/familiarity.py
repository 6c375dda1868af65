"""What a job keeps about the images it learned from, and how far from them those lie that it had not seen."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cv_folds.arrays import FloatArray, StrArray, frozen
from cv_folds.errors import DataError
from cv_folds.files import write_atomically
from cv_folds.training.features import FeatureStatistics, estimate_statistics
from cv_folds.training.predict import Seen
from cv_folds.training.record import APPEARANCE_FILE, DISTANCES_FILE, FEATURES_FILE


@dataclass(frozen=True, kw_only=True)
class FoldDistances:
    """How far images lie from those that a network was trained on."""

    backbone: str
    """Name in the backbone registry."""
    fold: int
    """The fold that was held out."""
    image_ids: StrArray
    """(n,) ids of images not learned from: of the held-out fold and, in a fixed division, of the validation part."""
    features: FloatArray
    """(n,) distances in what the logits are made of, as `FeatureStatistics.distances` gives them."""
    appearance: FloatArray
    """(n,) distances in `cv_folds.training.appearance.appearance_of`."""

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file (no pickle inside) atomically."""
        columns: Mapping[str, Any] = {
            "backbone": np.array(self.backbone),
            "fold": np.array(self.fold),
            "image_ids": self.image_ids,
            "features": self.features,
            "appearance": self.appearance,
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
                    features=frozen(stored["features"], np.float64),
                    appearance=frozen(stored["appearance"], np.float64),
                )
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is no file of distances ({error}); delete its folder and run again") from error
        both = (found.features, found.appearance)
        if not all(values.shape == found.image_ids.shape and np.isfinite(values).all() for values in both):
            raise DataError(f"{path}: its distances do not fit its images; delete its folder and run again")
        return found


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """What the images are like that a network learned from, and how far others are from them."""

    features: FeatureStatistics
    """Of what its logits are made of."""
    appearance: FeatureStatistics
    """Of colours and texture."""
    distances: FoldDistances
    """Of images that it had not seen."""

    def save(self, folder: Path) -> tuple[str, ...]:
        """Write all of it into a job folder and return the names of the files."""
        self.features.save(folder / FEATURES_FILE)
        self.appearance.save(folder / APPEARANCE_FILE)
        self.distances.save(folder / DISTANCES_FILE)
        return (FEATURES_FILE, APPEARANCE_FILE, DISTANCES_FILE)


def familiarity_of(learned: Seen, backbone: str, fold: int, unseen: Sequence[tuple[StrArray, Seen]]) -> Familiarity:
    """Estimate what training images are like, and measure how far others are from them.

    Parameters
    ----------
    learned : Seen
        What a network makes of images that it learned from; at least one.
    backbone : str
        Of the network.
    fold : int
        The fold that it was trained without.
    unseen : sequence of (str array, Seen)
        Ids of images that it had not seen, and what it makes of them; no image twice.
    """
    features, appearance = estimate_statistics(learned.features), estimate_statistics(learned.appearance)
    return Familiarity(
        features=features,
        appearance=appearance,
        distances=FoldDistances(
            backbone=backbone,
            fold=fold,
            image_ids=frozen(np.concatenate([ids for ids, _ in unseen])),
            features=frozen(torch.cat([features.distances(seen.features) for _, seen in unseen]).numpy()),
            appearance=frozen(torch.cat([appearance.distances(seen.appearance) for _, seen in unseen]).numpy()),
        ),
    )
