"""What is spread evenly over folds: the diagnosis alone, or together with other columns of the metadata."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from cv_folds.arrays import IntArray, StrArray, frozen
from cv_folds.data.dataset import LesionDataset

StratumColumn: TypeAlias = Literal["dx_type", "sex", "localization"]
"""The columns that folds can be stratified by, beside the diagnosis."""

COLUMNS: dict[StratumColumn, Callable[[LesionDataset], StrArray]] = {
    "dx_type": lambda dataset: dataset.dx_types,
    "sex": lambda dataset: dataset.sexes,
    "localization": lambda dataset: dataset.localizations,
}


@dataclass(frozen=True, kw_only=True)
class Strata:
    """The stratum of every image."""

    labels: IntArray
    """(n,) number of the stratum."""
    rare: tuple[str, ...]
    """The combinations with too few groups, each with their number; they are stratified by diagnosis alone."""


def make_strata(dataset: LesionDataset, groups: StrArray, columns: Sequence[StratumColumn], *, fewest: int) -> Strata:
    """Combine the diagnosis with other columns.

    Parameters
    ----------
    dataset : LesionDataset
        What is to be divided.
    groups : (n,) array of str
        What must stay together.
    columns : sequence of str
        Keys of `COLUMNS`; with none, the strata are the diagnoses.
    fewest : int
        A combination with fewer groups than this falls back to its diagnosis: it could not be in every fold.

    Returns
    -------
    Strata
    """
    if not columns:
        return Strata(labels=dataset.labels, rare=())
    diagnoses = [dataset.classes[label] for label in dataset.labels.tolist()]
    values = [COLUMNS[column](dataset).tolist() for column in columns]
    combinations = list(zip(diagnoses, *values, strict=True))
    members: dict[tuple[str, ...], set[str]] = {}
    for combination, group in zip(combinations, groups.tolist(), strict=True):
        members.setdefault(combination, set()).add(group)
    rare = {combination for combination, inside in members.items() if len(inside) < fewest}
    names = [combination[:1] if combination in rare else combination for combination in combinations]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return Strata(
        labels=frozen([numbers[name] for name in names], np.int64),
        rare=tuple(
            f"{', '.join(value or 'not given' for value in combination)}: {len(members[combination])}"
            for combination in sorted(rare)
        ),
    )
