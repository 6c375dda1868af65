"""The PDF report: whole, tagged, the same bytes for the same run, names never read as markup."""

from __future__ import annotations

import pickle
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.content import build_document
from reports.document import Bullets, Cell, Column, Document, Figure, Group, Notice, Paragraph, Table
from reports.pdf import document_json, render_pdf
from reports.run_folder import read_run_folder
from reports.summary import DEMO_BANNER
from reports.wording import number
from reports.write import write_report

SMALL = {"classes": ("df", "mel", "nv"), "backbones": ("resnet18", "resnet50"), "n_folds": 2, "n_epochs": 2}
HOSTILE = ("#panic()", "$x$ *b* _i_ `raw`", "#sys.inputs @ref <label>", "\\ // /* ] ) }")


def document_of(run: Any) -> Document:
    return build_document(read_run_folder(run.path, run.evaluation.classes), run.evaluation, run.predictions)


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Any]) -> Any:
    return make_run(**SMALL)


@pytest.fixture(scope="module")
def document(run: Any) -> Document:
    return document_of(run)


@pytest.fixture(scope="module")
def content(document: Document) -> bytes:
    return render_pdf(document)


def objects(content: bytes) -> bytes:
    """Return the file with its compressed streams unpacked, where tags and alternatives stand in the open."""
    unpacked = []
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL):
        try:
            unpacked.append(zlib.decompress(stream))
        except zlib.error:
            unpacked.append(stream)
    return content + b"\n".join(unpacked)


def words_of(content: bytes, folder: Path) -> str:
    path = folder / "report.pdf"
    path.write_bytes(content)
    done = subprocess.run(["pdftotext", "-layout", str(path), "-"], capture_output=True, check=True, text=True)
    return done.stdout


needs_pdftotext = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="reads the text with pdftotext")


def test_it_is_a_tagged_pdf_with_title_language_and_date(content: bytes) -> None:
    assert content.startswith(b"%PDF-1.")
    assert content.rstrip().endswith(b"%%EOF")
    inside = objects(content)
    assert b"pdfuaid:part>1<" in inside
    assert b"/StructTreeRoot" in inside
    assert b"Cross-validation report: made-up: HAM10000, 2 folds" in inside
    assert b"2025-03-01T12:07:30" in inside


def test_every_figure_has_its_text_alternative(document: Document, content: bytes) -> None:
    assert len(re.findall(rb"/Alt\b", objects(content))) >= len(document.figures()) >= 10


def test_the_same_run_gives_the_same_bytes(run: Any, content: bytes) -> None:
    assert render_pdf(document_of(run)) == content


def test_the_document_reaches_the_template_whole(run: Any, document: Document) -> None:
    data = document_json(document)
    tables = {
        block["number"]: block
        for section in data["sections"]
        for part in section["blocks"]
        for block in (part["blocks"] if part["kind"] == "group" else [part])
        if block["kind"] == "table"
    }
    board = tables[document.numbers()["leaderboard"]]
    assert [row[0]["text"] for row in board["rows"]] == list(run.evaluation.models)
    values = [scores.overall["macro_f1"].value for scores in run.evaluation.models.values()]
    assert [row[1]["text"] for row in board["rows"]] == [number(value) for value in values]


def test_names_are_never_markup(make_run: Callable[..., Any]) -> None:
    made = make_run(classes=HOSTILE, backbones=("resnet18",), n_folds=2, n_epochs=1, data_name=HOSTILE[0])
    assert render_pdf(document_of(made)).startswith(b"%PDF-")


def test_names_in_letters_that_the_fonts_lack(make_run: Callable[..., Any]) -> None:
    made = make_run(classes=("病変", "bell\x07"), backbones=("resnet18",), n_folds=2, n_epochs=1)
    content = render_pdf(document_of(made))
    assert content.startswith(b"%PDF-")
    assert b"pdfuaid:part" not in objects(content)


def small_document(document: Document, *blocks: Any) -> Document:
    section = replace(document.sections[0], blocks=blocks)
    return replace(document, sections=(section,))


@pytest.mark.parametrize("markup", ["#panic()", "$", "*", "= x", "- x", "```", "@x", "<x>", "\\", "//", "/*", "]"])
def test_every_kind_of_block_takes_any_text(document: Document, markup: str) -> None:
    figure = Figure(name="f", caption=markup, alt=markup, svg=document.figures()[0].svg)
    cells = (Cell(text=markup, detail=markup), Cell(text="1", value=1.0, note=markup, best=True))
    table = Table(
        name="t", caption=markup, columns=(Column(label=markup, numeric=False), Column(label="n")), rows=(cells,)
    )
    blocks = (
        Paragraph(text=markup, title=markup),
        Bullets(items=(markup,)),
        Notice(text=markup, level="warning"),
        figure,
        Group(title=markup, blocks=(table,)),
    )
    changed = replace(small_document(document, *blocks), title=markup, subtitle=markup, banner=markup)
    assert render_pdf(changed).startswith(b"%PDF-")


def test_a_table_too_wide_for_the_page_still_keeps_within_it(document: Document) -> None:
    columns = (Column(label="Class", numeric=False), *(Column(label=f"a_heading_of_{n}_words") for n in range(14)))
    row = (Cell(text="averylongnamewithoutanyplacetobreak" * 3), *(Cell(text="0.123", detail="[0.111, 0.222]"),) * 14)
    table = Table(name="t", caption="Wide.", columns=columns, rows=(row,))
    assert b"/Type /Page" in render_pdf(small_document(document, table)).replace(b"/Type/Page", b"/Type /Page")


def test_a_broken_template_would_be_noticed(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.pdf.document_json", lambda _: {"title": "no sections"})
    with pytest.raises(subprocess.CalledProcessError):
        render_pdf(document)


@needs_pdftotext
def test_the_text_holds_scores_banner_and_names(make_run: Callable[..., Any], tmp_path: Path) -> None:
    made = make_run(demo=True, weights="none", classes=("#panic()", "b", "nv"), n_folds=2, n_epochs=1)
    text = words_of(render_pdf(document_of(made)), tmp_path)
    pages = text.rstrip("\f\n").split("\f")
    assert all(DEMO_BANNER in page for page in pages)
    assert f"1 of {len(pages)}" in pages[0]
    assert "trained from scratch" in " ".join(pages[0].split())
    assert "#panic()" in text
    for scores in made.evaluation.models.values():
        assert number(scores.overall["macro_f1"].value) in text
        assert number(scores.per_class["b"]["auc"].value) in text


def test_write_report_writes_what_is_asked(make_run: Callable[..., Any]) -> None:
    made = make_run(**SMALL)
    written = write_report(made.path, evaluation=made.evaluation, predictions=made.predictions, formats=("pdf",))
    assert written == (made.path / "report.pdf",)
    assert not (made.path / "report.html").exists()
    assert (made.path / "figures" / "roc.svg").is_file()
    assert written[0].read_bytes().startswith(b"%PDF-")


def test_typst_stays_out_of_the_process_that_asks_for_the_file(document: Document) -> None:
    # What typst has laid out once stays in memory: hundreds of MiB a report.
    code = (
        "import pickle, sys; from reports.pdf import render_pdf; "
        "render_pdf(pickle.load(sys.stdin.buffer)); print('typst' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(document), capture_output=True, check=True)
    assert answer.stdout.strip() == b"False"
