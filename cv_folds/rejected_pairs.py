"""Pairs that a person rejected and that stand in one group all the same, through other lesions or equal files."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from cv_folds.disjoint_sets import DisjointSets
from cv_folds.leakage import AuditCheck, ImagePair

_MOST_NAMED = 10


def check_rejected(
    rejected: Sequence[tuple[str, str]], lesion_of: Mapping[str, str], merged: Sequence[ImagePair]
) -> AuditCheck:
    """Check that rejected pairs are apart.

    Parameters
    ----------
    rejected : sequence of pairs of image ids
        Of different lesion ids.
    lesion_of : mapping of str to str
        Image id to lesion id.
    merged : sequence of ImagePair
        What was put into one group.
    """
    lesions = DisjointSets()
    for pair in merged:
        lesions.join(pair.lesion_a, pair.lesion_b)
    together = [
        (one, other) for one, other in rejected if lesions.first(lesion_of[one]) == lesions.first(lesion_of[other])
    ]
    detail = f"{len(together)} of {len(rejected)} rejected pairs are in one group all the same"
    if together:
        named = [
            f"{one} and {other} by {', '.join(_way(merged, lesion_of[one], lesion_of[other]))}"
            for one, other in together[:_MOST_NAMED]
        ]
        more = f"; and {len(together) - _MOST_NAMED} more" if len(together) > _MOST_NAMED else ""
        detail += (
            f": {'; '.join(named)}{more}. A rejection takes away its own pair only: reject also one of those that join "
            "the two, or leave them together"
        )
    return AuditCheck(
        code="L008",
        title="Is every rejected pair kept apart?",
        severity="warning",
        status="failed" if together else "passed" if rejected else "not_applicable",
        detail=detail,
    )


def _way(merged: Sequence[ImagePair], start: str, end: str) -> list[str]:
    """Return the fewest merged pairs that lead from one lesion to another, in words."""
    beside: dict[str, list[tuple[str, ImagePair]]] = {}
    for pair in merged:
        beside.setdefault(pair.lesion_a, []).append((pair.lesion_b, pair))
        beside.setdefault(pair.lesion_b, []).append((pair.lesion_a, pair))
    came_by: dict[str, tuple[str, ImagePair]] = {}
    waiting = deque([start])
    while end not in came_by:
        lesion = waiting.popleft()
        for other, pair in beside[lesion]:
            if other != start and other not in came_by:
                came_by[other] = (lesion, pair)
                waiting.append(other)
    way = []
    while end != start:
        end, pair = came_by[end]
        way.append(f"{pair.image_a} with {pair.image_b}")
    return way[::-1]
