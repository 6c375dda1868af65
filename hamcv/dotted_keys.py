"""Settings by dotted keys, as ``--set`` takes them: ``training.phases.0.epochs=3``."""

from __future__ import annotations

import tomllib
from typing import Any

from cv_folds.errors import UsageError


def read_assignment(text: str) -> tuple[str, Any]:
    """Return key and value of ``key=value``; the value is TOML, or a bare word, which is taken as text."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"--set {text}: write key=value, for example --set training.epochs=12")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def set_key(table: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a dotted key in nested tables.

    Parameters
    ----------
    table : dict
        Changed in place; tables that are not there are made.
    key : str
        Such as ``training.phases.0.epochs``, where a number counts the entries of a list from 0.
    value : Any
        The value.

    Raises
    ------
    UsageError
        When the key goes through a single value, or to an entry that a list does not have.
    """
    *above, last = key.split(".")
    inner: Any = table
    for number, part in enumerate(above):
        place = _place(inner, part, key, ".".join(above[:number]))
        if isinstance(inner, dict):
            # A number says that a list was meant, which cannot be made of nothing.
            inner.setdefault(place, [] if [*above, last][number + 1].isdecimal() else {})
        inner = inner[place]
        if not isinstance(inner, dict | list):
            raise UsageError(f"--set {key}: {part} is a single value, not a table")
    inner[_place(inner, last, key, ".".join(above))] = value


def _place(inside: dict[str, Any] | list[Any], part: str, key: str, above: str) -> Any:
    """Return the key or position that a part of a dotted key stands for."""
    if isinstance(inside, dict):
        return part
    if not part.isdecimal() or int(part) >= len(inside):
        numbers = f"has entries 0 to {len(inside) - 1}" if inside else "has no entries"
        raise UsageError(f"--set {key}: {above} is a list and {numbers}; name one of them, or set the whole list")
    return int(part)
