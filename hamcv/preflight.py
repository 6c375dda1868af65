"""Everything that can be found wrong with a run before its first file is written."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cv_folds.data.dataset import LesionDataset
from cv_folds.held_out import fold_pairs
from cv_folds.leakage import ImagePair, merge_groups
from cv_folds.shared_lesions import SharedLesions
from cv_folds.splits import Folds, inner_split
from cv_folds.training.preflight import try_backbone
from cv_folds.training.weights import WeightsFile, find_weights
from ensemble.decisions import read_costs
from hamcv.arms import Division, divide
from hamcv.folding import group
from hamcv.run_config import RunConfig
from hamcv.sources import open_dataset, part_of_run


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What a run starts from."""

    dataset: LesionDataset
    """What the run works on."""
    divisions: tuple[Division, ...]
    """Its folds in every arm, the main one first."""
    shared: SharedLesions | None
    """What was put into one group, and why; None when the groups of a prepared run were taken over."""
    weights: dict[str, WeightsFile | None]
    """Backbone to its starting weights."""
    notes: tuple[str, ...]
    """What a person should know about the networks, a line each."""
    audit_seconds: float
    """How long it took to find what is put into one group."""

    @property
    def main(self) -> Folds:
        """The folds whose scores head the reports."""
        return self.divisions[0].folds


def preflight(
    config: RunConfig,
    *,
    download: bool,
    backbones: Sequence[str] | None = None,
    merged: Sequence[ImagePair] | None = None,
    console: Console | None = None,
) -> Preflight:
    """Read the data, check that it can be split, find the weights and try the networks.

    Parameters
    ----------
    config : RunConfig
        The settings of the run.
    download : bool
        Whether missing ImageNet weights may be fetched.
    backbones : sequence of str, optional
        Those that will be trained; all of the run when not given.
    merged : sequence of ImagePair, optional
        Pairs that a prepared run put into one group; nothing is then searched for again.
    console : rich.console.Console, optional
        For the progress of the search for near-duplicates.

    Raises
    ------
    UsageError, DataError
        With the mend.
    """
    whole = open_dataset(config.data, format=config.format, columns=config.columns)
    dataset = part_of_run(whole, config)
    if config.ensemble.costs is not None:
        read_costs(Path(config.ensemble.costs), dataset.classes)
    start = time.perf_counter()
    shared = None if merged is not None else group(dataset, config.audit, whole=whole, console=console)
    audit_seconds = time.perf_counter() - start
    groups = merge_groups(dataset.lesion_ids, merged or ()) if shared is None else shared.groups
    divisions = divide(dataset, groups, config)
    parts = config.training.validation_parts
    for division in divisions:
        for fold in division.folds.held_out:
            inner_split(division.folds, fold, parts=parts, seed=division.arm.seed)
    for fold, second in fold_pairs(config.folds) if config.nested else ():
        inner_split(divisions[0].folds, fold, second=second, parts=parts, seed=divisions[0].arm.seed)
    names = config.backbones if backbones is None else backbones
    weights = {name: find_weights(config.weights, name, download=download) for name in names}
    notes = [
        note
        for name, file in weights.items()
        for note in try_backbone(name, len(dataset.classes), image_size=config.training.image_size, weights=file)
    ]
    return Preflight(
        dataset=dataset,
        divisions=divisions,
        shared=shared,
        weights=weights,
        notes=tuple(notes),
        audit_seconds=audit_seconds,
    )
