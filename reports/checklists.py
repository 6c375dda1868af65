"""The reporting checklists of journals as tables: what each item asks for, and which answers a run has to it.

``templates/tripod_ai.md`` and ``templates/claim.md`` can be read and mended by hand. Their third column holds answers,
with semicolons between them: a name of `checklist_answers.ANSWERS`, ``see`` and names of sections of the report, or a
sentence in quotation marks.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Literal

from reports.checklist import Answer, Item
from reports.checklist_answers import ANSWERS, say, see

Checklist = Literal["tripod_ai", "claim"]

_ROW = re.compile(r"^\| (\d+[a-z]?) \|(.*)\|(.*)\|(.*)\|$", re.MULTILINE)
_ANSWER = re.compile(r'"[^"]*"|[^;]+')


def checklist_items(name: Checklist) -> tuple[Item, ...]:
    """Return the items of a checklist, in its order."""
    text = resources.files("reports").joinpath("templates", f"{name}.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in row] for row in _ROW.findall(text)]
    return tuple(
        Item(number=number, asks=asks, answers=tuple(map(_answer, _ANSWER.findall(answers))), authors=authors)
        for number, asks, answers, authors in rows
    )


def _answer(words: str) -> Answer:
    words = words.strip()
    if words.startswith('"'):
        return say(words.strip('"'))
    if words.startswith("see "):
        return see(*words.removeprefix("see ").split(", "))
    return ANSWERS[words]
