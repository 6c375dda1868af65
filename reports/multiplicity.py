"""p-values of several tests of one question, adjusted for their number."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjust p-values so that any error among all has at most the level's probability.

    Parameters
    ----------
    p_values : sequence of float or None
        None where a test could not be made; it does not count.

    Returns
    -------
    tuple of float or None
        Holm, Scand. J. Stat. 6 (1979) 65-70: the k-th smallest of m is multiplied by m - k + 1, at least as large as
        the one before and at most 1. Holds whatever the tests have to do with each other.
    """
    made = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(made):
        largest = max(largest, min(1.0, (len(made) - rank) * p))
        adjusted[place] = largest
    return tuple(adjusted)
