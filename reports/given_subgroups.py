"""Columns from anywhere that divide images into subgroups, in the form that a run's are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cv_folds.arrays import StrArray, frozen
from cv_folds.errors import DataError, UsageError, list_rows
from reports.attributes import MOST_LEVELS, NOT_KNOWN, Attribute, by_age, by_value
from reports.given import is_missing, one_axis, plain_value
from reports.wording import plural

AGE = "age"
"""The name of a column of years, in lower case."""

TITLES = {"sex": "Sex", "localization": "Body site", "dx_type": "Diagnosis confirmed by"}
"""What a run calls the columns of HAM10000; others are called what they were called."""

_NOT_KNOWN = ("", "unknown", NOT_KNOWN)


def given_attributes(
    columns: Mapping[str, ArrayLike], lesions: StrArray, *, where: Callable[[int], str]
) -> tuple[Attribute, ...]:
    """Divide images by the values of some columns.

    Parameters
    ----------
    columns : mapping
        Name to (n,) values. ``age``, in any case, holds years and is divided into bands; all others are divided by
        value. Nothing, NaN and the words ``unknown`` and ``not known``, in any case, count as not known.
    lesions : (n,) array of str
        What the lesions, or groups, are called.
    where : callable
        Names a row, counted from 0, in messages.

    Raises
    ------
    UsageError
        When a column has another length, or measures something that no bands were made of.
    DataError
        When a row holds no age.
    """
    return tuple(_attribute(name, values, lesions, where) for name, values in columns.items())


def _attribute(name: str, values: ArrayLike, lesions: StrArray, where: Callable[[int], str]) -> Attribute:
    plain = one_axis(values, name)
    if len(plain) != len(lesions):
        raise UsageError(f"there are {len(lesions)} labels, but {plural(len(plain), 'value')} of {name}")
    known = [_known(value) for value in plain]
    if name.strip().casefold() == AGE:
        return replace(by_age(frozen(_years(known, where), np.float64)), name=name)
    fractions = {str(value) for value in known if _is_fraction(value)}
    if len(fractions) > MOST_LEVELS:
        raise UsageError(
            f"{name} has {len(fractions)} different numbers; divide it into bands first, as pandas.cut does"
        )
    return by_value(name, TITLES.get(name, name), frozen([str(value) for value in known], np.str_), lesions)


def _known(value: Any) -> Any:
    """Return the value of a cell without blanks around it, or nothing where it says that it is not known."""
    if is_missing(value) or str(value).strip().casefold() in _NOT_KNOWN:
        return ""
    return value.strip() if isinstance(value, str) else plain_value(value)


def _is_fraction(value: Any) -> bool:
    """Tell whether a cell holds a number with decimals, also as the words of a file."""
    try:
        return not float(value).is_integer()
    except (TypeError, ValueError, OverflowError):
        return False


def _years(known: Sequence[Any], where: Callable[[int], str]) -> list[float]:
    years = pd.to_numeric(pd.Series([np.nan if value == "" else value for value in known]), errors="coerce").tolist()
    bad = [
        f"{where(row)}: {value!r}"
        for row, (value, age) in enumerate(zip(known, years, strict=True))
        if value != "" and not 0 <= age < np.inf
    ]
    if bad:
        raise DataError(
            f"{plural(len(bad), 'row')} without an age in years; leave a cell empty where it is not known, and call "
            f"bands by another name than {AGE}:\n{list_rows(bad)}"
        )
    return years
