"""Tables as LaTeX: the report's numbers, whole rows, balanced braces, and names that are never commands."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.content import build_document
from reports.document import Cell, Column, Document, Table
from reports.run_folder import read_run_folder
from reports.table_latex import escaped, table_latex

HOSTILE = (
    "\\input{/etc/passwd}",
    "a & b % c $ d # e _ f",
    '{~^} <x> | "q" `',
    "[0.1] * \\\\",
    "a--b '' ---",
    "^^5cx\x07",
)


@pytest.fixture(scope="module")
def document(make_run: Callable[..., Any]) -> Document:
    made = make_run(
        classes=HOSTILE, backbones=("resnet18",), n_folds=2, n_epochs=1, undefined=(HOSTILE[0], "precision")
    )
    return build_document(read_run_folder(made.path, made.evaluation.classes), made.evaluation, made.predictions)


@pytest.fixture(scope="module")
def citable(document: Document) -> list[Table]:
    return [table for table in document.tables() if table.citable]


def rows_of(text: str) -> list[str]:
    body = text.partition("\\midrule\n")[2].partition("\n\\bottomrule")[0]
    return body.split("\n")


def cells_of(row: str) -> list[str]:
    assert row.endswith(r" \\")
    return re.split(r"(?<!\\)&", row.removesuffix(r" \\"))


def depth(text: str) -> int:
    """Return the depth of braces at the end; that of no place is below zero."""
    level = 0
    for brace in re.findall(r"(?<!\\)(?:\\\\)*([{}])", text):
        level += 1 if brace == "{" else -1
        assert level >= 0
    return level


def test_the_main_tables_are_written(citable: list[Table]) -> None:
    names = {table.name for table in citable}
    assert {"leaderboard", "probability-scores", "differences-table"} <= names
    assert {f"classes-{model}" for model in ("resnet18", "soft_vote", "stack")} <= names


def test_every_row_is_whole_and_shows_what_the_report_shows(citable: list[Table]) -> None:
    for table in citable:
        text = table_latex(table)
        layout = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
        assert layout is not None
        assert len(layout[1]) == len(table.columns)
        rows = rows_of(text)
        assert len(rows) == len(table.rows)
        for row, cells in zip(rows, table.rows, strict=True):
            fields = cells_of(row)
            assert len(fields) == len(cells)
            for field, cell in zip(fields, cells, strict=True):
                assert escaped(cell.text) in field
                assert escaped(cell.detail) in field
                assert (r"\textbf{" in field) == cell.best


def test_braces_and_environments_are_balanced(citable: list[Table]) -> None:
    for table in citable:
        text = table_latex(table)
        assert depth(text) == 0
        stack: list[str] = []
        for kind, name in re.findall(r"(?<!\\)\\(begin|end)\{(\w+)\}", text):
            if kind == "begin":
                stack.append(name)
            else:
                assert stack.pop() == name
        assert stack == []
        assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_sign_of_a_name_is_a_command(name: str) -> None:
    written = escaped(name)
    assert depth(written) == 0
    # What is left when the commands that stand for signs are taken out has no meaning of its own.
    signs = r"\\text(backslash|asciitilde|asciicircum|less|greater|bar)\{\}|\\[{}&%$#_]|\{(''|`|\[|\]|\*)\}|\{\}"
    rest = re.sub(signs, "", written)
    assert not re.search(r"[\\{}&%$#_~^<>|\"`\[\]*]", rest)
    assert rest.isprintable()


def test_dashes_and_quotes_are_not_joined() -> None:
    assert escaped("a--b---c") == "a-{}-b-{}-{}-c"
    assert escaped("'' \N{MINUS SIGN}1\N{NARROW NO-BREAK SPACE}000 – 5 %") == r"'{}' $-$1\,000 -- 5 \%"


def test_notes_stand_below_the_table(citable: list[Table]) -> None:
    table = next(table for table in citable if table.name == "classes-stack")
    text = table_latex(table)
    assert text.count("$^{1}$") == 2
    assert text.rstrip().endswith("no image was given this class\n\\end{table}")


@pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="needs LaTeX (Debian: apt-get install texlive-latex-recommended)"
)
def test_latex_sets_them(citable: list[Table], tmp_path: Path) -> None:
    odd = Table(
        name="odd",
        caption=" ".join(HOSTILE),
        columns=(Column(label=HOSTILE[1], numeric=False), Column(label=HOSTILE[3]), Column(label="n")),
        rows=tuple(
            (Cell(text=name, detail=name), Cell(text=name, note=name), Cell(text="[1", value=1.0)) for name in HOSTILE
        ),
    )
    body = "\n".join(table_latex(table) for table in (*citable, odd))
    document = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n" + body + "\\end{document}\n"
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
