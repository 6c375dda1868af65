"""Front matter of a model card: YAML that every reader of YAML 1.1 and 1.2 takes for the same content."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

Node: TypeAlias = "str | int | float | Sequence[Node] | Mapping[str, Node]"

_KEY = re.compile("[a-z][a-z_-]*")


def front_matter(content: Mapping[str, Node]) -> str:
    """Return the content between two lines of three dashes.

    Parameters
    ----------
    content : mapping of str to str, int, float, sequence or mapping
        Keys are lower-case words. Strings are quoted, so that none is read as anything else; a number is read back as
        the same number.

    Returns
    -------
    str
    """
    return "---\n" + "\n".join(_lines(content)) + "\n---\n"


def _lines(node: Mapping[str, Node] | Sequence[Node]) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            assert _KEY.fullmatch(key), key
            yield from _entry(f"{key}:", value)
    else:
        for value in node:
            yield from _entry("-", value)


def _entry(head: str, value: Node) -> Iterator[str]:
    if isinstance(value, str | int | float):
        yield f"{head} {_scalar(value)}"
        return
    assert value, head
    inner = list(_lines(value))
    if head == "-":
        # The first key stands behind the dash, the others below it.
        yield f"- {inner[0]}"
        inner = inner[1:]
    else:
        yield head
    yield from (f"  {line}" for line in inner)


def _scalar(value: str | float) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        return str(value)
    assert math.isfinite(value)
    text = repr(float(value))
    # YAML 1.1 takes 1e-05 for a word and 1.0e-05 for a number.
    return text if "." in text else text.replace("e", ".0e")


def _quoted(text: str) -> str:
    """Quote as JSON does; letters that YAML allows in no stream, or would fold, by their numbers."""
    return "".join(
        letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in json.dumps(text, ensure_ascii=False)
    )
