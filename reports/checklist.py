"""Reporting checklists: what each item asks for, what the run answers, and what is left to the authors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reports.document import Cell, Column, Table
from reports.study import Study
from reports.wording import listing

AUTHORS = "to be filled in by the authors"


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A study, and where its report shows what."""

    study: Study
    """The run."""
    sections: Mapping[str, str]
    """Name to title of the sections of its report, for the gallery only where it has pictures."""
    maps: bool = False
    """Whether the report shows maps of what the networks looked at."""

    def see(self, *names: str) -> str:
        """Point to those of some sections that the report has: ``See “Data and folds”.``; empty for none of them."""
        titles = [f"“{self.sections[name]}”" for name in names if name in self.sections]
        return f"See {listing(titles)}." if titles else ""


Answer = Callable[[Reported], str]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a checklist."""

    number: str
    """As the checklist counts."""
    asks: str
    """What it asks for, in few words of our own."""
    answers: tuple[Answer, ...] = ()
    """What the run can say; an answer may be empty."""
    authors: str = ""
    """What only the authors know; empty when nothing is left."""

    def reply(self, reported: Reported) -> str:
        """Return what the run says, and what is left to the authors."""
        known = " ".join(words for answer in self.answers if (words := answer(reported)))
        if not known:
            return f"{AUTHORS[0].upper()}{AUTHORS[1:]}{': ' + self.authors if self.authors else ''}."
        return f"{known} {AUTHORS[0].upper()}{AUTHORS[1:]}: {self.authors}." if self.authors else known


def checklist_table(name: str, caption: str, items: Sequence[Item], reported: Reported) -> Table:
    """Return a filled-in checklist.

    Parameters
    ----------
    name : str
        Unique short name of the table.
    caption : str
        Which checklist it is.
    items : sequence of Item
        In the order of the checklist.
    reported : Reported
        What is known.
    """
    return Table(
        name=name,
        caption=caption,
        columns=tuple(
            Column(label=words, numeric=False) for words in ("Item", "What it asks for", "What this run says")
        ),
        rows=tuple((Cell(text=item.number), Cell(text=item.asks), Cell(text=item.reply(reported))) for item in items),
    )
