"""Which lesions the demo set has: diagnoses, metadata and how many photographs each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.errors import UsageError

DEMO_LESION_PREFIX = "HAM_9"
"""Every demo lesion id starts so, and no lesion of HAM10000 does."""

SMALLEST_CLASS = 5
"""Lesions every class has at least: one for each of five folds."""

LESION_SHARES = {"akiec": 0.031, "bcc": 0.044, "bkl": 0.097, "df": 0.010, "mel": 0.082, "nv": 0.723, "vasc": 0.013}
"""Share of the lesions, which with `EXTRA_PHOTOGRAPHS` gives the familiar shares of the images (nv 67 %, ...)."""

EXTRA_PHOTOGRAPHS = {"akiec": 0.43, "bcc": 0.57, "bkl": 0.51, "df": 0.57, "mel": 0.81, "nv": 0.24, "vasc": 0.45}
"""How often a lesion is photographed again, relative to the other classes."""

MOST_PHOTOGRAPHS = 6

DX_TYPES = ("histo", "follow_up", "consensus", "confocal")
DX_TYPE_ODDS = {
    "akiec": (1.0, 0.0, 0.0, 0.0),
    "bcc": (1.0, 0.0, 0.0, 0.0),
    "bkl": (0.70, 0.0, 0.24, 0.06),
    "df": (0.48, 0.0, 0.52, 0.0),
    "mel": (1.0, 0.0, 0.0, 0.0),
    "nv": (0.37, 0.55, 0.08, 0.0),
    "vasc": (0.57, 0.0, 0.43, 0.0),
}

AGES = {
    "akiec": (66, 11),
    "bcc": (66, 12),
    "bkl": (62, 14),
    "df": (50, 15),
    "mel": (60, 15),
    "nv": (45, 15),
    "vasc": (50, 18),
}
"""Mean and standard deviation in years."""

MALE_SHARES = {"akiec": 0.64, "bcc": 0.60, "bkl": 0.56, "df": 0.46, "mel": 0.60, "nv": 0.51, "vasc": 0.48}

SITES = ("back", "lower extremity", "trunk", "upper extremity", "abdomen", "face", "chest", "foot", "neck", "scalp")
SITE_ODDS = {
    "akiec": (10, 18, 6, 15, 2, 33, 4, 1, 5, 6),
    "bcc": (26, 12, 8, 16, 4, 20, 8, 1, 4, 1),
    "bkl": (20, 15, 13, 12, 7, 22, 6, 1, 3, 1),
    "df": (4, 62, 6, 18, 4, 1, 2, 2, 1, 0),
    "mel": (30, 16, 8, 17, 7, 9, 8, 2, 3, 0),
    "nv": (21, 22, 20, 9, 13, 2, 6, 4, 2, 1),
    "vasc": (12, 16, 24, 10, 14, 8, 8, 5, 2, 1),
}

MISSING_AGE = 0.012
UNKNOWN_SEX = 0.01
UNKNOWN_SITE = 0.025


@dataclass(frozen=True, kw_only=True)
class LesionPlan:
    """One lesion of the demo set; its metadata hold for all of its photographs."""

    lesion_id: str
    """``HAM_9`` and six digits."""
    diagnosis: str
    """HAM10000's class name."""
    dx_type: str
    """How the diagnosis was confirmed."""
    age: str
    """Years in steps of five, e.g. ``45.0``; empty where not known."""
    sex: str
    """``male``, ``female`` or ``unknown``."""
    localization: str
    """Body site or ``unknown``."""
    image_ids: tuple[str, ...]
    """``ISIC_9`` and six digits each."""
    seeds: np.random.SeedSequence
    """Source of the lesion's picture and photographs, its own so that nothing depends on the order of drawing."""


