"""What a person sees during downloads: a bar for the step under way, a line for each that is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


class FetchProgress:
    """Bars on a terminal, lines anywhere.

    Parameters
    ----------
    console : rich.console.Console
        On stderr.
    """

    def __init__(self, console: Console) -> None:
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Show a bar while the block runs; the yielded function takes the number of bytes done, out of `total`."""
        bar = self.bars.add_task(title, total=total)

        def done(completed: int) -> None:
            self.bars.update(bar, completed=completed)

        try:
            yield done
        finally:
            self.bars.remove_task(bar)


@contextmanager
def fetch_progress(console: Console) -> Iterator[FetchProgress]:
    """Show bars until the block ends."""
    progress = FetchProgress(console)
    with progress.bars:
        yield progress
