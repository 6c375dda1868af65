"""Labels, probabilities and groups from anywhere, checked and put into the one form that is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray, duplicates, frozen
from cv_folds.errors import DataError, UsageError, list_rows
from ensemble.predictions import Predictions
from reports.wording import plural

EXACT = 1e-6
"""Sums that are off by less are those of doubles."""
ROUNDED = 0.01
"""Sums that are off by less are those of printed decimals; the rows are divided by them."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What was given, in the form that is scored."""

    predictions: Predictions
    """All models, of kind ``model``."""
    notes: tuple[str, ...]
    """What was taken for granted."""


def check_given(
    labels: ArrayLike,
    models: Mapping[str, ArrayLike],
    groups: ArrayLike | None,
    images: ArrayLike | None,
    classes: Sequence[str] | None,
    *,
    where: Callable[[int], str],
) -> Given:
    """Check everything that was given; all bad rows of one kind are named at once.

    Parameters
    ----------
    labels : (n,) array
        Class names, or column numbers counted from 0.
    models : mapping
        Model name to its (n, c) probabilities, or with two classes the (n,) probabilities of the second.
    groups : (n,) array or None
        What must be resampled as a whole; None makes every row a group of its own.
    images : (n,) array or None
        Unique names of the rows.
    classes : sequence of str or None
        Names of the columns; None for the labels that occur, sorted, as in scikit-learn's ``classes_``.
    where : callable
        Names a row, counted from 0, in messages.

    Raises
    ------
    UsageError
        When shapes do not fit together or classes are missing.
    DataError
        When rows hold no label, no probabilities or no group.
    """
    given = one_axis(labels, "labels")
    rows = {name: _columns(values, name) for name, values in models.items()}
    if not rows:
        raise UsageError("no probabilities were given")
    if not len(given):
        raise UsageError("there are no rows to score")
    shapes = {name: values.shape for name, values in rows.items()}
    if len(set(shapes.values())) > 1 or next(iter(shapes.values()))[0] != len(given):
        told = "; ".join(f"{name} has {shape[0]} rows and {shape[1]} columns" for name, shape in shapes.items())
        raise UsageError(f"there are {len(given)} labels, but {told}")
    names = _class_names(given, next(iter(rows.values())).shape[1], classes)
    numbers = _label_numbers(given, names, where)
    notes: list[str] = []
    probabilities = {name: _probabilities(values, name, where, notes) for name, values in rows.items()}
    lesions = _names(groups, "group", len(given), where)
    if lesions is None:
        notes.append(
            "No groups were given: every row counts as a lesion of its own. Where several rows show one lesion or one "
            "patient, the intervals are too narrow."
        )
        lesions = frozen([str(row) for row in range(len(given))], np.str_)
    ids = _names(images, "image", len(given), where)
    if ids is None:
        ids = frozen([where(row) for row in range(len(given))], np.str_)
    elif again := duplicates(ids.tolist()):
        raise DataError("images that occur more than once; give each row a name of its own:\n" + list_rows(again))
    predictions = Predictions(
        image_ids=ids,
        lesion_ids=lesions,
        groups=lesions,
        folds=frozen(np.zeros(len(given)), np.int64),
        labels=numbers,
        classes=names,
        probabilities=probabilities,
        kinds=dict.fromkeys(probabilities, "model"),
    )
    return Given(predictions=predictions, notes=tuple(notes))


def one_axis(values: ArrayLike, what: str) -> Sequence[Any]:
    """Return values as a list; more or fewer axes than one raise `UsageError`."""
    array = np.asarray(values, dtype=object)
    if array.ndim != 1:
        raise UsageError(f"{what} must have one axis, not the shape {array.shape}")
    plain: list[Any] = array.tolist()
    return plain


def _columns(values: ArrayLike, name: str) -> FloatArray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: the probabilities are no table of numbers ({error})") from error
    if array.ndim == 1:
        # The probability of the second of two classes, as scikit-learn takes it.
        return np.stack([1 - array, array], axis=1)
    if array.ndim != 2 or not array.shape[1]:
        raise UsageError(f"{name}: the probabilities must have the shape (rows, classes), not {array.shape}")
    return array


