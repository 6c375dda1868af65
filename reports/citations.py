"""Citations: numbered in the order in which a text names them, with their list and the same as BibTeX.

``templates/references.bib`` holds every source, one field a line, so that it can be read and mended by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

_ENTRY = re.compile(r"@(\w+)\{(\w+),\n(.*?)\n\}", re.DOTALL)
_NAME = re.compile(r"[^\s.-]+")
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)

MOST_AUTHORS = 6
"""With more, the first three are named, as medical journals do."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One source."""

    key: str
    """What it is cited by."""
    fields: Mapping[str, str]
    """BibTeX fields; braces in a title keep the case of what they hold."""
    bibtex: str
    """The whole entry."""

    @property
    def text(self) -> str:
        """The source as it stands in a list of references."""
        fields = {name: value.replace("{", "").replace("}", "") for name, value in self.fields.items()}
        place = f"{fields.get('booktitle') or fields.get('howpublished')}, {fields['year']}"
        if "journal" in fields:
            place = f"{fields['journal']} {fields['year']}"
        if "volume" in fields:
            place += f"; {fields['volume']}"
        if "pages" in fields:
            place += f": {fields['pages'].replace('--', '–')}"
        ending = f" doi:{fields['doi']}" if "doi" in fields else ""
        return f"{_authors(fields['author'])}. {fields['title']}. {place}.{ending}"


@lru_cache(maxsize=1)
def all_references() -> Mapping[str, Reference]:
    """Return every source that a report may cite, by its key."""
    text = resources.files("reports").joinpath("templates", "references.bib").read_text(encoding="utf-8")
    return {
        entry[2]: Reference(key=entry[2], fields=dict(_FIELD.findall(entry[3])), bibtex=entry[0])
        for entry in _ENTRY.finditer(text)
    }


class Citations:
    """Numbers sources in the order in which they are first cited."""

    def __init__(self) -> None:
        self._cited: list[Reference] = []

    def __call__(self, *keys: str) -> str:
        """Return the mark for some sources, such as ``[3, 4]``."""
        references = all_references()
        for key in keys:
            if references[key] not in self._cited:
                self._cited.append(references[key])
        numbers = sorted({self._cited.index(references[key]) + 1 for key in keys})
        return f"[{', '.join(map(str, numbers))}]"

    @property
    def cited(self) -> tuple[Reference, ...]:
        """What was cited so far; the first has the number 1."""
        return tuple(self._cited)


def _authors(names: str) -> str:
    people = names.split(" and ")
    more = people[-1] == "others" or len(people) > MOST_AUTHORS
    shown = [_author(person) for person in people if person != "others"][: 3 if more else MOST_AUTHORS]
    return ", ".join([*shown, *(["et al"] if more else [])])


def _author(name: str) -> str:
    """Write ``Clarke-Pearson, Daniel L.`` as ``Clarke-Pearson DL``."""
    last, _, first = name.partition(", ")
    initials = "".join(part[0] for part in _NAME.findall(first))
    return f"{last} {initials}"
