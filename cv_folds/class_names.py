"""Which of one data set's classes is which of another's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cv_folds.errors import UsageError, list_rows

SYNONYMS: tuple[tuple[str, ...], ...] = (
    (
        "akiec", "ak", "actinic keratosis", "actinic keratoses", "solar keratosis", "bowen s disease", "bowens disease",
        "bowen disease", "intraepithelial carcinoma", "actinic keratoses and intraepithelial carcinoma",
        "actinic keratoses and intraepithelial carcinoma bowen s disease",
    ),
    ("bcc", "basal cell carcinoma"),
    (
        "bkl", "benign keratosis", "benign keratosis like lesion", "benign keratosis like lesions",
        "seborrheic keratosis", "seborrhoeic keratosis", "solar lentigo", "lichen planus like keratosis",
        "pigmented benign keratosis", "lichenoid keratosis",
    ),
    ("df", "dermatofibroma"),
    ("mel", "melanoma", "malignant melanoma"),
    ("nv", "nevus", "naevus", "nevi", "naevi", "melanocytic nevus", "melanocytic nevi", "melanocytic naevus"),
    ("vasc", "vascular", "vascular lesion", "vascular lesions"),
    ("scc", "squamous cell carcinoma"),
)  # fmt: skip
"""What the classes of HAM10000 and the ISIC archive are called elsewhere, as `plain_name` writes it. Some names stand
for a part of a class: a model that knows ``akiec`` is asked about actinic keratoses alone by a set of ``AK``."""

_CONCEPT = {name: group[0] for group in SYNONYMS for name in group}


@dataclass(frozen=True, kw_only=True)
class ClassMatch:
    """What one class of the data is taken for."""

    theirs: str
    """Its name in the data."""
    ours: str | None
    """Its name in the model; None when the model lacks it."""
    how: Literal["same name", "same name but for case", "synonym", "given", "left out", "none"]
    """Why: ``given`` and ``left out`` were said by the user, ``none`` found nothing."""


def match_classes(
    theirs: Sequence[str], ours: Sequence[str], given: Mapping[str, str] | None = None
) -> tuple[ClassMatch, ...]:
    """Find the class of the model for every class of the data.

    Parameters
    ----------
    theirs : sequence of str
        Classes of the data.
    ours : sequence of str
        Classes of the model.
    given : mapping, optional
        Their class to ours, as the user says; an empty name leaves the class out. It comes first.

    Returns
    -------
    tuple of ClassMatch
        In the order of `theirs`. Several of theirs may be one of ours. Without a mapping by the user, a name counts
        that is the same, then one that differs in case only, then a synonym; never one that could be several of ours.

    Raises
    ------
    UsageError
        When `given` names classes that are not there.
    """
    given = {} if given is None else given
    wrong = [f"{name}: the data have no such class, they have {', '.join(theirs)}" for name in given.keys() - {*theirs}]
    wrong += [
        f"{name}={target}: the model has no class {target}, it has {', '.join(ours)}"
        for name, target in given.items()
        if target and target not in ours
    ]
    if wrong:
        raise UsageError("--classes:\n" + list_rows(sorted(wrong)))
    return tuple(_match(name, ours, given) for name in theirs)


def plain_name(name: str) -> str:
    """Return a name in lower case, with one blank for whatever is no letter or digit."""
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()


def _match(name: str, ours: Sequence[str], given: Mapping[str, str]) -> ClassMatch:
    if name in given:
        return ClassMatch(theirs=name, ours=given[name] or None, how="given" if given[name] else "left out")
    if name in ours:
        return ClassMatch(theirs=name, ours=name, how="same name")
    if (only := _only(ours, plain_name(name), plain_name)) is not None:
        return ClassMatch(theirs=name, ours=only, how="same name but for case")
    concept = _concept(name)
    if concept is not None and (only := _only(ours, concept, _concept)) is not None:
        return ClassMatch(theirs=name, ours=only, how="synonym")
    return ClassMatch(theirs=name, ours=None, how="none")


def _concept(name: str) -> str | None:
    return _CONCEPT.get(plain_name(name))


def _only(ours: Sequence[str], wanted: str, form: Callable[[str], str | None]) -> str | None:
    """Return the one of `ours` that has this form; None when there is none or several."""
    found = [name for name in ours if form(name) == wanted]
    return found[0] if len(found) == 1 else None
