"""What a job keeps about the images it learned from, and how far from them those lie that it had not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cv_folds.arrays import StrArray, frozen
from cv_folds.training.features import FeatureStatistics, estimate_statistics
from cv_folds.training.fold_distances import FoldDistances
from cv_folds.training.predict import Seen
from cv_folds.training.record import APPEARANCE_FILE, DISTANCES_FILE, FEATURES_FILE


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
