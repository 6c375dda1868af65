"""What a person sees while images are read, and while near-duplicates are searched for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cv_folds.near_duplicates.search import OnStep


@contextmanager
def image_progress(title: str, total: int, console: Console) -> Iterator[Progress]:
    """Show a bar over images; its only task is the first of `Progress.task_ids`."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        bars.add_task(title, total=total)
        yield bars


@contextmanager
def search_progress(console: Console | None) -> Iterator[OnStep]:
    """Show a bar for each stage of the search for near-duplicates; yields what the search tells of its steps."""
    shown = console is not None and console.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not shown, transient=True) as bars:
        stages: dict[str, TaskID] = {}
        lock = threading.Lock()

        def step(stage: str, done: int, total: int) -> None:
            with lock:
                if stage not in stages:
                    stages[stage] = bars.add_task(stage, total=total)
                bars.update(stages[stage], completed=done)

        yield step
