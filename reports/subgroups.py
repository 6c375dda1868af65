"""Scores of parts of the images: the types, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.results import Estimate

CLASS_MEANS = ("macro_f1", "balanced_accuracy")
"""Means over the classes: undefined in a group that lacks a class, since a mean over fewer classes is another score."""

SUBGROUP_METRICS = ("accuracy", *CLASS_MEANS, "malignant_auc", "malignant_sensitivity", "malignant_specificity")

SMALL = 30
"""Groups of fewer lesions are shown in grey: their intervals are wide, and a bootstrap of so few is too narrow."""


@dataclass(frozen=True, kw_only=True)
class GroupScores:
    """One group of images."""

    n_images: int
    """Number of images."""
    n_lesions: int
    """Number of lesions that have an image here."""
    absent: tuple[str, ...]
    """Classes without an image here."""
    models: Mapping[str, Mapping[str, Estimate]]
    """Model name to each of `SUBGROUP_METRICS`."""

    @property
    def small(self) -> bool:
        """Whether it holds fewer than `SMALL` lesions."""
        return self.n_lesions < SMALL


@dataclass(frozen=True, kw_only=True)
class AttributeScores:
    """All groups of one attribute."""

    title: str
    """What it is called."""
    groups: Mapping[str, GroupScores]
    """Name of a group to its scores, in the order in which they are shown; empty where nothing can be compared."""
    reason: str | None
    """Why `groups` is empty; None when it is not."""


@dataclass(frozen=True, kw_only=True)
class Subgroups:
    """The scores by sex, age band, body site, kind of confirmation and images per lesion."""

    models: tuple[str, ...]
    """The models that were scored."""
    attributes: Mapping[str, AttributeScores]
    """Short name of an attribute to its groups."""

    @property
    def comparable(self) -> Mapping[str, AttributeScores]:
        """The attributes with at least two groups."""
        return {name: scores for name, scores in self.attributes.items() if scores.groups}

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``metrics.json``."""
        return {
            "small": SMALL,
            "attributes": {
                name: {"groups": None, "reason": scores.reason}
                if scores.reason is not None
                else {"groups": {group: _group_json(found) for group, found in scores.groups.items()}}
                for name, scores in self.attributes.items()
            },
        }


def _group_json(group: GroupScores) -> dict[str, Any]:
    return {
        "n_images": group.n_images,
        "n_lesions": group.n_lesions,
        "small": group.small,
        "absent_classes": list(group.absent),
        "models": {
            model: {metric: estimate.to_json() for metric, estimate in metrics.items()}
            for model, metrics in group.models.items()
        },
    }
