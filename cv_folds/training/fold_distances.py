"""How far the images that a network had not seen lie from those that it learned from, as stored by a job."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cv_folds.arrays import FloatArray, StrArray, frozen
from cv_folds.errors import DataError
from cv_folds.files import write_atomically


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
