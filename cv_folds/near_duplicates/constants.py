"""Every number that the search goes by besides its settings, so that a result is not taken for that of other ones."""

from __future__ import annotations

from types import ModuleType

from cv_folds.near_duplicates import (
    alignment,
    candidates,
    collection,
    evidence,
    features,
    inverted_file,
    motion,
    overlay,
    projection,
    score,
)

_MODULES: tuple[ModuleType, ...] = (
    features,
    collection,
    projection,
    inverted_file,
    candidates,
    motion,
    alignment,
    overlay,
    evidence,
    score,
)


def constants() -> str:
    """Return every constant of the modules between an image and its verdict, as text.

    All of them are taken, also sizes of blocks that alter nothing: one too many costs a search, one that is forgotten
    gives the result of other numbers.
    """
    return "\n".join(
        f"{module.__name__}.{name} = {value!r}"
        for module in _MODULES
        for name, value in sorted(vars(module).items())
        if name.isupper()
    )
