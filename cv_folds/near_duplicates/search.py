"""The whole search: features, candidates, verification, score; its result is kept and found again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from threadpoolctl import threadpool_limits

from cv_folds.arrays import IntArray
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import HamcvError
from cv_folds.files import write_text
from cv_folds.images import DECODER
from cv_folds.near_duplicates.candidates import find_candidates
from cv_folds.near_duplicates.collection import collect
from cv_folds.near_duplicates.constants import constants
from cv_folds.near_duplicates.evidence import Evidence, gather_evidence
from cv_folds.near_duplicates.features import one_thread_a_call
from cv_folds.near_duplicates.score import CONFIRMED, DOUBTFUL, FARTHEST_MIDDLES, log_odds, probability
from cv_folds.near_duplicates.settings import SearchSettings

ALGORITHM = 1
"""Raised with every change that can alter the result, unless it is one of a constant."""


class OnStep(Protocol):
    """What is told of the progress; from any thread."""

    def __call__(self, stage: str, done: int, total: int, /) -> object:
        """Take the name of a stage, what of it is done, and all there is to do."""


class FoundPair(BaseModel):
    """Two images under different lesion ids, and what speaks for their showing one lesion."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    image_a: str
    """Image id."""
    image_b: str
    """Image id."""
    verdict: Literal["confirmed", "doubtful"]
    """Confirmed is merged; doubtful is left to a person."""
    score: float
    """Probability, 0 to 1, as fitted on pairs of one lesion id; see `cv_folds.near_duplicates.score`."""
    mirrored: bool
    """Whether the second must be mirrored to lie on the first."""
    degrees: float
    """By how much the second is turned to lie on the first."""
    scale: float
    """How much larger the first shows the lesion."""
    inliers: int
    """Points that agree on this motion."""
    possible: int
    """Points that could."""
    overlap: float
    """Share of the image that is covered more; 0 to 1."""
    correlation: float
    """Of the structure of the pixels, -1 to 1."""
    matrix: tuple[float, ...] = Field(min_length=6, max_length=6)
    """The motion: from pixels of the second working image to those of the first, two rows of three."""

    @property
    def why(self) -> str:
        """In words."""
        turned = [f"turned by {self.degrees:.0f} degrees"] if abs(self.degrees) >= 5 else []
        turned += [f"scaled by {self.scale:.2f}"] if abs(np.log(self.scale)) >= 0.05 else []
        turned += ["mirrored"] if self.mirrored else []
        # The score alone would have confirmed it.
        apart = self.verdict == "doubtful" and self.score >= float(probability(np.array(CONFIRMED)))
        return (
            f"{self.inliers} of {self.possible} points agree, pixels correlate with {self.correlation:.2f} over "
            f"{self.overlap:.0%}; the second image is {', '.join(turned) or 'placed as the first'}"
            + ("; their middles lie far apart: neighbouring lesions?" if apart else "")
        )


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: tuple[FoundPair, ...]


def near_duplicates(
    dataset: LesionDataset,
    *,
    root: Path,
    workers: int,
    settings: SearchSettings | None = None,
    on_step: OnStep = lambda _stage, _done, _total: None,
) -> tuple[FoundPair, ...]:
    """Find images that show one lesion under different lesion ids, unless that was done before.

    Parameters
    ----------
    dataset : LesionDataset
        Whose images to compare.
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
        Confirmed and doubtful pairs of any two lesions, the strongest first.

    Raises
    ------
    DataError
        When images cannot be decoded.
    HamcvError
        When the cache cannot be written.
    """
    settings = SearchSettings() if settings is None else settings
    file = root / "near-duplicates" / f"{dataset.name}-{search_key([dataset], settings)}.json"
    return kept(file, lambda: search(dataset, settings, workers=workers, on_step=on_step))


