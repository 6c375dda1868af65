"""The result as rows: on the screen as a table, on disk as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison."""

    part: str
    """``training``, ``limits``, ``input`` or ``step``."""
    title: str
    """What is divided by what."""
    device: str
    """``cpu`` or ``cuda``."""
    backbone: str | None
    """The network, where there is one."""
    ratio: float | None
    """Median over the rounds; None when it was not measured."""
    goal: float | None = None
    """Least ratio that is wanted; None for a row that only informs."""
    detail: str = ""
    """The figures behind the ratio, or why there is none."""

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None without a goal or a figure."""
        return None if self.goal is None or self.ratio is None else self.ratio >= self.goal


def show(rows: Sequence[Row], title: str, console: Console) -> None:
    """Print the table."""
    table = Table(title=title, title_justify="left")
    for heading in ("device", "ratio", "backbone"):
        table.add_column(heading)
    table.add_column("value", justify="right")
    table.add_column("goal", justify="right")
    for heading in ("met", "figures"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row.device,
            row.title,
            row.backbone or "",
            "not measured" if row.ratio is None else f"{row.ratio:.3g}",
            "" if row.goal is None else f">= {row.goal:g}",
            {None: "", True: "yes", False: "no"}[row.met],
            row.detail,
        )
    console.print(table)
