"""The leakage audit of a data set on its own: what is searched for, what is written, without folds."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cv_folds.data.cache import cache_root
from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import UsageError
from cv_folds.files import write_text
from cv_folds.leakage import Audit, lesions_given
from cv_folds.near_duplicates.decisions import read_decisions
from cv_folds.near_duplicates.settings import AuditSettings
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.shared_lesions import SharedLesions, find_shared_lesions
from hamcv.progress import search_progress
from reports.pair_sheet import render_pair_sheet

MERGED_WORDS = "These pairs carry different lesion ids and are kept on one side of every split. Reject what is no pair."
DOUBTFUL_WORDS = (
    "These pairs may show one lesion; they are not kept together until you accept them. Copy the rows of pairs.csv "
    "that you accept and those that you reject into two files, and name them with --accept and --reject, or in the "
    "settings audit.accept and audit.reject of a run."
)


@dataclass(frozen=True, kw_only=True)
class DataAudit:
    """What the audit of a data set found, and where it is written."""

    dataset: LesionDataset
    """What was looked at."""
    shared: SharedLesions
    """Merged and doubtful pairs."""
    files: tuple[Path, ...]
    """What was written; empty without a folder."""


def audit_data(
    dataset: LesionDataset, settings: AuditSettings, *, out: Path | None, jobs: int | None, console: Console
) -> DataAudit:
    """Search for images of one lesion under several lesion ids and write what was found.

    Parameters
    ----------
    dataset : LesionDataset
        What to look at.
    settings : AuditSettings
        Decisions of a person.
    out : Path or None
        Folder for ``audit.json``, the contact sheets and the table of pairs.
    jobs : int or None
        Threads; None for one a core.
    console : rich.console.Console
        For the progress, on stderr.

    Raises
    ------
    UsageError
        When `out` is a file.
    DataError
        When images cannot be decoded, identical ones have two diagnoses, or decisions are wrong.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file; name a folder")
    decisions = read_decisions(settings, dataset)
    with search_progress(console) as on_step:
        shared = find_shared_lesions(
            dataset,
            decisions,
            search=settings.near_duplicates,
            root=cache_root(),
            workers=jobs or cpu_cores(),
            on_step=on_step,
        )
    return DataAudit(dataset=dataset, shared=shared, files=() if out is None else _write(dataset, shared, out))


def _write(dataset: LesionDataset, shared: SharedLesions, out: Path) -> tuple[Path, ...]:
    audit = Audit(
        checks=(*shared.checks, lesions_given(dataset)), merged_pairs=shared.merged, doubtful_pairs=shared.doubtful
    )
    audit.write(out / "audit.json")
    write_text(out / "pairs.csv", _table(dataset, shared))
    sheets = {
        "merged.html": ("Pairs taken for one lesion", MERGED_WORDS, shared.merged),
        "doubtful.html": ("Doubtful pairs", DOUBTFUL_WORDS, shared.doubtful),
    }
    for name, (title, words, pairs) in sheets.items():
        write_text(out / name, render_pair_sheet(title, words, pairs, dataset, shared.found))
    return (out / "audit.json", out / "pairs.csv", *(out / name for name in sheets))


def _table(dataset: LesionDataset, shared: SharedLesions) -> str:
    labels = dict(zip(dataset.image_ids.tolist(), dataset.labels.tolist(), strict=True))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("image_a", "image_b", "lesion_a", "lesion_b", "diagnosis_a", "diagnosis_b", "score", "taken_for", "why")
    )
    for verdict, pairs in (("doubtful", shared.doubtful), ("merged", shared.merged)):
        for pair in pairs:
            diagnoses = (dataset.classes[labels[image]] for image in (pair.image_a, pair.image_b))
            names = (pair.image_a, pair.image_b, pair.lesion_a, pair.lesion_b)
            writer.writerow((*names, *diagnoses, pair.score, verdict, pair.why))
    return text.getvalue()