def kept(file: Path, make: Callable[[], tuple[FoundPair, ...]]) -> tuple[FoundPair, ...]:
    """Return the pairs in `file`, or make them and write it.

    Raises
    ------
    HamcvError
        When the file cannot be written.
    """
    # A file of another form was not written by this version: it is written again.
    with suppress(OSError, ValidationError):
        return _Stored.model_validate_json(file.read_text(encoding="utf-8")).pairs
    pairs = make()
    try:
        write_text(file, _Stored(pairs=pairs).model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise HamcvError(
            f"{file}: cannot be written ({error.strerror or error}); free space there or name another folder with the "
            "environment variable HAMCV_CACHE"
        ) from error
    return pairs


def search(dataset: LesionDataset, settings: SearchSettings, *, workers: int, on_step: OnStep) -> tuple[FoundPair, ...]:
    """Do the search of `near_duplicates` without looking for an earlier result."""
    _, owners = np.unique(dataset.lesion_ids, return_inverse=True)
    evidence = examine(dataset.paths, owners, settings, workers=workers, on_step=on_step)
    return judge(evidence, dataset.image_ids.tolist())


def judge(evidence: Sequence[Evidence], images: Sequence[str]) -> tuple[FoundPair, ...]:
    """Return the confirmed and doubtful pairs, the strongest first; `images` are the ids by number."""
    odds = log_odds(evidence)
    found = []
    # Of equal odds the first pair first: the evidence is in the order of the images.
    for row in np.argsort(-odds, kind="stable").tolist():
        if odds[row] < DOUBTFUL:
            break
        pair = evidence[row]
        alignment, agreement = pair.alignment, pair.agreement
        found.append(
            FoundPair(
                image_a=images[alignment.a],
                image_b=images[alignment.b],
                verdict="confirmed" if odds[row] >= CONFIRMED and agreement.offset <= FARTHEST_MIDDLES else "doubtful",
                score=round(float(probability(odds[row])), 6),
                mirrored=alignment.mirrored,
                degrees=round(alignment.degrees, 1),
                scale=round(alignment.scale, 3),
                inliers=alignment.inliers,
                possible=alignment.possible,
                overlap=round(agreement.overlap, 3),
                correlation=round(agreement.correlations[1], 3),
                matrix=tuple(alignment.matrix.ravel().round(5).tolist()),
            )
        )
    return tuple(found)


def examine(
    paths: Sequence[Path],
    owners: IntArray,
    settings: SearchSettings,
    *,
    workers: int,
    on_step: OnStep,
    n_asking: int | None = None,
) -> list[Evidence]:
    """Return the evidence on all pairs of images of different owners that are worth a comparison of pixels.

    Parameters
    ----------
    paths : sequence of Path
        The n images to compare.
    owners : (n,) int array
        The lesion of each image; with a number of its own for each image, pairs of one lesion are compared too, which
        is how the search itself is measured.
    settings, workers, on_step
        As for `near_duplicates`.
    n_asking : int, optional
        Compare only the first so many images with the others.
    """
    with one_thread_a_call(), threadpool_limits(1):
        collection = collect(paths, settings, workers=workers, on_image=_counter(on_step, "finding points", len(paths)))
        candidates = find_candidates(
            collection,
            owners,
            settings,
            workers=workers,
            on_image=_counter(on_step, "looking for similar images", len(paths) if n_asking is None else n_asking),
            n_asking=n_asking,
        )
        return gather_evidence(
            collection,
            candidates,
            paths,
            settings,
            workers=workers,
            on_pair=_counter(on_step, "comparing pairs", len(candidates)),
        )


def _counter(on_step: OnStep, stage: str, total: int) -> Callable[[], object]:
    # Taking the next number cannot be interrupted by another thread.
    numbers = count(1)
    return lambda: on_step(stage, next(numbers), total)


def search_key(datasets: Sequence[LesionDataset], settings: SearchSettings) -> str:
    """Return what names the result of a search over these images in the cache."""
    fingerprints = (dataset.fingerprint for dataset in datasets)
    parts = (*fingerprints, settings.model_dump_json(), constants(), DECODER, cv2.__version__, str(ALGORITHM))
    digest = hashlib.sha256("\x1f".join(parts).encode())
    for path in (path for dataset in datasets for path in dataset.paths):
        # A file that vanished since the metadata were read is reported when it is decoded.
        with suppress(FileNotFoundError):
            digest.update(f" {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
