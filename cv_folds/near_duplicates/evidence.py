"""What speaks for two images showing one lesion: points that share one motion, and pixels that agree under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from cv_folds.arrays import ByteArray
from cv_folds.near_duplicates.alignment import Alignment, align_candidates
from cv_folds.near_duplicates.candidates import Candidates
from cv_folds.near_duplicates.collection import Collection
from cv_folds.near_duplicates.features import working_image
from cv_folds.near_duplicates.overlay import Agreement, compare
from cv_folds.near_duplicates.settings import SearchSettings

PAIRS_AT_A_TIME = 128


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known of one pair of images after the verification."""

    alignment: Alignment
    """How the features lie on each other."""
    agreement: Agreement
    """How well the pixels agree then."""


def gather_evidence(
    collection: Collection,
    candidates: Candidates,
    paths: Sequence[Path],
    settings: SearchSettings,
    *,
    workers: int,
    on_pair: Callable[[], object] = lambda: None,
) -> list[Evidence]:
    """Verify candidates.

    Parameters
    ----------
    collection : Collection
        Features of all images.
    candidates : Candidates
        Pairs to verify.
    paths : sequence of Path
        Image files; read again for the comparison of pixels.
    settings : SearchSettings
        How many inliers are worth a comparison of pixels.
    workers : int
        Threads; the result does not depend on their number.
    on_pair : callable
        Called after each pair, from any thread.

    Returns
    -------
    list of Evidence
        Of the pairs with at least `settings.least_inliers`, in the order of the candidates.
    """

    @lru_cache(maxsize=64)
    def picture(row: int) -> ByteArray:
        return working_image(paths[row], settings)

    def verify(first: int) -> list[Evidence]:
        rows = np.arange(first, min(first + PAIRS_AT_A_TIME, len(candidates)))
        found = [
            Evidence(alignment=pair, agreement=compare(picture(pair.a), picture(pair.b), pair.matrix))
            for pair in align_candidates(collection, candidates, rows, settings)
        ]
        for _ in rows:
            on_pair()
        return found

    with ThreadPoolExecutor(workers) as pool:
        blocks = pool.map(verify, range(0, len(candidates), PAIRS_AT_A_TIME))
        return [evidence for block in blocks for evidence in block]