def plan_lesions(*, seed: int, n_lesions: int, n_images: int) -> tuple[LesionPlan, ...]:
    """Decide on every lesion of the set.

    Parameters
    ----------
    seed : int
        At least 0.
    n_lesions : int
        At least five for each of the seven classes.
    n_images : int
        From one to six photographs a lesion.

    Raises
    ------
    UsageError
        When the numbers can't be met; the message names the nearest that can.
    """
    _refuse_impossible(seed, n_lesions, n_images)
    shared, *own = np.random.SeedSequence(seed).spawn(n_lesions + 1)
    generator = np.random.default_rng(shared)
    counts = lesions_per_class(n_lesions)
    diagnoses = generator.permutation(np.repeat(list(counts), list(counts.values()))).tolist()
    photographs = _photographs(generator, diagnoses, n_images)
    # Shuffled, so that neither an id nor its neighbours tell the lesion or the diagnosis.
    numbers = iter(generator.permutation(n_images).tolist())
    plans = []
    for index, (diagnosis, count, seeds) in enumerate(zip(diagnoses, photographs, own, strict=True)):
        for_metadata, for_pictures = seeds.spawn(2)
        image_ids = sorted(f"ISIC_9{next(numbers):06d}" for _ in range(count))
        lesion_id = f"{DEMO_LESION_PREFIX}{index:06d}"
        plans.append(_describe(np.random.default_rng(for_metadata), lesion_id, diagnosis, image_ids, for_pictures))
    return tuple(plans)


def lesions_per_class(n_lesions: int) -> dict[str, int]:
    """Split `n_lesions` by `LESION_SHARES`, but give no class fewer than `SMALLEST_CLASS`."""
    counts = {name: max(SMALLEST_CLASS, round(share * n_lesions)) for name, share in LESION_SHARES.items()}
    while (surplus := sum(counts.values()) - n_lesions) != 0:
        step = -1 if surplus > 0 else 1
        able = [name for name, count in counts.items() if count + step >= SMALLEST_CLASS]
        # The class farthest on the wrong side of its share gives or takes one.
        worst = max(able, key=lambda name: step * (LESION_SHARES[name] * n_lesions - counts[name]))
        counts[worst] += step
    return counts


def _refuse_impossible(seed: int, n_lesions: int, n_images: int) -> None:
    smallest = SMALLEST_CLASS * len(LESION_SHARES)
    if seed < 0:
        raise UsageError(f"demo set: seed {seed} is negative; give 0 or more")
    if n_lesions < smallest:
        raise UsageError(
            f"demo set: {n_lesions} lesions are too few for {SMALLEST_CLASS} in each of the {len(LESION_SHARES)} "
            f"classes; ask for at least {smallest}"
        )
    most = min(n_lesions * MOST_PHOTOGRAPHS, 1_000_000)
    if not n_lesions <= n_images <= most:
        raise UsageError(
            f"demo set: {n_images} images do not fit {n_lesions} lesions; ask for {n_lesions} to {most} images"
        )


def _photographs(generator: np.random.Generator, diagnoses: list[str], n_images: int) -> list[int]:
    counts = np.ones(len(diagnoses), dtype=np.int64)
    odds = np.array([EXTRA_PHOTOGRAPHS[diagnosis] for diagnosis in diagnoses])
    for _ in range(n_images - len(diagnoses)):
        open_odds = np.where(counts < MOST_PHOTOGRAPHS, odds, 0.0)
        counts[generator.choice(len(counts), p=open_odds / open_odds.sum())] += 1
    return [int(count) for count in counts]


def _describe(
    generator: np.random.Generator,
    lesion_id: str,
    diagnosis: str,
    image_ids: list[str],
    seeds: np.random.SeedSequence,
) -> LesionPlan:
    mean, deviation = AGES[diagnosis]
    years = 5 * round(float(np.clip(generator.normal(mean, deviation), 5, 85)) / 5)
    male, known_age, known_sex, known_site = generator.random(4)
    sex = "male" if male < MALE_SHARES[diagnosis] else "female"
    site_odds = np.array(SITE_ODDS[diagnosis], dtype=np.float64)
    site = SITES[int(generator.choice(len(SITES), p=site_odds / site_odds.sum()))]
    return LesionPlan(
        lesion_id=lesion_id,
        diagnosis=diagnosis,
        dx_type=DX_TYPES[int(generator.choice(len(DX_TYPES), p=DX_TYPE_ODDS[diagnosis]))],
        age="" if known_age < MISSING_AGE else f"{years:.1f}",
        sex="unknown" if known_sex < UNKNOWN_SEX else sex,
        localization="unknown" if known_site < UNKNOWN_SITE else site,
        image_ids=tuple(image_ids),
        seeds=seeds,
    )
