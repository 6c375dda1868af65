"""What `hamcv compare` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hamcv.screens import LEADERBOARD, estimate_text, show_demo_banner

if TYPE_CHECKING:
    # With it come scipy and scikit-learn, which other commands shall not wait for.
    from reports.run_comparison import RunComparison


def show_comparison(comparison: RunComparison, console: Console) -> None:
    """Print the scores of the runs and what the resamples of lesions show."""
    if comparison.demo:
        show_demo_banner(console)
    how = "paired by image id" if comparison.paired else "without pairs"
    console.print(
        f"{len(comparison.runs)} runs, {how}; 95 % intervals from a bootstrap over lesions",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for mismatch in comparison.mismatches:
        console.print(
            f"note: {mismatch.first} and {mismatch.other} differ: {mismatch.words}",
            style="yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for common in comparison.shared:
        if common.lesions:
            console.print(
                f"note: {common.first} and {common.other} have {common.lesions} lesion ids in common; without pairs, "
                "intervals and p-values are as a rule too large",
                style="yellow",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    console.print(_scores(comparison))
    for found in comparison.comparisons:
        console.print(found.sentence, markup=False, highlight=False, soft_wrap=True)
    for family in comparison.tests:
        for pair in family.pairs if not family.without_folds else ():
            console.print(pair.sentence, markup=False, highlight=False, soft_wrap=True)


def _scores(comparison: RunComparison) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", no_wrap=True)
    for title in LEADERBOARD.values():
        table.add_column(title, no_wrap=True)
    for label, scores in comparison.models.items():
        table.add_row(Text(label), *(estimate_text(scores.overall[metric]) for metric in LEADERBOARD))
    return table
