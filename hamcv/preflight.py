"""Everything that can be found wrong with a run before its first file is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cv_folds.data.dataset import LesionDataset
from cv_folds.splits import inner_split
from cv_folds.training.preflight import try_backbone
from cv_folds.training.weights import WeightsFile, find_weights
from hamcv.config import RunConfig
from hamcv.folding import Split, split
from hamcv.sources import open_dataset


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What a run starts from."""

    dataset: LesionDataset
    """What the run works on."""
    split: Split
    """Its folds."""
    weights: dict[str, WeightsFile | None]
    """Backbone to its starting weights."""


def preflight(config: RunConfig, *, download: bool, backbones: Sequence[str] | None = None) -> Preflight:
    """Read the data, check that it can be split, find the weights and try the networks.

    Parameters
    ----------
    config : RunConfig
        The settings of the run.
    download : bool
        Whether missing ImageNet weights may be fetched.
    backbones : sequence of str, optional
        Those that will be trained; all of the run when not given.

    Raises
    ------
    UsageError, DataError
        With the mend.
    """
    dataset = open_dataset(
        config.data,
        format=config.format,
        columns=config.columns,
        limit_lesions=config.limit_lesions,
        seed=config.seed,
    )
    made = split(dataset, n_folds=config.folds, seed=config.seed)
    for fold in range(config.folds):
        inner_split(made.folds, fold, parts=config.training.validation_parts, seed=config.seed)
    names = config.backbones if backbones is None else backbones
    weights = {name: find_weights(config.weights, name, download=download) for name in names}
    for name, file in weights.items():
        try_backbone(name, len(dataset.classes), image_size=config.training.image_size, weights=file)
    return Preflight(dataset=dataset, split=made, weights=weights)
