"""Which columns of somebody's table of predictions hold what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cv_folds.arrays import FloatArray, duplicates
from cv_folds.errors import DataError, UsageError, list_rows
from cv_folds.text_table import read_text_table


@dataclass(frozen=True, kw_only=True)
class TableColumns:
    """The columns of a table that were named."""

    labels: Sequence[Any]
    """(n,) labels."""
    models: Mapping[str, FloatArray]
    """Model name to (n, c) probabilities."""
    groups: Sequence[Any] | None
    """(n,) groups."""
    images: Sequence[Any] | None
    """(n,) names of the rows."""
    subgroups: Mapping[str, Sequence[Any]]
    """What divides the rows: name to (n,) values."""
    classes: tuple[str, ...]
    """As the mapping names them, or the names of the columns."""
    where: Callable[[int], str]
    """Names a row in messages, as a text editor numbers its lines."""


def read_columns(
    table: str | Path | pd.DataFrame,
    *,
    labels: ArrayLike,
    probabilities: Any,
    groups: ArrayLike | None,
    images: ArrayLike | None,
    name: str,
    subgroups: Any = None,
) -> TableColumns:
    """Take the named columns out of a CSV file or a data frame.

    Parameters
    ----------
    table : str, Path or pandas.DataFrame
        The file, or what was read from it.
    labels, groups, images : str or None
        Names of columns.
    probabilities : mapping or sequence of str
        Class to column, for one model; model name to such a mapping, for several; or a list of columns.
    name : str
        What a single model is called.
    subgroups : mapping or sequence of str, optional
        Name to column, or a list of columns.

    Raises
    ------
    UsageError
        When a column is not there, or the columns are named in another way.
    DataError
        When the file cannot be read, or a column of probabilities holds something else.
    """
    frame, title, where = _given(table) if isinstance(table, pd.DataFrame) else _read(Path(table))

    by_model = _by_model(probabilities, name)
    roles = {"labels": labels, "groups": groups, "images": images}
    wanted = {role: column for role, column in roles.items() if isinstance(column, str)}
    if odd := [role for role, column in roles.items() if column is not None and role not in wanted]:
        raise UsageError(f"with a table, {' and '.join(odd)} must be the name of a column")
    dividing = _dividing(subgroups)
    of_classes = [column for columns in by_model.values() for column in columns.values()]
    needed = (*wanted.values(), *of_classes, *dividing.values())
    if absent := [str(column) for column in needed if column not in frame.columns]:
        there = ", ".join(str(column) for column in frame.columns)
        raise UsageError(f"{title} has no column {', '.join(absent)}; it has {there}")

    def cells(role: str) -> list[Any] | None:
        return frame[wanted[role]].tolist() if role in wanted else None

    given = cells("labels")
    assert given is not None
    orders = {tuple(columns) for columns in by_model.values()}
    if len(orders) > 1:
        raise UsageError("all models need the same classes in the same order")
    return TableColumns(
        labels=given,
        models={model: _numbers(frame, columns, where) for model, columns in by_model.items()},
        groups=cells("groups"),
        images=cells("images"),
        subgroups={title: frame[column].tolist() for title, column in dividing.items()},
        classes=next(iter(orders)),
        where=where,
    )


def _given(frame: pd.DataFrame) -> tuple[pd.DataFrame, str, Callable[[int], str]]:
    return frame, "the table", lambda row: f"row {row} (counted from 0)"


def _read(path: Path) -> tuple[pd.DataFrame, str, Callable[[int], str]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    table = read_text_table(path)
    # Ids like 001 and classes like NA stay what they are.
    frame = pd.DataFrame(table.columns(), dtype=str)
    return frame, path.name, lambda row: f"{path.name}, row {table.lines[row + 1]}"


def _by_model(probabilities: Any, name: str) -> Mapping[str, Mapping[str, str]]:
    """Return model name to class to column."""
    if isinstance(probabilities, Mapping) and probabilities:
        values = list(probabilities.values())
        if all(isinstance(value, str) for value in values):
            return {name: probabilities}
        if all(isinstance(value, Mapping) and value for value in values):
            return probabilities
    elif isinstance(probabilities, Sequence) and not isinstance(probabilities, str) and len(probabilities):
        columns = [str(column) for column in probabilities]
        if again := duplicates(columns):
            raise UsageError(f"columns named twice: {', '.join(again)}")
        return {name: dict(zip(columns, columns, strict=True))}
    raise UsageError(
        "with a table, probabilities must map each class to its column, or each model to such a mapping, or list the "
        "columns in the order of the classes"
    )


def _dividing(subgroups: Any) -> Mapping[str, str]:
    """Return name to column."""
    if subgroups is None:
        return {}
    if isinstance(subgroups, Mapping) and all(isinstance(column, str) for column in subgroups.values()):
        return subgroups
    if isinstance(subgroups, Sequence) and not isinstance(subgroups, str):
        return {str(column): str(column) for column in subgroups}
    raise UsageError("with a table, subgroups must map each name to its column, or list the columns")


def _numbers(frame: pd.DataFrame, columns: Mapping[str, str], where: Callable[[int], str]) -> FloatArray:
    found = {column: pd.to_numeric(frame[column], errors="coerce") for column in columns.values()}
    bad = [
        f"{where(row)}, {column}: {frame[column].iloc[row]!r}"
        for column, values in found.items()
        for row in np.flatnonzero(values.isna().to_numpy()).tolist()
    ]
    if bad:
        raise DataError(f"{len(bad)} cells are no probability:\n{list_rows(bad)}")
    return np.stack([values.to_numpy(dtype=np.float64) for values in found.values()], axis=1)
