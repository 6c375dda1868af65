"""Names for the array types that travel between the packages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
ByteArray: TypeAlias = NDArray[np.uint8]
StrArray: TypeAlias = NDArray[np.str_]


def frozen(values: Any, dtype: Any = None) -> NDArray[Any]:
    """Copy into an array that nobody can write to."""
    array: NDArray[Any] = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array


def duplicates(ids: Iterable[str]) -> list[str]:
    """Return the ids that occur more than once, sorted."""
    seen: set[str] = set()
    again: set[str] = set()
    for name in ids:
        (again if name in seen else seen).add(name)
    return sorted(again)


def positions(ids: Sequence[str] | StrArray, wanted: Sequence[str] | StrArray) -> IntArray:
    """Return where each of `wanted` stands in `ids`; a missing one raises `KeyError`."""
    where = {str(name): index for index, name in enumerate(ids)}
    return np.array([where[str(name)] for name in wanted], dtype=np.int64)
