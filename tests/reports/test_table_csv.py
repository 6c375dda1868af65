"""Tables as CSV: every digit comes back, reasons are kept, and no field is a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.content import build_document
from reports.document import Cell, Column, Document, Table
from reports.run_folder import read_run_folder
from reports.score_tables import CLASS_METRICS, DECISION_METRICS
from reports.table_csv import guarded, table_csv
from reports.wording import METRICS
from reports.write import write_report

FORMULAS = ("=1+2", "+1+2", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+2", "-", "+", "=cmd|' /C calc'!A0")
HARMLESS = ("a=1", "", "nv", "-5", "+0.25", "-0.5", "1e3", "−0.1", "'=1")


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Any]) -> Any:
    return make_run(backbones=("resnet18",), n_folds=2, n_epochs=1, undefined=("df", "precision"))


@pytest.fixture(scope="module")
def document(run: Any) -> Document:
    return build_document(read_run_folder(run.path, run.evaluation.classes), run.evaluation, run.predictions)


def table_of(document: Document, name: str) -> pd.DataFrame:
    table = next(table for table in document.tables() if table.name == name)
    return pd.read_csv(io.StringIO(table_csv(table)), index_col=0, keep_default_na=False, na_values=[""])


def test_scores_and_intervals_come_back_to_the_last_digit(run: Any, document: Document) -> None:
    board = table_of(document, "leaderboard")
    assert list(board.index) == list(run.evaluation.models)
    for name, scores in run.evaluation.models.items():
        for metric in DECISION_METRICS:
            estimate, label = scores.overall[metric], METRICS[metric].label
            found = [float(board.loc[name, heading]) for heading in (label, f"{label} low", f"{label} high")]
            assert found == [estimate.value, estimate.low, estimate.high]
    assert list(board["Model detail"]) == [scores.kind for scores in run.evaluation.models.values()]
    classes = table_of(document, "classes-stack")
    for name, metrics in run.evaluation.models["stack"].per_class.items():
        assert classes.loc[name, "Images"] == metrics["support"].value
        for metric in set(CLASS_METRICS) - {"precision"}:
            assert classes.loc[name, METRICS[metric].label] == metrics[metric].value


def test_an_undefined_value_is_empty_and_says_why(document: Document) -> None:
    classes = table_of(document, "classes-stack")
    assert classes["Precision"].isna().sum() == 1
    assert pd.isna(classes.loc["df", "Precision"])
    assert classes.loc["df", "notes"] == "Precision: no image was given this class"
    assert classes["notes"].isna().sum() == len(classes) - 1


def test_counts_are_whole(document: Document) -> None:
    text = table_csv(next(table for table in document.tables() if table.name == "class-counts"))
    assert not any(row[1].endswith(".0") for row in csv.reader(io.StringIO(text)))


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_a_spreadsheet_would_run_is_guarded(text: str) -> None:
    table = Table(
        name="t",
        caption="c",
        columns=(Column(label=text, numeric=False), Column(label="n")),
        rows=((Cell(text=text, detail=text), Cell(text="−0.5", value=-0.5, note=text)),),
    )
    head, row = csv.reader(io.StringIO(table_csv(table), newline=""))
    assert head == [f"'{text}", f"'{text} detail", "n", "notes"]
    assert row == [f"'{text}", f"'{text}", "-0.5", f"n: {text}"]


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert guarded(text) == text


def test_every_table_and_picture_is_a_file_and_nothing_else_is(run: Any, document: Document) -> None:
    for stale in ("tables/classes-gone.csv", "tables/classes-gone.tex", "figures/roc-gone.pdf", "figures/roc-gone.svg"):
        path = run.path / stale
        path.parent.mkdir(exist_ok=True)
        path.write_text("old")
    mine = run.path / "tables" / "notes.txt"
    mine.write_text("of somebody else")
    write_report(run.path, evaluation=run.evaluation, predictions=run.predictions, formats=())
    first = content_of(run.path)
    assert set(first) == {
        *(f"tables/{table.name}.csv" for table in document.tables()),
        *(f"tables/{table.name}.tex" for table in document.tables() if table.citable),
        *(f"figures/{figure.name}.{form}" for figure in document.figures() for form in ("svg", "pdf")),
        "tables/notes.txt",
    }
    assert {"tables/leaderboard.tex", "tables/classes-stack.tex", "tables/differences-table.tex"} < set(first)
    assert first["tables/leaderboard.csv"].decode() == table_csv(
        next(table for table in document.tables() if table.name == "leaderboard")
    )
    for figure in document.figures():
        assert first[f"figures/{figure.name}.svg"].decode() == figure.svg
    write_report(run.path, evaluation=run.evaluation, predictions=run.predictions, formats=())
    assert content_of(run.path) == first


def content_of(run: Path) -> dict[str, bytes]:
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for folder in ("figures", "tables")
        for path in (run / folder).iterdir()
    }
