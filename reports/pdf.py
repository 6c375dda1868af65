"""The report and its figures as tagged PDFs, set by typst without a network."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.ft2font import FT2Font

from reports.document import Block, Cell, Document, Exhibit, Figure, Gallery, Group, Photo, Table
from reports.typeset import Sheet, TypesetJob, typeset

FONT_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FIGURE_FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
PROSE = 40
BREAKABLE = 26
"""Words with more letters may be broken over lines, as in report.typ."""
TOGETHER = 40
"""Lines of a table that is not divided between pages; a page has room for about 55."""


def render_pdf(document: Document) -> bytes:
    """Return the whole file.

    Parameters
    ----------
    document : Document
        What to set. Its strings reach typst as JSON and stay text.

    Returns
    -------
    bytes
        PDF 1.7 after PDF/UA-1 (tagged, with a text alternative for every figure). The same document gives the same
        bytes on every machine: the only date inside is that of the run, the only fonts are those of typst and
        matplotlib. Names in letters that these fonts lack are set in the machine's fonts, and the file then does
        not claim PDF/UA-1, which forbids letters without a shape.
    """
    sheet = _sheet("report.typ", document_json(document), _letters())
    (content,) = _typeset([sheet], document.date, document.photos())
    return content


def render_figures(document: Document) -> dict[str, bytes]:
    """Return every figure by its name, as a tagged PDF of the picture's size; see `render_pdf` for what it promises."""
    figures, letters = document.figures(), _letters()
    if not figures:
        return {}
    sheets = [_sheet("figure.typ", _figure_json(figure) | {"title": figure.caption}, letters) for figure in figures]
    return dict(zip((figure.name for figure in figures), _typeset(sheets, document.date), strict=True))


def _sheet(template: str, content: dict[str, Any], letters: Collection[int]) -> Sheet:
    data = json.dumps(content, ensure_ascii=False)
    common = all(ord(letter) in letters for letter in set(data))
    source = resources.files("reports").joinpath("templates", template).read_text(encoding="utf-8")
    return Sheet(template=source, data=data, machine_fonts=not common, standards=["ua-1"] if common else [])


def _typeset(sheets: Sequence[Sheet], date: datetime, photos: Sequence[Photo] = ()) -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        # The root is all that typst could read; the templates read nothing but the pictures of galleries there.
        for photo in photos:
            Path(folder, _photo_file(photo)).write_bytes(photo.jpeg)
        fonts = _fonts(Path(folder))
        return typeset(TypesetJob(sheets=sheets, root=folder, fonts=fonts, date=date.isoformat()))


def _photo_file(photo: Photo) -> str:
    return f"{photo.name}.jpg"


def _letters() -> Collection[int]:
    """Return the code points of the font that stands in for all others."""
    return FT2Font(str(FONT_FOLDER / FIGURE_FONTS[0])).get_charmap().keys()


def _fonts(folder: Path) -> str:
    """Put the font that matplotlib measured the figures in into a folder, for typst beside its own.

    Not the whole folder of matplotlib: its last-resort font would replace every label with one unknown letter.
    """
    for name in FIGURE_FONTS:
        shutil.copy(FONT_FOLDER / name, folder)
    return str(folder)


def document_json(document: Document) -> dict[str, Any]:
    """Return the document as the template reads it."""
    numbers = document.numbers()
    return {
        "title": document.title,
        "subtitle": document.subtitle,
        "description": document.banner or document.title,
        "date": f"{document.date:%Y-%m-%d %H:%M %Z}".strip(),
        "banner": document.banner,
        "sections": [
            {"title": section.title, "blocks": [_block_json(block, numbers) for block in section.blocks]}
            for section in document.sections
        ],
    }


def _block_json(block: Block, numbers: Mapping[str, str]) -> dict[str, Any]:
    match block:
        case Group():
            inner = [_block_json(part, numbers) for part in block.blocks]
            return {"kind": block.kind, "title": block.title, "pairs": block.pairs, "blocks": inner}
        case Table():
            return _table_json(block) | {"number": numbers[block.name]}
        case Figure():
            return _figure_json(block) | {"number": numbers[block.name]}
        case Gallery():
            return {
                "kind": block.kind,
                "number": numbers[block.name],
                "caption": block.caption,
                "exhibits": [_exhibit_json(exhibit) for exhibit in block.exhibits],
            }
        case _:
            return asdict(block)


def _figure_json(figure: Figure) -> dict[str, Any]:
    return {
        "kind": figure.kind,
        "caption": figure.caption,
        "alt": figure.alt,
        "svg": figure.svg[figure.svg.index("<svg") :],
        "width": figure.width,
    }


def _exhibit_json(exhibit: Exhibit) -> dict[str, Any]:
    photos = [{"file": _photo_file(photo), "alt": photo.alt, "label": photo.label} for photo in exhibit.photos]
    return {"title": exhibit.title, "lines": list(exhibit.lines), "photos": photos}


def _table_json(table: Table) -> dict[str, Any]:
    notes = table.notes
    return {
        "kind": table.kind,
        "caption": table.caption,
        # Sentences may wrap; numbers and names are set smaller instead.
        "prose": (prose := any(len(cell.text) > PROSE for row in table.rows for cell in row)),
        "divisible": prose or sum(_lines(row) for row in table.rows) + len(notes) > TOGETHER,
        "columns": [{"label": column.label, "numeric": column.numeric} for column in table.columns],
        "rows": [[_cell_json(cell, notes) for cell in row] for row in table.rows],
        "notes": list(notes),
    }


def _lines(row: tuple[Cell, ...]) -> int:
    """Return the lines that a row of names and numbers takes at most."""
    return max(math.ceil(len(cell.text) / BREAKABLE) + math.ceil(len(cell.detail) / BREAKABLE) for cell in row)


def _cell_json(cell: Cell, notes: tuple[str, ...]) -> dict[str, Any]:
    footnote = 0 if cell.note is None else notes.index(cell.note) + 1
    return {"text": cell.text, "detail": cell.detail, "best": cell.best, "footnote": footnote}
