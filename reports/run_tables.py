"""Tables of what was run on what: data, folds, leakage checks, settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cv_folds.arrays import IntArray, StrArray
from cv_folds.leakage import Audit, ImagePair
from reports.document import Cell, Column, Table
from reports.run_folder import RunFolder
from reports.score_tables import plain, whole
from reports.wording import count, percent

MOST_PAIRS = 40

STATUS = {"passed": "passed", "failed": "FAILED", "not_applicable": "not applicable", "skipped": "skipped"}


def class_counts(classes: Sequence[str], labels: IntArray, lesion_ids: StrArray) -> Table:
    """Return the number of images and lesions of every class, from the (n,) labels and lesions of the images."""
    images = np.bincount(labels, minlength=len(classes)).tolist()
    lesions = [len(np.unique(lesion_ids[labels == label])) for label in range(len(classes))]
    total = len(labels)
    every = len(np.unique(lesion_ids))
    rows = [
        (Cell(text=name), whole(n), Cell(text=percent(n / total, 1), value=n / total), whole(m))
        for name, n, m in zip(classes, images, lesions, strict=True)
    ]
    return Table(
        name="class-counts",
        caption="Images and lesions of each class.",
        columns=(
            Column(label="Class", numeric=False),
            Column(label="Images"),
            Column(label="Share of images"),
            Column(label="Lesions"),
        ),
        rows=(*rows, (Cell(text="all"), whole(total), Cell(text=percent(1, 1), value=1.0), whole(every))),
    )


def fold_counts(folder: RunFolder) -> Table:
    """Return what every fold holds."""
    rows = folder.folds.table()
    keys = [key for key in rows[0] if key != "fold"]
    word = "part" if folder.folds.holdout else "fold"
    return Table(
        name="fold-counts",
        caption=f"What each {word} holds: lesions, images, and images of each class.",
        columns=(
            Column(label=word.capitalize(), numeric=not folder.folds.holdout),
            *(Column(label=key.capitalize() if key in ("lesions", "images") else key) for key in keys),
        ),
        rows=tuple(
            (Cell(text=name), *(whole(row[key]) for key in keys))
            for name, row in zip(folder.folds.names, rows, strict=True)
        ),
    )


def audit_table(audit: Audit, *, holdout: bool) -> Table:
    """Return every leakage check with its outcome."""
    return Table(
        name="leakage-checks",
        caption=f"Checks for leakage between lesions and {'parts' if holdout else 'folds'}.",
        columns=tuple(
            Column(label=words, numeric=False)
            for words in ("Check", "What was checked", "If it fails", "Outcome", "Detail")
        ),
        rows=tuple(
            (
                Cell(text=check.code),
                Cell(text=check.title),
                Cell(text=check.severity),
                Cell(text=STATUS[check.status], best=check.status == "failed"),
                Cell(text=check.detail),
            )
            for check in audit.checks
        ),
    )


def pair_table(name: str, caption: str, pairs: Sequence[ImagePair]) -> Table:
    """Return pairs of images that look alike, at most 40 of them."""
    left_out = len(pairs) - MOST_PAIRS
    rest = f" The first {MOST_PAIRS}; {count(left_out)} more are in audit.json." if left_out > 0 else ""
    return Table(
        name=name,
        caption=caption + rest,
        columns=(
            *(Column(label=words, numeric=False) for words in ("Image", "Other image", "Lesion", "Other lesion")),
            Column(label="Score"),
        ),
        rows=tuple(
            (
                *(Cell(text=words) for words in (pair.image_a, pair.image_b, pair.lesion_a, pair.lesion_b)),
                plain(pair.score, 1),
            )
            for pair in pairs[:MOST_PAIRS]
        ),
    )


def facts_table(name: str, caption: str, facts: Sequence[tuple[str, str]], *, head: str = "What") -> Table:
    """Return names and values."""
    return Table(
        name=name,
        caption=caption,
        columns=(Column(label=head, numeric=False), Column(label="Value", numeric=False)),
        rows=tuple((Cell(text=key), Cell(text=value)) for key, value in facts),
    )


def settings_table(folder: RunFolder) -> Table:
    """Return every resolved setting."""
    # Of folders the name only: a report is passed on, and where the data lie on this machine is nobody's business.
    facts = [
        (name, setting_text(Path(value).name if name in ("data", "weights", "folds_file") else value))
        for name, value in folder.settings.items()
    ]
    return facts_table("settings", "Every setting of the run, resolved.", facts, head="Setting")


def setting_text(value: Any) -> str:
    """Write a TOML value as words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} = {setting_text(part)}" for key, part in value.items())
    if isinstance(value, list):
        between = "; " if any(isinstance(part, dict) for part in value) else ", "
        return between.join(setting_text(part) for part in value) or "none"
    return str(value)
