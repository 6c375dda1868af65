"""How often held-out images are warned of, and whether a warning means anything for the answer."""

from __future__ import annotations

import numpy as np

from ensemble.held_out_warnings import HeldOutWarnings
from ensemble.predictions import Predictions
from reports.group_means import GroupMeans
from reports.results import Estimate
from reports.uncertainty import WarningShares


def measure_warnings(
    predictions: Predictions,
    warnings: HeldOutWarnings,
    model: str,
    *,
    aimed: float,
    resamples: int,
    generator: np.random.Generator,
) -> WarningShares:
    """Count the warnings of images whose fold had no part in the limits.

    Parameters
    ----------
    predictions : Predictions
        Out-of-fold probabilities.
    warnings : HeldOutWarnings
        Of the same images at least.
    model : str
        The deployed ensemble, whose answers are compared.
    aimed : float
        Share of lesions that each kind of warning is meant for.
    resamples : int
        Lesion resamples for the intervals.
    generator : numpy.random.Generator
        Source of the resamples.

    Returns
    -------
    WarningShares
    """
    found = warnings.take(predictions.image_ids)
    means = GroupMeans.of(predictions, resamples=resamples, generator=generator)
    warned = found.far | found.divided
    right = (predictions.probabilities[model].argmax(axis=1) == predictions.labels).astype(np.float64)
    unknown = Estimate(value=None, reason="no distances were stored by this run")
    alone = Estimate(value=None, reason="one backbone has nobody to disagree with")
    return WarningShares(
        model=model,
        aimed=aimed,
        far=unknown if np.isnan(found.distances).all() else means.mean(found.far.astype(np.float64), absent="no image"),
        divided=alone if not found.spreads.any() else means.mean(found.divided.astype(np.float64), absent="no image"),
        accuracy_warned=means.mean(right, rows=warned, absent="no image was warned of"),
        accuracy_others=means.mean(right, rows=~warned, absent="every image was warned of"),
        per_class={
            name: means.mean(
                warned.astype(np.float64), rows=predictions.labels == index, absent="no image of this class"
            )
            for index, name in enumerate(predictions.classes)
        },
    )
