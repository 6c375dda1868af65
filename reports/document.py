"""The report as data: sections of plain text, tables and figures that the HTML and the PDF writer both read.

Nothing here is markup. Every string is text and is escaped by whoever writes it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

_VIEW_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ')


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Running text."""

    text: str
    """The words."""
    title: str = ""
    """Words that open the paragraph, set in bold; may be empty."""
    kind: Literal["paragraph"] = field(default="paragraph", init=False)
    """Names the type for the templates."""


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]
    """One sentence or two each."""
    kind: Literal["bullets"] = field(default="bullets", init=False)
    """Names the type for the templates."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that a reader must not miss."""

    text: str
    """The words."""
    level: Literal["warning", "note"]
    """How loud it is."""
    kind: Literal["notice"] = field(default="notice", init=False)
    """Names the type for the templates."""


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """Text that is meant to be copied as a whole."""

    name: str
    """Unique short name, used as anchor."""
    label: str
    """What it is, for those who do not see that it is set apart."""
    text: str
    """The words; an empty line parts two paragraphs."""
    code: bool = False
    """True keeps every line and space, as in a file."""
    kind: Literal["excerpt"] = field(default="excerpt", init=False)
    """Names the type for the templates."""

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """The text without its empty lines."""
        return tuple(self.text.split("\n\n"))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table."""

    text: str
    """What is shown."""
    detail: str = ""
    """A second, smaller line, such as an interval."""
    behind: tuple[tuple[str, float], ...] = ()
    """The numbers of `detail` with every digit, each with its word: ``(("low", 0.25), ("high", 0.5))``."""
    value: float | None = None
    """The number behind `text` with every digit, for sorting and copying; None for words."""
    note: str | None = None
    """Why there is no number; becomes a footnote."""
    best: bool = False
    """True for the best point estimate of its column."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    label: str
    """Heading."""
    numeric: bool = True
    """True aligns to the right and sorts by number."""
    explain: str = ""
    """What the heading means, shown on hovering."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first column names the rows."""

    name: str
    """Unique short name."""
    caption: str
    """What the table shows."""
    columns: tuple[Column, ...]
    """Headings, left to right."""
    rows: tuple[tuple[Cell, ...], ...]
    """Cells, one a column."""
    citable: bool = False
    """True for the tables that belong in a paper: they are written as LaTeX, too."""
    kind: Literal["table"] = field(default="table", init=False)
    """Names the type for the templates."""

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.name

    @property
    def notes(self) -> tuple[str, ...]:
        """Distinct reasons of the cells, in reading order; the first is footnote 1."""
        return tuple(dict.fromkeys(cell.note for row in self.rows for cell in row if cell.note is not None))


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture with its words."""

    name: str
    """Unique short name; the file is ``figures/NAME.svg``."""
    caption: str
    """What is drawn and how to read it."""
    alt: str
    """What the picture says, for those who cannot see it."""
    svg: str
    """A whole SVG document."""
    kind: Literal["figure"] = field(default="figure", init=False)
    """Names the type for the templates."""

    @property
    def width(self) -> float:
        """Natural width in points, from the picture's view box."""
        size = _VIEW_BOX.search(self.svg)
        assert size is not None, self.name
        return float(size[1])


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A picture made of pixels."""

    name: str
    """Unique short name, safe as a file name."""
    jpeg: bytes
    """A whole JPEG file."""
    alt: str
    """What it shows, for those who cannot see it."""
    label: str
    """A few words below it."""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One case of a gallery: its pictures, and what is said of them."""

    title: str
    """What it is about."""
    lines: tuple[str, ...]
    """Further facts, one a line."""
    photos: tuple[Photo, ...]
    """Side by side."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures with words, counted as one figure."""

    name: str
    """Unique short name, used as anchor."""
    caption: str
    """What is shown and how to read it."""
    exhibits: tuple[Exhibit, ...]
    """In reading order."""
    kind: Literal["gallery"] = field(default="gallery", init=False)
    """Names the type for the templates."""


Part: TypeAlias = Paragraph | Bullets | Notice | Excerpt | Table | Figure | Gallery


@dataclass(frozen=True, kw_only=True)
class Group:
    """Blocks that belong together under a smaller heading; folded away on screen, printed in full."""

    title: str
    """Heading."""
    blocks: tuple[Part, ...]
    """What stands under it."""
    pairs: bool = False
    """True sets the blocks two in a row where there is room."""
    kind: Literal["group"] = field(default="group", init=False)
    """Names the type for the templates."""


Block: TypeAlias = Part | Group


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report with an entry in the contents list."""

    name: str
    """Unique short name, used as anchor."""
    title: str
    """Heading."""
    blocks: tuple[Block, ...]
    """What stands under it."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """The whole report."""

    title: str
    """Title of the report."""
    subtitle: str
    """Which run it is."""
    banner: str | None
    """Warning that stands on top and on every printed page; None when there is nothing to warn of."""
    date: datetime
    """When the run ended; the report has no other date, so that the same run gives the same bytes."""
    sections: tuple[Section, ...]
    """In reading order."""

    def numbers(self) -> dict[str, str]:
        """Return what every table and figure is cited as, by its name: ``Table 1``, ``Figure 3``."""
        cited: dict[str, str] = {}
        counts = {"table": 0, "figure": 0}
        for part in self.parts():
            if isinstance(part, Table | Figure | Gallery):
                word = "table" if isinstance(part, Table) else "figure"
                counts[word] += 1
                assert part.name not in cited, part.name
                cited[part.name] = f"{word.capitalize()} {counts[word]}"
        return cited

    def tables(self) -> tuple[Table, ...]:
        """Return every table in reading order."""
        return tuple(part for part in self.parts() if isinstance(part, Table))

    def figures(self) -> tuple[Figure, ...]:
        """Return every figure in reading order."""
        return tuple(part for part in self.parts() if isinstance(part, Figure))

    def photos(self) -> tuple[Photo, ...]:
        """Return every picture of every gallery in reading order."""
        galleries = (part for part in self.parts() if isinstance(part, Gallery))
        return tuple(photo for gallery in galleries for exhibit in gallery.exhibits for photo in exhibit.photos)

    def parts(self) -> Iterator[Part]:
        """Yield every block in reading order, those of a group one by one."""
        for section in self.sections:
            for block in section.blocks:
                yield from block.blocks if isinstance(block, Group) else (block,)
