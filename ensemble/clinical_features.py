"""Age, sex and body site as numbers, by a coding that is learned from the fitted rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, StrArray
from cv_folds.clinical import ClinicalTable


@dataclass(frozen=True, kw_only=True)
class ClinicalCoding:
    """How a row of clinical values becomes features.

    The columns are: age, in standard deviations from the mean and 0 where not known; whether age is not known; then
    for sex and for body site one column for each frequent value, one for all others, seen before or not, and one for
    not known.
    """

    age_mean: float
    """In years."""
    age_deviation: float
    """In years, positive."""
    sexes: tuple[str, ...]
    """The frequent values of sex, sorted."""
    sites: tuple[str, ...]
    """The frequent values of body site, sorted."""

    @classmethod
    def learn(cls, clinical: ClinicalTable, groups: StrArray, *, fewest: int) -> Self:
        """Learn a coding.

        Parameters
        ----------
        clinical : ClinicalTable
            Of the fitted rows.
        groups : (n,) str
            The lesion of each row.
        fewest : int
            A sex or body site with fewer lesions than this is not frequent.
        """
        ages = clinical.ages[~np.isnan(clinical.ages)]
        deviation = float(ages.std()) if len(ages) else 0.0
        return cls(
            age_mean=float(ages.mean()) if len(ages) else 0.0,
            # Where all are of one age, any scale does.
            age_deviation=deviation if deviation > 0 else 1.0,
            sexes=_frequent(clinical.sexes, groups, fewest),
            sites=_frequent(clinical.localizations, groups, fewest),
        )

    @property
    def n_features(self) -> int:
        """Number of columns of `features`."""
        return 2 + len(self.sexes) + 2 + len(self.sites) + 2

    def features(self, clinical: ClinicalTable) -> FloatArray:
        """Return the (n, n_features) features of the rows of a table."""
        unknown = np.isnan(clinical.ages)
        ages = np.where(unknown, 0, (clinical.ages - self.age_mean) / self.age_deviation)
        columns = [ages, unknown, *_levels(clinical.sexes, self.sexes), *_levels(clinical.localizations, self.sites)]
        return np.column_stack(columns).astype(np.float64)


def _frequent(values: StrArray, groups: StrArray, fewest: int) -> tuple[str, ...]:
    levels = sorted(set(values.tolist()) - {""})
    return tuple(level for level in levels if len(np.unique(groups[values == level])) >= fewest)


def _levels(values: StrArray, frequent: Sequence[str]) -> list[BoolArray]:
    known = [values == level for level in frequent]
    nothing = values == ""
    return [*known, ~np.isin(values, [*frequent, ""]), nothing]
