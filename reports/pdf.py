"""The report as a tagged PDF, set by typst without a network."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.ft2font import FT2Font

from reports.document import Block, Cell, Document, Figure, Group, Table
from reports.typeset import TypesetJob, typeset

FONT_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FIGURE_FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
PROSE = 40


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
    template = resources.files("reports").joinpath("templates", "report.typ").read_text(encoding="utf-8")
    data = json.dumps(document_json(document), ensure_ascii=False)
    letters = _letters()
    common = all(ord(letter) in letters for letter in set(data))
    with tempfile.TemporaryDirectory() as folder:
        # The root is all that typst could read; the template reads nothing.
        return typeset(
            TypesetJob(
                template=template,
                root=folder,
                fonts=_fonts(Path(folder)),
                machine_fonts=not common,
                data=data,
                standards=["ua-1"] if common else [],
                date=document.date.isoformat(),
            )
        )


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
            picture = block.svg[block.svg.index("<svg") :]
            return {
                "kind": block.kind,
                "number": numbers[block.name],
                "caption": block.caption,
                "alt": block.alt,
                "svg": picture,
                "width": block.width,
            }
        case _:
            return asdict(block)


def _table_json(table: Table) -> dict[str, Any]:
    notes = table.notes
    return {
        "kind": table.kind,
        "caption": table.caption,
        # Sentences may wrap; numbers and names are set smaller instead.
        "prose": any(len(cell.text) > PROSE for row in table.rows for cell in row),
        "columns": [{"label": column.label, "numeric": column.numeric} for column in table.columns],
        "rows": [[_cell_json(cell, notes) for cell in row] for row in table.rows],
        "notes": list(notes),
    }


def _cell_json(cell: Cell, notes: tuple[str, ...]) -> dict[str, Any]:
    footnote = 0 if cell.note is None else notes.index(cell.note) + 1
    return {"text": cell.text, "detail": cell.detail, "best": cell.best, "footnote": footnote}
