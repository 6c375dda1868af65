"""What single cells of a table may hold."""

from __future__ import annotations

import math
import re

# Ids become parts of messages and file names: no separators, nothing that a path could be made of.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Names of classes and lesions that people chose: words of any script, but no separators or control characters.
_NAME = re.compile(r"\w[\w ._()+&,'-]*")

NOT_KNOWN = frozenset({"", "unknown", "nan", "na", "n/a", "none", "null"})
"""Ways to say that a value is not known, in lower case."""

PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Names of the parts of a split, in lower case, to the one that is used here."""


def id_complaint(column: str, text: str) -> str | None:
    """Say what is wrong with an id that must be there, or return None."""
    if not text:
        return f"{column} is empty"
    if not _ID.fullmatch(text):
        return f"{column} {text!r} is no plain id (letters, digits, dot, underscore, hyphen)"
    return None


def name_complaint(column: str, text: str) -> str | None:
    """Say what is wrong with the name of a class or lesion, or return None."""
    if not text:
        return f"{column} is empty"
    if not _NAME.fullmatch(text):
        return f"{column} {text!r} is no plain name (letters, digits, blanks and . _ - ( ) + & , ')"
    return None


def known(text: str) -> str:
    """Return the text, or nothing when it says that the value is not known."""
    return "" if text.lower() in NOT_KNOWN else text


def as_id(text: str) -> str:
    """Turn any file name into an id: what may not stand in one becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip("._-") or "image"


def age_in_years(text: str) -> float | None:
    """Return years, NaN for an age that is not known, None for one that makes no sense."""
    if text.lower() in NOT_KNOWN:
        return math.nan
    try:
        age = float(text)
    except ValueError:
        return None
    return age if 0 <= age <= 120 else None


def age_complaint(column: str, text: str) -> str | None:
    """Say what is wrong with an age, or return None."""
    if age_in_years(text) is None:
        return f"{column} {text!r} is no number from 0 to 120 (leave it empty when unknown)"
    return None
