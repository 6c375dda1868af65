"""What `hamcv data audit --folds` prints about a published split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cv_folds.errors import list_rows
from cv_folds.split_audit import Crossing, PartAudit, SplitAudit

# Heads of two lines, so that a terminal of 80 columns cuts no word.
COLUMNS = ("images", "same\nimage", "lesion", "merged\ngroup", "near-\nduplicate", "any")


def show_split_audit(audit: SplitAudit, console: Console) -> None:
    """Print how many images share something with what was learned from: by training, then by class."""

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    say(f"{audit.file}: {audit.understood}")
    if audit.unknown:
        say(f"{len(audit.unknown)} images of the file are not in the data set and are left out:", "yellow")
        say(list_rows(audit.unknown, most=5), "yellow")
    if audit.n_absent:
        say(f"{audit.n_absent} images of the data set are not in the file")
    if audit.n_near_duplicates is None:
        say("near-duplicates were not searched for", "yellow")
    say("Images that share something with the images that were learned from:")
    console.print(_table("part", ((_title(part), part.overall) for part in audit.parts)))
    for part in ("validation", "test"):
        inside = [row for row in audit.parts if row.part == part]
        if inside:
            say(f"{part.capitalize()} images by class" + (", over all trainings:" if len(inside) > 1 else ":"))
            console.print(_table("class", _by_class(inside).items()))
    examples = [example for part in audit.parts for example in part.examples]
    if examples:
        say("For example:")
        say(list_rows(examples, most=5))
    say("This split leaks." if audit.leaks else "No leakage was found.", "red" if audit.leaks else "green")


def _title(part: PartAudit) -> str:
    name = f"{part.training} " if part.training else ""
    return f"{name}{part.part} in {part.against}"


def _by_class(parts: Iterable[PartAudit]) -> dict[str, Crossing]:
    sums: dict[str, list[Crossing]] = defaultdict(list)
    for part in parts:
        for name, crossing in part.per_class.items():
            sums[name].append(crossing)
    return {
        name: Crossing(
            images=sum(row.images for row in rows),
            same_image=sum(row.same_image for row in rows),
            lesion=sum(row.lesion for row in rows),
            group=sum(row.group for row in rows),
            near_duplicate=sum(row.near_duplicate for row in rows),
            any=sum(row.any for row in rows),
        )
        for name, rows in sums.items()
    }


def _table(first: str, rows: Iterable[tuple[str, Crossing]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for title in COLUMNS:
        table.add_column(title, justify="right", no_wrap=True)
    for name, row in rows:
        share = f" ({row.any / row.images:.1%})" if row.images else ""
        counts = (row.images, row.same_image, row.lesion, row.group, row.near_duplicate)
        table.add_row(name, *(str(count) for count in counts), f"{row.any}{share}")
    return table
