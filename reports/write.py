"""Write the report files, of a run folder or of anything else that was scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from cv_folds.errors import UsageError
from cv_folds.files import write_atomically, write_text
from ensemble.predictions import Predictions
from reports.content import build_document
from reports.document import Document
from reports.html import render_html
from reports.pdf import render_figures, render_pdf
from reports.results import Evaluation
from reports.run_folder import read_run_folder
from reports.table_csv import table_csv
from reports.table_latex import table_latex

WRITTEN = frozenset({".svg", ".pdf", ".csv", ".tex"})


def write_report(
    run: Path,
    *,
    evaluation: Evaluation,
    predictions: Predictions,
    formats: Sequence[Literal["html", "pdf"]] = ("html", "pdf"),
) -> tuple[Path, ...]:
    """Write ``report.html``, ``report.pdf``, figures and tables into a run folder; see `write_document`.

    Parameters
    ----------
    run : Path
        The run folder; ``run.json``, ``audit.json``, ``folds.csv``, ``config.toml`` and the jobs' files are read.
    evaluation : Evaluation
        The scores that are shown.
    predictions : Predictions
        The out-of-fold probabilities they were computed from.
    formats : sequence of {"html", "pdf"}
        Which reports to write; figures and tables are always written.

    Returns
    -------
    tuple of Path
        The report files, in the order of `formats`.

    Raises
    ------
    UsageError
        When `run` is no run folder, or has failed jobs.
    DataError
        When one of its files is missing or damaged, or the parts do not belong together.
    """
    return write_document(
        run, build_document(read_run_folder(run, evaluation.classes), evaluation, predictions), formats
    )


def write_document(folder: Path, document: Document, formats: Sequence[Literal["html", "pdf"]]) -> tuple[Path, ...]:
    """Write ``report.html``, ``report.pdf``, and every figure and table of any report as files of their own.

    Figures are ``figures/NAME.svg`` and ``figures/NAME.pdf``, tables ``tables/NAME.csv``, and ``tables/NAME.tex`` those
    that belong in a paper. All are of the same document, so that no number of one file differs from another's.

    Parameters
    ----------
    folder : Path
        Made when missing; figures and tables of an earlier report there are removed, and its file of a format that is
        not written now, whose numbers may be others.
    document : Document
        What to write.
    formats : sequence of {"html", "pdf"}
        Which reports; figures and tables are always written.

    Returns
    -------
    tuple of Path
        The report files, in the order of `formats`.
    """
    _write_all(folder / "figures", figure_files(document))
    _write_all(folder / "tables", table_files(document))
    written: list[Path] = []
    for form in formats:
        path = folder / f"report.{form}"
        if form == "html":
            write_text(path, render_html(document))
        else:
            _write_bytes(path, render_pdf(document))
        written.append(path)
    for path in (folder / "report.html", folder / "report.pdf"):
        if path not in written:
            path.unlink(missing_ok=True)
    return tuple(written)


def figure_files(document: Document) -> dict[str, bytes]:
    """Return the content of every file below ``figures`` by its name."""
    pictures = {f"{figure.name}.svg": figure.svg.encode() for figure in document.figures()}
    return pictures | {f"{name}.pdf": content for name, content in render_figures(document).items()}


def table_files(document: Document) -> dict[str, bytes]:
    """Return the content of every file below ``tables`` by its name."""
    tables = document.tables()
    return {f"{table.name}.csv": table_csv(table).encode() for table in tables} | {
        f"{table.name}.tex": table_latex(table).encode() for table in tables if table.citable
    }


def refuse_other_content(folder: Path, *, marker: str) -> None:
    """Raise `UsageError` unless a folder is new, empty, or holds `marker`, which an earlier report left there.

    Writing removes figures of an earlier report; it shall not meet those of somebody else.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder}: is a file; name a folder")
    content = sorted(path.name for path in folder.iterdir())
    if content and (marker not in content or "run.json" in content):
        raise UsageError(
            f"{folder}: holds {', '.join(content[:5])} and no earlier evaluation; name a new or empty folder"
        )


def _write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    write_atomically(path, lambda partial: partial.write_bytes(content), sync=sync)


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        _write_bytes(folder / name, content, sync=False)
    for old in folder.glob("*"):
        # What an earlier report left, say of a model that is gone, would pass for a part of this report.
        if old.suffix in WRITTEN and old.name not in files:
            old.unlink()
