"""The images that tell most about an ensemble: where it errs with confidence, and where its members part.

One image a group: the images of a lesion tend to share their fate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray
from ensemble.disagreement import mutual_information
from ensemble.predictions import Predictions

_ROUNDING = 1e-9
"""Mutual information in nats that members who agree can have in floating point."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A class that some networks, or the ensemble, find the most probable one of an image."""

    backbones: tuple[str, ...]
    """Whose claim it is: one network, or all members of the ensemble."""
    label: int
    """Index of the class."""
    probability: float
    """What they give it."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image worth looking at."""

    image_id: str
    """Image id."""
    lesion_id: str
    """Its lesion."""
    fold: int
    """The fold that held it out."""
    label: int
    """Index of its true class."""
    predicted: int
    """Index of the class that the ensemble finds most probable."""
    probability: float
    """What the ensemble gives that class."""
    disagreement: float
    """Mutual information between class and member, in nats; 0 with one member."""
    claims: tuple[Claim, ...]
    """What there is to be explained: the class that was predicted, or those of the two members farthest apart."""


@dataclass(frozen=True, kw_only=True)
class TellingCases:
    """What a gallery shows."""

    model: str
    """The ensemble."""
    errors: tuple[Case, ...]
    """Wrong answers, the most confident first."""
    disagreements: tuple[Case, ...]
    """Where the members differ, the most divided first; empty with one member."""


def choose_cases(predictions: Predictions, model: str, *, most: int) -> TellingCases:
    """Choose the images.

    Parameters
    ----------
    predictions : Predictions
        Out-of-fold probabilities of the ensemble and its members.
    model : str
        The ensemble, or a backbone.
    most : int
        How many images of either kind at most.

    Returns
    -------
    TellingCases
        Images of equal standing in the order of their ids.
    """
    rows = predictions.probabilities[model]
    backbones = tuple(name for name, kind in predictions.kinds.items() if kind == "backbone")
    members = np.stack([predictions.probabilities[name] for name in backbones], axis=1)
    predicted = rows.argmax(axis=1)
    confidence = rows[np.arange(len(rows)), predicted]
    divided = mutual_information(members)

    def case(row: int, claims: tuple[Claim, ...]) -> Case:
        return Case(
            image_id=str(predictions.image_ids[row]),
            lesion_id=str(predictions.lesion_ids[row]),
            fold=int(predictions.folds[row]),
            label=int(predictions.labels[row]),
            predicted=int(predicted[row]),
            probability=float(confidence[row]),
            disagreement=float(divided[row]),
            claims=claims,
        )

    def whole(row: int) -> tuple[Claim, ...]:
        names = backbones if model not in backbones else (model,)
        return (Claim(backbones=names, label=int(predicted[row]), probability=float(confidence[row])),)

    wrong = _first_of_groups(predictions, np.flatnonzero(predicted != predictions.labels), confidence, most)
    apart = np.flatnonzero(divided > _ROUNDING) if len(backbones) > 1 else np.empty(0, dtype=np.int64)
    split = _first_of_groups(predictions, apart, divided, most)
    return TellingCases(
        model=model,
        errors=tuple(case(row, whole(row)) for row in wrong),
        disagreements=tuple(case(row, _opposed(backbones, members[row])) for row in split),
    )


def _first_of_groups(predictions: Predictions, rows: IntArray, merit: FloatArray, most: int) -> list[int]:
    """Return the rows of most merit, one a group."""
    ordered = rows[np.lexsort((predictions.image_ids[rows], -merit[rows]))]
    _, first = np.unique(predictions.groups[ordered], return_index=True)
    chosen: list[int] = ordered[np.sort(first)[:most]].tolist()
    return chosen


def _opposed(backbones: tuple[str, ...], members: FloatArray) -> tuple[Claim, ...]:
    """Return the claims of the two members whose (n_members, n_classes) probabilities are farthest apart."""
    # Total variation: how far two members can differ in the probability of anything.
    distance = abs(members[:, None] - members[None]).sum(axis=2)
    pair = np.unravel_index(int(distance.argmax()), distance.shape)
    return tuple(
        Claim(backbones=(backbones[k],), label=int(members[k].argmax()), probability=float(members[k].max()))
        for k in sorted(int(place) for place in pair)
    )
