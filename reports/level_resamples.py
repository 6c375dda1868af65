"""The same resamples of the groups for images and for lesions."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cv_folds.arrays import BoolArray
from ensemble.predictions import Predictions
from reports.further_metrics import FullScores, FullTable, full_table, join
from reports.intervals import resample_groups
from reports.levels import Unit


def bootstrap_levels(
    tables: Mapping[Unit, Predictions], malignant: BoolArray, *, resamples: int, generator: np.random.Generator
) -> dict[Unit, dict[str, FullScores]]:
    """Score every model on the same resamples of the groups, with all metrics, image by image and lesion by lesion.

    Parameters
    ----------
    tables : mapping of {"image", "lesion"} to Predictions
        The predictions of the units; all hold the same groups.
    malignant : (c,) array of bool
        Which classes are malignant.
    resamples : int
        Number of resamples.
    generator : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    dict
        Unit to model name to all metrics in every resample; no resample when there is only one group.
    """
    images = tables["image"]
    names = np.unique(images.groups)
    if all(len(table.labels) == len(images.labels) for table in tables.values()):
        # With one image a lesion, both are the same.
        tables = {"image": images}
    scorers = {
        (unit, model): full_table(
            table.labels, probabilities, malignant, np.searchsorted(names, table.groups), len(names)
        )
        for unit, table in tables.items()
        for model, probabilities in table.probabilities.items()
    }
    parts: dict[tuple[Unit, str], list[FullScores]] = {key: [] for key in scorers}
    if len(names) > 1:
        # Threads: nearly all of the time is spent in numpy and scipy, which let go of the interpreter. With threads of
        # its own in each of them, BLAS would keep the cores busy with waiting.
        with ThreadPoolExecutor(cpu_count()) as pool, threadpool_limits(1, user_api="blas"):
            for block in resample_groups(len(names), len(images.labels), resamples=resamples, generator=generator):
                found = pool.map(partial(_score, block), scorers.values())
                for key, scores in zip(scorers, found, strict=True):
                    parts[key].append(scores)
    joined = {key: join(blocks, len(images.classes)) for key, blocks in parts.items()}
    units: tuple[Unit, ...] = ("image", "lesion")
    return {
        unit: {model: joined[unit if unit in tables else "image", model] for model in images.probabilities}
        for unit in units
    }


def _score(counts: NDArray[np.int32], scorer: FullTable) -> FullScores:
    return scorer.score(counts)
