"""The pages of the PDF as poppler reads them: nothing cut off, every cell there, drawn in vectors, numbered, listed."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.content import build_document
from reports.document import Cell, Column, Document, Table
from reports.evaluation import evaluate
from reports.pdf import render_pdf
from reports.run_folder import read_run_folder
from reports.settings import ReportSettings

pytestmark = pytest.mark.skipif(
    shutil.which("pdftotext") is None, reason="needs poppler (Debian: apt-get install poppler-utils)"
)

MILLIMETRE = 72 / 25.4
MARGIN = 15 * MILLIMETRE
FOOT = 18 * MILLIMETRE
WORD = "{http://www.w3.org/1999/xhtml}word"


@dataclass(frozen=True)
class Word:
    text: str
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Page:
    width: float
    height: float
    words: tuple[Word, ...]


def poppler(tool: str, *arguments: str) -> str:
    return subprocess.run([tool, *arguments], capture_output=True, check=True, text=True).stdout


def pages_of(path: Path) -> list[Page]:
    root = ElementTree.fromstring(poppler("pdftotext", "-bbox", str(path), "-"))
    return [
        Page(
            float(page.attrib["width"]),
            float(page.attrib["height"]),
            tuple(
                Word(word.text or "", *(float(word.attrib[key]) for key in ("xMin", "xMax", "yMin", "yMax")))
                for word in page.iter(WORD)
            ),
        )
        for page in root.iter("{http://www.w3.org/1999/xhtml}page")
    ]


@pytest.fixture(scope="module")
def document(make_run: Callable[..., Any]) -> Document:
    made = make_run(backbones=("resnet18", "resnet50"), n_folds=2, n_epochs=2)
    settings = ReportSettings(resamples=100)
    scores = evaluate(made.predictions, demo=False, settings=settings, generator=np.random.default_rng(0))
    return build_document(read_run_folder(made.path, scores.classes), scores, made.predictions)


@pytest.fixture(scope="module")
def pdf(document: Document, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pdf") / "report.pdf"
    path.write_bytes(render_pdf(document))
    return path


def refuse_clipped(tables: Sequence[Table], pages: list[Page], subtitle: str) -> None:
    """Every word keeps within the margins, and every cell is there: poppler drops words that are off the page."""
    for number, page in enumerate(pages, start=1):
        outside = [
            word
            for word in page.words
            if word.left < MARGIN - 1
            or word.right > page.width - MARGIN + 1
            or not 0 <= word.top < word.bottom <= page.height
        ]
        assert outside == [], number
        foot = " ".join(word.text for word in page.words if word.bottom > page.height - FOOT + 1)
        assert re.fullmatch(rf"{re.escape(subtitle)} {number} of {len(pages)}", foot), foot
    # Long words are broken over lines.
    text = "".join(word.text for page in pages for word in page.words).replace("\u200b", "")
    for table in tables:
        for row in table.rows:
            for cell in row:
                for word in f"{cell.text} {cell.detail}".split():
                    assert word in text or len(word) > 26, (table.name, word)
    tails = [row[-1].text.split()[-1][-12:] for table in tables for row in table.rows if row[-1].text]
    assert [tail for tail in tails if tail not in text] == []


def test_no_table_is_clipped(document: Document, pdf: Path) -> None:
    assert len(document.tables()) > 20
    refuse_clipped(document.tables(), pages_of(pdf), document.subtitle)


WORDS = " ".join(["a sentence of many words that needs more than a line of its cell"] * 4)


@pytest.mark.parametrize(
    ("n_rows", "text", "detail"),
    [
        (12, WORDS, ""),
        (24, WORDS, ""),
        (24, "0.123", "[0.111, 0.222]"),
        (24, "a_name_of_letters" * 2, ""),
        (90, "0.1", ""),
    ],
)
def test_a_table_that_is_higher_than_a_page_goes_on_over_the_next(
    document: Document, tmp_path: Path, n_rows: int, text: str, detail: str
) -> None:
    columns = tuple(Column(label=label, numeric=False) for label in ("First", "What", "Which", "Last"))
    rows = tuple(
        tuple(Cell(text=words, detail=detail) for words in (f"first-{row}", text, text, f"last-{row}"))
        for row in range(n_rows)
    )
    # Two pages at least, in a part of the page that other things have left.
    tables = tuple(Table(name=f"high-{place}", caption="High.", columns=columns, rows=rows) for place in range(2))
    section = replace(document.sections[0], blocks=tables)
    (tmp_path / "high.pdf").write_bytes(render_pdf(replace(document, sections=(section,))))
    pages = pages_of(tmp_path / "high.pdf")
    refuse_clipped(tables, pages, document.subtitle)
    assert len(pages) > 1


def test_a_wide_table_keeps_within_the_page(document: Document, tmp_path: Path) -> None:
    columns = (Column(label="Class", numeric=False), *(Column(label=f"a_heading_of_{n}_words") for n in range(14)))
    numbers = tuple(Cell(text=f"0.{100 + n}", detail=f"[0.{200 + n}, 0.{300 + n}]") for n in range(14))
    table = Table(
        name="wide",
        caption="Wide.",
        columns=columns,
        rows=((Cell(text="averylongnamewithoutanyplacetobreak" * 3), *numbers),),
    )
    section = replace(document.sections[0], blocks=(table,))
    (tmp_path / "wide.pdf").write_bytes(render_pdf(replace(document, sections=(section,))))
    refuse_clipped([table], pages_of(tmp_path / "wide.pdf"), document.subtitle)


def test_it_is_tagged_titled_a4_and_of_one_size(document: Document, pdf: Path) -> None:
    facts = dict(re.findall(r"^([\w ]+): +(.*)$", poppler("pdfinfo", str(pdf)), re.MULTILINE))
    assert facts["Tagged"] == "yes"
    assert facts["Title"] == f"{document.title}: {document.subtitle}"
    assert facts["Suspects"] == facts["Encrypted"] == facts["JavaScript"] == "no"
    assert {(round(page.width), round(page.height)) for page in pages_of(pdf)} == {(595, 842)}


def test_every_page_has_its_number(pdf: Path) -> None:
    pages = pages_of(pdf)
    for number, page in enumerate(pages, start=1):
        foot = sorted((word for word in page.words if word.bottom > page.height - MARGIN), key=lambda word: word.left)
        assert [word.text for word in foot[-3:]] == [str(number), "of", str(len(pages))]


def test_the_contents_list_names_the_page_of_every_section(document: Document, pdf: Path) -> None:
    pages = [" ".join(page.split()) for page in poppler("pdftotext", str(pdf), "-").split("\f")]
    listed = " ".join(pages[:2]).partition(" Contents ")[2]
    for section in document.sections:
        found = re.search(rf"{re.escape(section.title)}[. \u2060]*(\d+)", listed)
        assert found is not None, section.title
        assert section.title in pages[int(found[1]) - 1]


def test_bookmarks_and_headings_are_tagged(document: Document, pdf: Path) -> None:
    tree = poppler("pdfinfo", "-struct-text", str(pdf))
    assert len(re.findall(r"^\s*H1 ", tree, re.MULTILINE)) >= len(document.sections)
    assert len(re.findall(r"^\s*Table\b", tree, re.MULTILINE)) == len(document.tables())
    assert len(re.findall(r"^\s*Figure\b", tree, re.MULTILINE)) == len(document.figures())
    heads = sum(len(table.columns) for table in document.tables())
    assert len(re.findall(r"^\s*TH\b", tree, re.MULTILINE)) >= heads


def test_pictures_are_vectors(pdf: Path) -> None:
    # Two lines of heading, then a line an image.
    assert len(poppler("pdfimages", "-list", str(pdf)).splitlines()) == 2


def test_all_letters_have_a_meaning_and_a_font_inside(pdf: Path) -> None:
    _head, _rule, *fonts = poppler("pdffonts", str(pdf)).splitlines()
    assert fonts
    # Embedded, a subset, with a table of the letters that it stands for; then the object's two numbers.
    assert [font for font in fonts if font.split()[-5:-2] != ["yes"] * 3] == []
