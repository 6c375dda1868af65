"""The leakage audit of a data set on its own: what is searched for, what is written, without folds."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cv_folds.data.dataset import LesionDataset
from cv_folds.errors import UsageError
from cv_folds.files import write_json, write_text
from cv_folds.leakage import Audit, lesions_given
from cv_folds.near_duplicates.settings import AuditSettings
from cv_folds.published_split import SplitColumns
from cv_folds.shared_lesions import SharedLesions
from cv_folds.split_audit import SplitAudit, audit_split_file
from hamcv.folding import group
from reports.pair_sheet import render_pair_sheet

MERGED_WORDS = "These pairs carry different lesion ids and are kept on one side of every split. Reject what is no pair."
DOUBTFUL_WORDS = (
    "These pairs may show one lesion; they are not kept together until you accept them. Copy the rows of pairs.csv "
    "that you accept and those that you reject into two files, and name them with --accept and --reject, or in the "
    "settings audit.accept and audit.reject of a run."
)


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What `hamcv data audit` is asked for."""

    out: Path | None
    """Folder for the results."""
    jobs: int | None
    """Threads; None for one a core."""
    folds: Path | None
    """A published split to look at too."""
    columns: SplitColumns
    """What is said about its table."""


@dataclass(frozen=True, kw_only=True)
class DataAudit:
    """What the audit of a data set found, and where it is written."""

    dataset: LesionDataset
    """What was looked at."""
    shared: SharedLesions
    """Merged and doubtful pairs."""
    split: SplitAudit | None
    """Of the published split; None without one."""
    files: tuple[Path, ...]
    """What was written; empty without a folder."""


def audit_data(dataset: LesionDataset, settings: AuditSettings, options: AuditOptions, console: Console) -> DataAudit:
    """Search for images of one lesion under several lesion ids, look at a split, and write what was found.

    Parameters
    ----------
    dataset : LesionDataset
        What to look at.
    settings : AuditSettings
        Whether to search; decisions of a person.
    options : AuditOptions
        What else.
    console : rich.console.Console
        For the progress, on stderr.

    Raises
    ------
    UsageError
        When `options.out` is a file.
    DataError
        When images cannot be decoded, identical ones have two diagnoses, decisions are wrong, or the table of the
        split cannot be understood.
    """
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise UsageError(f"--out {options.out}: is a file; name a folder")
    shared = group(dataset, settings, workers=options.jobs, console=console)
    split = None
    if options.folds is not None:
        near = shared.alike if settings.near_duplicates else None
        split = audit_split_file(options.folds, dataset, shared.groups, near, columns=options.columns)
    files = () if options.out is None else _write(dataset, shared, split, options.out)
    return DataAudit(dataset=dataset, shared=shared, split=split, files=files)


def _write(dataset: LesionDataset, shared: SharedLesions, split: SplitAudit | None, out: Path) -> tuple[Path, ...]:
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
    files = (out / "audit.json", out / "pairs.csv", *(out / name for name in sheets))
    if split is None:
        return files
    write_json(out / "split.json", split.to_json())
    return (*files, out / "split.json")


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
