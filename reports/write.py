"""Write the report files, of a run folder or of anything else that was scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cv_folds.errors import UsageError
from cv_folds.files import write_atomically, write_text
from ensemble.predictions import Predictions
from reports.content import build_document
from reports.document import Document, Figure
from reports.html import render_html
from reports.pdf import render_pdf
from reports.results import Evaluation
from reports.run_folder import read_run_folder


def write_report(
    run: Path,
    *,
    evaluation: Evaluation,
    predictions: Predictions,
    formats: Sequence[Literal["html", "pdf"]] = ("html", "pdf"),
) -> tuple[Path, ...]:
    """Write ``report.html``, ``report.pdf`` and ``figures/*.svg`` into a run folder.

    Parameters
    ----------
    run : Path
        The run folder; ``run.json``, ``audit.json``, ``folds.csv``, ``config.toml`` and the jobs' files are read.
    evaluation : Evaluation
        The scores that are shown.
    predictions : Predictions
        The out-of-fold probabilities they were computed from.
    formats : sequence of {"html", "pdf"}
        Which files to write; the figures are always written.

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
    """Write ``report.html``, ``report.pdf`` and ``figures/*.svg`` of any report into a folder.

    Parameters
    ----------
    folder : Path
        Made when missing; figures of an earlier report there are removed.
    document : Document
        What to write.
    formats : sequence of {"html", "pdf"}
        Which files; the figures are always written.

    Returns
    -------
    tuple of Path
        The report files, in the order of `formats`.
    """
    _write_figures(folder / "figures", document.figures())
    written: list[Path] = []
    for form in formats:
        path = folder / f"report.{form}"
        if form == "html":
            write_text(path, render_html(document))
        else:
            _write_bytes(path, render_pdf(document))
        written.append(path)
    return tuple(written)


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


def _write_bytes(path: Path, content: bytes) -> None:
    write_atomically(path, lambda partial: partial.write_bytes(content))


def _write_figures(folder: Path, figures: Sequence[Figure]) -> None:
    names = {figure.name for figure in figures}
    assert len(names) == len(figures)
    for figure in figures:
        write_text(folder / f"{figure.name}.svg", figure.svg)
    for old in folder.glob("*.svg"):
        # A figure of an earlier report, say of a model that is gone, would pass for one of this report.
        if old.stem not in names:
            old.unlink()