def _class_names(labels: Sequence[Any], n_columns: int, classes: Sequence[str] | None) -> tuple[str, ...]:
    if classes is None:
        numbers = {label for label in map(plain_value, labels) if isinstance(label, int)}
        if len(numbers) == len(set(map(plain_value, labels))) and min(numbers) >= 0 and max(numbers) < n_columns:
            return tuple(str(number) for number in range(n_columns))
        known = {str(plain_value(label)): plain_value(label) for label in labels if not is_missing(label)}
        # Numbers in the order of numbers: 10 stands behind 9.
        names = tuple(sorted(known, key=lambda name: known[name] if len(numbers) == len(known) else name))
        if len(names) != n_columns:
            raise UsageError(
                f"there are {n_columns} columns of probabilities, but {len(names)} classes among the labels; name the "
                "classes in the order of the columns"
            )
        return names
    names = tuple(str(name) for name in classes)
    if len(names) != n_columns:
        raise UsageError(f"{len(names)} classes were named, but there are {n_columns} columns of probabilities")
    if again := duplicates(names):
        raise UsageError(f"classes named twice: {', '.join(again)}")
    return names


def _label_numbers(labels: Sequence[Any], classes: tuple[str, ...], where: Callable[[int], str]) -> IntArray:
    index = {name: number for number, name in enumerate(classes)}
    texts = ["" if is_missing(label) else str(plain_value(label)) for label in labels]
    if not index.keys() & set(texts):
        # No label is a name: they may be the numbers of the columns.
        index = {str(number): number for number in range(len(classes))}
    bad = [
        f"{where(row)}: {f'label {text!r}' if text else 'no label'}"
        for row, text in enumerate(texts)
        if text not in index
    ]
    if bad:
        names = ", ".join(classes)
        raise DataError(f"{plural(len(bad), 'row')} without a label among the classes {names}:\n{list_rows(bad)}")
    return frozen([index[text] for text in texts], np.int64)


def _probabilities(values: FloatArray, name: str, where: Callable[[int], str], notes: list[str]) -> FloatArray:
    sums = values.sum(axis=1)
    impossible = ~np.isfinite(values).all(axis=1) | (values < 0).any(axis=1)
    off = abs(sums - 1)
    bad = impossible | ~(off <= ROUNDED)
    if bad.any():
        raise DataError(
            f"{name}: {plural(int(bad.sum()), 'row')} without probabilities that sum to 1{_hint(values, bad)}:\n"
            + list_rows([f"{where(row)}: {values[row].tolist()}" for row in np.flatnonzero(bad).tolist()])
        )
    if (rounded := off > EXACT).any():
        notes.append(
            f"{name}: the probabilities of {plural(int(rounded.sum()), 'row')} miss a sum of 1, by up to "
            f"{off.max():.2g}, as printed decimals do; they were divided by their sum."
        )
        values = np.where(rounded[:, np.newaxis], values / sums[:, np.newaxis], values)
    return frozen(values, np.float64)


def _hint(values: FloatArray, bad: BoolArray) -> str:
    finite = values[bad][np.isfinite(values[bad])]
    if len(finite) and (finite < 0).any():
        return "; outputs before the softmax are none"
    if len(finite) and finite.max() > 1 + ROUNDED and finite.max() <= 100 + ROUNDED:
        return "; per cent must be divided by 100"
    return ""


def _names(values: ArrayLike | None, what: str, n_rows: int, where: Callable[[int], str]) -> StrArray | None:
    if values is None:
        return None
    plain = one_axis(values, f"{what}s")
    if len(plain) != n_rows:
        raise UsageError(f"there are {n_rows} labels, but {len(plain)} {what}s")
    if bad := [where(row) for row, value in enumerate(plain) if is_missing(value)]:
        raise DataError(f"{plural(len(bad), 'row')} without {what}:\n{list_rows(bad)}")
    return frozen([str(plain_value(value)) for value in plain], np.str_)


def plain_value(value: Any) -> Any:
    """Return whole numbers as such: a column with a gap holds them as floats."""
    return int(value) if isinstance(value, float | np.floating) and value.is_integer() else value


def is_missing(value: Any) -> bool:
    """Tell whether a cell holds nothing."""
    return (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or value == ""
        or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
    )
