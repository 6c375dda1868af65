"""What each class looks like, as numbers, and how much one lesion departs from its class."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Amounts from which a lesion is drawn; 0 is none, 1 is striking, unless said otherwise."""

    radius: float
    """Mean radius in canvas pixels."""
    irregularity: float
    """How far the outline strays from an ellipse."""
    softness: float
    """Width of the border."""
    melanin: float
    """Brown pigment (optical density)."""
    blood: float
    """Redness (optical density)."""
    patchiness: float
    """Uneven pigment over the lesion."""
    asymmetry: float
    """Pigment gathered on one side."""
    network: float
    """Pigment network."""
    globules: float
    """Round brown clods."""
    streaks: float
    """Radial lines at the border."""
    veil: float
    """Blue-grey structureless area."""
    blue_blobs: float
    """Blue-grey ovoid nests."""
    vessels: float
    """Branching red lines."""
    lacunae: float
    """Sharply bordered red and purple lakes."""
    milia: float
    """Small white dots."""
    comedones: float
    """Small dark brown openings."""
    wax: float
    """Yellowish, waxy tint."""
    scale: float
    """White-yellow surface scale."""
    white_centre: float
    """Scar-like white area in the middle."""


_NV = Traits(
    radius=54, irregularity=0.22, softness=0.50, melanin=0.62, blood=0.10, patchiness=0.22, asymmetry=0.12,
    network=0.62, globules=0.30, streaks=0.05, veil=0.02, blue_blobs=0.0, vessels=0.02, lacunae=0.0, milia=0.02,
    comedones=0.03, wax=0.08, scale=0.0, white_centre=0.0,
)  # fmt: skip
_MEL = Traits(
    radius=66, irregularity=0.70, softness=0.34, melanin=1.50, blood=0.16, patchiness=0.85, asymmetry=0.70,
    network=0.45, globules=0.50, streaks=0.55, veil=0.55, blue_blobs=0.05, vessels=0.06, lacunae=0.0, milia=0.03,
    comedones=0.03, wax=0.02, scale=0.03, white_centre=0.04,
)  # fmt: skip
_BKL = Traits(
    radius=60, irregularity=0.42, softness=0.16, melanin=0.66, blood=0.10, patchiness=0.45, asymmetry=0.20,
    network=0.10, globules=0.10, streaks=0.02, veil=0.06, blue_blobs=0.03, vessels=0.04, lacunae=0.0, milia=0.65,
    comedones=0.60, wax=0.90, scale=0.14, white_centre=0.0,
)  # fmt: skip
_BCC = Traits(
    radius=56, irregularity=0.45, softness=0.50, melanin=0.10, blood=0.34, patchiness=0.32, asymmetry=0.25,
    network=0.0, globules=0.02, streaks=0.0, veil=0.08, blue_blobs=0.62, vessels=0.80, lacunae=0.02, milia=0.10,
    comedones=0.02, wax=0.05, scale=0.10, white_centre=0.08,
)  # fmt: skip
_AKIEC = Traits(
    radius=58, irregularity=0.52, softness=0.75, melanin=0.20, blood=0.56, patchiness=0.55, asymmetry=0.20,
    network=0.06, globules=0.02, streaks=0.0, veil=0.0, blue_blobs=0.02, vessels=0.20, lacunae=0.0, milia=0.15,
    comedones=0.05, wax=0.12, scale=0.75, white_centre=0.04,
)  # fmt: skip
_DF = Traits(
    radius=50, irregularity=0.18, softness=0.85, melanin=0.52, blood=0.20, patchiness=0.15, asymmetry=0.06,
    network=0.45, globules=0.05, streaks=0.0, veil=0.0, blue_blobs=0.0, vessels=0.06, lacunae=0.0, milia=0.02,
    comedones=0.0, wax=0.05, scale=0.04, white_centre=0.85,
)  # fmt: skip
_VASC = Traits(
    radius=46, irregularity=0.28, softness=0.22, melanin=0.10, blood=0.80, patchiness=0.25, asymmetry=0.12,
    network=0.0, globules=0.0, streaks=0.0, veil=0.10, blue_blobs=0.04, vessels=0.04, lacunae=0.90, milia=0.0,
    comedones=0.0, wax=0.0, scale=0.04, white_centre=0.0,
)  # fmt: skip

CLASS_TRAITS = {"akiec": _AKIEC, "bcc": _BCC, "bkl": _BKL, "df": _DF, "mel": _MEL, "nv": _NV, "vasc": _VASC}

LOOK_ALIKES = {
    "akiec": ("bcc", "bkl"),
    "bcc": ("akiec", "bkl", "nv"),
    "bkl": ("nv", "mel", "akiec"),
    "df": ("nv", "bcc"),
    "mel": ("nv", "bkl"),
    "nv": ("mel", "bkl", "df"),
    "vasc": ("bcc", "mel", "nv"),
}
"""Classes that a lesion of a class may be mistaken for."""

LIKENESS = 0.4
"""Most that a lesion has of a look-alike, from none to all; with `SPREAD` it sets how hard the demo set is."""

SPREAD = 0.28
"""Standard deviation of the logarithm of each trait within a class."""

STRUCTURES = 7
"""Traits from this one on are structures, which a lesion may lack; every lesion has the ones before."""

LARGEST = np.array([96.0] + [2.0] * (len(fields(Traits)) - 1))


def draw_traits(generator: np.random.Generator, diagnosis: str) -> Traits:
    """Draw one lesion's traits: its class, blended with a class it resembles, each trait then scaled at random."""
    other = LOOK_ALIKES[diagnosis][int(generator.integers(len(LOOK_ALIKES[diagnosis])))]
    likeness = float(generator.uniform(0.0, LIKENESS))
    typical = np.array(astuple(CLASS_TRAITS[diagnosis]))
    blended = typical + likeness * (np.array(astuple(CLASS_TRAITS[other])) - typical)
    values = np.minimum(blended * np.exp(generator.normal(0.0, SPREAD, size=len(blended))), LARGEST)
    # What a class hardly shows is missing from most of its lesions, rather than faint in all of them.
    shown = generator.random(len(values)) < 2.0 * blended + 0.05
    values[STRUCTURES:] *= shown[STRUCTURES:]
    return Traits(**{trait.name: float(value) for trait, value in zip(fields(Traits), values, strict=True)})
