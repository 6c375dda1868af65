"""What divides images into subgroups: sex, age band, body site, kind of confirmation, images per lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray, StrArray, frozen
from cv_folds.clinical import ClinicalTable
from ensemble.predictions import Predictions
from reports.wording import plural

NOT_KNOWN = "not known"
MOST_LEVELS = 20
"""Values of one attribute that are shown apart; the rarer ones are taken together."""

AGE_BANDS = ((30.0, "under 30"), (45.0, "30–44"), (60.0, "45–59"), (75.0, "60–74"), (np.inf, "75 and over"))
"""Upper end, in years, and name of every band."""


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One way to divide the images into groups."""

    name: str
    """Short name, as in ``metrics.json``."""
    title: str
    """What it is called in tables and figures."""
    levels: tuple[str, ...]
    """Names of the groups, in the order in which they are shown; every group has an image."""
    codes: IntArray
    """(n,) index into `levels` of every image."""

    def __post_init__(self) -> None:
        assert len(set(self.levels)) == len(self.levels), "scores are kept by level"

    @property
    def reason(self) -> str | None:
        """Why there is nothing to compare; None with two groups or more."""
        if len(self.levels) > 1:
            return None
        return (
            "not known of any image" if self.levels == (NOT_KNOWN,) else f"every image is in the group {self.levels[0]}"
        )


def attributes_of(predictions: Predictions, clinical: ClinicalTable) -> tuple[Attribute, ...]:
    """Divide images in every way that the data allow.

    Parameters
    ----------
    predictions : Predictions
        The images, at least one.
    clinical : ClinicalTable
        What is known about them; holds them at least.
    """
    known = clinical.take(predictions.image_ids)
    lesions = predictions.lesion_ids
    return (
        by_value("sex", "Sex", known.sexes, lesions),
        by_age(known.ages),
        by_value("localization", "Body site", known.localizations, lesions),
        by_value("dx_type", "Diagnosis confirmed by", known.dx_types, lesions),
        _by_images(lesions),
    )


def by_value(name: str, title: str, values: StrArray, lesions: StrArray) -> Attribute:
    """Group equal words, those with most lesions first; rare ones together, and what is not known last.

    Parameters
    ----------
    name, title : str
        Of the attribute.
    values : (n,) array of str
        Empty, or "not known", where not known.
    lesions : (n,) array of str
        Lesion of every image.
    """
    words, codes = np.unique(np.where(values == NOT_KNOWN, "", values), return_inverse=True)
    lesions_of = [len(np.unique(lesions[codes == code])) for code in range(len(words))]
    ranked = sorted((code for code in range(len(words)) if words[code]), key=lambda code: -lesions_of[code])
    kept, rest = ranked, ranked[:0]
    if len(ranked) > MOST_LEVELS:
        kept, rest = ranked[: MOST_LEVELS - 1], ranked[MOST_LEVELS - 1 :]
    names = [str(words[code]) for code in kept]
    place = np.full(len(words), len(kept))
    place[kept] = np.arange(len(kept))
    if rest:
        together = plural(len(rest), "rarer value")
        while together in names:
            together = f"other: {together}"
        names.append(together)
    if "" in words:
        place[words == ""] = len(names)
        names.append(NOT_KNOWN)
    return Attribute(name=name, title=title, levels=tuple(names), codes=frozen(place[codes], np.int64))


def by_age(ages: FloatArray) -> Attribute:
    """Group (n,) ages in years, NaN where not known, by `AGE_BANDS`."""
    upper = np.array([end for end, _ in AGE_BANDS])
    bands = np.where(np.isnan(ages), len(upper), np.searchsorted(upper, ages, side="right"))
    return _of_bands("age", "Age in years", bands, [*(name for _, name in AGE_BANDS), NOT_KNOWN])


def _by_images(lesions: StrArray) -> Attribute:
    _, lesion, images = np.unique(lesions, return_inverse=True, return_counts=True)
    bands = np.minimum(images[lesion], 3) - 1
    return _of_bands("images_per_lesion", "Images of the lesion", bands, ["1", "2", "3 or more"])


def _of_bands(name: str, title: str, bands: IntArray, names: Sequence[str]) -> Attribute:
    """Leave out the bands without images."""
    present, codes = np.unique(bands, return_inverse=True)
    levels = tuple(names[band] for band in present.tolist())
    return Attribute(name=name, title=title, levels=levels, codes=frozen(codes, np.int64))
