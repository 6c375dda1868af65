"""The folds that a training holds out: one usually, two where an estimate is nested; their numbers, names and words."""

from __future__ import annotations

from itertools import combinations


def fold_pairs(n_folds: int) -> tuple[tuple[int, int], ...]:
    """Return every pair of folds once, the smaller number first."""
    return tuple(combinations(range(n_folds), 2))


def held_out_folds(fold: int, second: int | None) -> tuple[int, ...]:
    """Return the folds that a training holds out.

    Parameters
    ----------
    fold : int
        The first of them, counted from 0.
    second : int or None
        Another one, with a larger number; None when there is no other.
    """
    assert second is None or fold < second
    return (fold,) if second is None else (fold, second)


def fold_words(held_out: tuple[int, ...]) -> str:
    """Return what messages call a training by the folds it holds out: ``fold 3``, ``folds 0 and 3``."""
    return f"fold {held_out[0]}" if len(held_out) == 1 else f"folds {held_out[0]} and {held_out[1]}"
