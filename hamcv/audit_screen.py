"""What `hamcv data audit` prints about pairs of images."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cv_folds.leakage import ImagePair
from hamcv.auditing import DataAudit
from hamcv.screens import show_demo_banner
from hamcv.split_screen import show_split_audit

MOST = 15
"""Pairs that fit on a screen; the files have all."""


def show_audit(audit: DataAudit, console: Console) -> None:
    """Print what was merged and what a person should look at."""
    dataset, shared = audit.dataset, audit.shared
    if dataset.demo:
        show_demo_banner(console)

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    say(f"{dataset.root}: {len(dataset)} images of {dataset.n_lesions} lesions")
    for check in shared.checks:
        if check.status != "not_applicable":
            style = "yellow" if check.status in ("failed", "skipped") and check.severity != "note" else None
            say(f"{check.title} {check.detail}", style)
    n_groups = len(set(shared.groups.tolist()))
    say(f"{dataset.n_lesions} lesion ids are {n_groups} groups")
    _show_pairs("Merged", shared.merged, console)
    _show_pairs("Doubtful", shared.doubtful, console)
    if audit.split is not None:
        show_split_audit(audit.split, console)


def _show_pairs(title: str, pairs: Sequence[ImagePair], console: Console) -> None:
    if not pairs:
        return
    rest = f", the first {MOST} of {len(pairs)}" if len(pairs) > MOST else ""
    console.print(f"{title}{rest}:", markup=False, highlight=False)
    table = Table("image", "other image", "score", "why", box=SIMPLE_HEAD, pad_edge=False)
    for pair in pairs[:MOST]:
        table.add_row(pair.image_a, pair.image_b, f"{pair.score:.3f}", pair.why)
    console.print(table)
