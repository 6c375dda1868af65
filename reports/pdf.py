"""The report as a tagged PDF, set by typst without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib
import typst

from reports.document import Block, Cell, Document, Figure, Group, Table

WIDTH = re.compile(r'viewBox="0 0 ([\d.]+) ')
WIDE_WORDS = 24


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
        bytes: the only date inside is that of the run.
    """
    template = resources.files("reports").joinpath("templates", "report.typ").read_bytes()
    # The figures are measured by matplotlib in its own DejaVu Sans, so the page must set them in the same font.
    fonts = typst.Fonts(include_system_fonts=False, font_paths=[Path(matplotlib.get_data_path()) / "fonts" / "ttf"])
    return typst.compile(
        template,
        font_paths=fonts,
        sys_inputs={"data": json.dumps(document_json(document), ensure_ascii=False)},
        pdf_standards=["ua-1"],
        timestamp=document.date,
    )


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
            width = WIDTH.search(block.svg)
            assert width is not None
            picture = block.svg[block.svg.index("<svg") :]
            return {
                "kind": block.kind,
                "number": numbers[block.name],
                "caption": block.caption,
                "alt": block.alt,
                "svg": picture,
                "width": float(width[1]),
            }
        case _:
            return asdict(block)


def _table_json(table: Table) -> dict[str, Any]:
    notes = table.notes
    longest = [max((len(row[place].text) for row in table.rows), default=0) for place in range(len(table.columns))]
    return {
        "kind": table.kind,
        "caption": table.caption,
        "columns": [
            {"label": column.label, "numeric": column.numeric, "wide": not column.numeric and length > WIDE_WORDS}
            for column, length in zip(table.columns, longest, strict=True)
        ],
        "rows": [[_cell_json(cell, notes) for cell in row] for row in table.rows],
        "notes": list(notes),
    }


def _cell_json(cell: Cell, notes: tuple[str, ...]) -> dict[str, Any]:
    footnote = 0 if cell.note is None else notes.index(cell.note) + 1
    return {"text": cell.text, "detail": cell.detail, "best": cell.best, "footnote": footnote}
