"""Images of one data set that show a lesion of another: an external test set against what was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cv_folds.data.dataset import LesionDataset
from cv_folds.near_duplicates.search import FoundPair, OnStep, examine, judge, kept, search_key
from cv_folds.near_duplicates.settings import SearchSettings


def near_duplicates_across(
    dataset: LesionDataset,
    others: LesionDataset,
    *,
    root: Path,
    workers: int,
    settings: SearchSettings | None = None,
    on_step: OnStep = lambda _stage, _done, _total: None,
) -> tuple[FoundPair, ...]:
    """Find images of two data sets that show one lesion, unless that was done before.

    Parameters
    ----------
    dataset : LesionDataset
        Whose images are looked for.
    others : LesionDataset
        Where they are looked for. Ids play no part: those of both sets may be the same.
    root : Path
        Folder of the caches.
    workers : int
        Threads; the result does not depend on their number.
    settings : SearchSettings, optional
        The constants of the search.
    on_step : callable
        Told of the progress.

    Returns
    -------
    tuple of FoundPair
        Confirmed and doubtful pairs, the strongest first: ``image_a`` is of `dataset`, ``image_b`` of `others`. Pairs
        within one of the sets are not looked for.

    Raises
    ------
    DataError
        When images cannot be decoded.
    HamcvError
        When the cache cannot be written.
    """
    settings = SearchSettings() if settings is None else settings
    n = len(dataset)

    def search() -> tuple[FoundPair, ...]:
        owners = np.repeat(np.arange(2), (n, len(others)))
        paths = (*dataset.paths, *others.paths)
        evidence = examine(paths, owners, settings, workers=workers, on_step=on_step, n_asking=n)
        return judge(evidence, (*dataset.image_ids.tolist(), *others.image_ids.tolist()))

    name = f"{dataset.name}-in-{others.name}-{search_key([dataset, others], settings)}.json"
    return kept(root / "near-duplicates" / name, search)
