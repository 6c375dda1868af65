"""Which images a predictor would warn of that its limits had not seen: the warnings checked as the scores are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cv_folds.arrays import BoolArray, FloatArray, StrArray, frozen, positions
from cv_folds.errors import DataError
from cv_folds.files import write_atomically
from cv_folds.out_of_fold import OutOfFold
from cv_folds.text_table import read_text_table
from ensemble.outliers import fit_outliers, limit_of, spread_of_fold, standardise
from ensemble.pooled_distances import PooledDistances

WARNINGS_FILE = "warnings.csv"
"""Name of the table in a run folder."""

COLUMNS = ("image_id", "distance", "spread", "far", "divided")
"""Its header."""


@dataclass(frozen=True, kw_only=True)
class HeldOutWarnings:
    """How unusual held-out images are, by limits that come from others."""

    image_ids: StrArray
    """(n,) image ids."""
    distances: FloatArray
    """(n,) in standard deviations, as `OutlierRule.distance_of` gives them; NaN where not known."""
    spreads: FloatArray
    """(n,) in nats, of the members that had not seen the image."""
    far: BoolArray
    """(n,) whether the distance is beyond the limit."""
    divided: BoolArray
    """(n,) whether the spread is."""

    def take(self, image_ids: StrArray) -> HeldOutWarnings:
        """Return the rows of some images, in their order; a missing one raises `DataError`."""
        try:
            rows = positions(self.image_ids, image_ids)
        except KeyError as error:
            raise DataError(f"{WARNINGS_FILE} does not hold image {error}; run `hamcv ensemble` again") from error
        return HeldOutWarnings(
            image_ids=self.image_ids[rows],
            distances=self.distances[rows],
            spreads=self.spreads[rows],
            far=self.far[rows],
            divided=self.divided[rows],
        )

    def write_csv(self, path: Path) -> None:
        """Write `COLUMNS` atomically: all digits, a blank where a distance is not known, flags as 0 or 1."""
        columns = (self.image_ids, self.distances, self.spreads, self.far.astype(int), self.divided.astype(int))
        frame = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
        write_atomically(path, lambda partial: frame.to_csv(partial, index=False, lineterminator="\n"))

    @classmethod
    def read_csv(cls, path: Path) -> HeldOutWarnings:
        """Read what `write_csv` wrote; a damaged file raises `DataError`."""
        try:
            frame = pd.DataFrame(read_text_table(path).columns(), dtype=str)
            flags = {name: frame[name].map({"0": False, "1": True}) for name in ("far", "divided")}
            if tuple(frame.columns) != COLUMNS or any(column.isna().any() for column in flags.values()):
                raise ValueError("columns or flags are not those expected")
            return cls(
                image_ids=frozen(frame["image_id"], np.str_),
                distances=frozen(frame["distance"].replace("", "nan"), np.float64),
                spreads=frozen(frame["spread"], np.float64),
                far=frozen(flags["far"], np.bool_),
                divided=frozen(flags["divided"], np.bool_),
            )
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{path} cannot be read ({error}); `hamcv ensemble` on its folder writes it again"
            ) from error


def warn_held_out(oof: OutOfFold, distances: PooledDistances | None, *, share: float) -> HeldOutWarnings:
    """Hold every fold against limits that come from the other folds.

    Parameters
    ----------
    oof : OutOfFold
        The images, and what the members that had not seen them say; at least two folds.
    distances : PooledDistances, optional
        Holds the images of `oof` at least.
    share : float
        Of the lesions that the limits are meant for.

    Returns
    -------
    HeldOutWarnings

    Notes
    -----
    Distances are standardised by the mean and standard deviation of the fold itself: these belong to its networks, and
    two numbers from all images of a fold leave each of them nearly no say.
    """
    spreads, groups = spread_of_fold(oof), oof.groups
    known = None if distances is None else standardise(distances.take(oof.image_ids), groups).distances
    far, divided = (np.zeros(len(groups), dtype=np.bool_) for _ in range(2))
    for fold in np.unique(oof.folds):
        out = oof.folds == fold
        if len(oof.backbones) > 1:
            divided[out] = spreads[out] > limit_of(spreads[~out], groups[~out], share).value
        if known is not None:
            far[out] = known[out] > limit_of(known[~out], groups[~out], share).value
    return _warnings(oof, known, spreads, far, divided)


def warn_test_part(
    validation: OutOfFold, test: OutOfFold, distances: PooledDistances | None, *, share: float
) -> HeldOutWarnings:
    """Hold the test part of a fixed division against the limits of its predictor, which come from the validation part.

    Parameters
    ----------
    validation, test : OutOfFold
        What the members say about the images of each part.
    distances : PooledDistances, optional
        Holds the images of both.
    share : float
        Of the lesions that the limits are meant for.
    """
    rule = fit_outliers(validation, distances, share=share)
    spreads = spread_of_fold(test)
    known, far = None, np.zeros(len(test.image_ids), dtype=np.bool_)
    if distances is not None and rule.distance is not None:
        rows = distances.take(test.image_ids)
        (fold,) = np.unique(rows.folds).tolist()
        known = rule.distance_of(rows.distances, [(backbone, fold) for backbone in rows.backbones])
        far = known > rule.distance.value
    divided = np.zeros_like(far) if rule.spread is None else spreads > rule.spread.value
    return _warnings(test, known, spreads, far, divided)


def _warnings(
    oof: OutOfFold, known: FloatArray | None, spreads: FloatArray, far: BoolArray, divided: BoolArray
) -> HeldOutWarnings:
    return HeldOutWarnings(
        image_ids=oof.image_ids,
        distances=frozen(np.full(len(spreads), np.nan) if known is None else known),
        spreads=frozen(spreads),
        far=frozen(far),
        divided=frozen(divided),
    )
