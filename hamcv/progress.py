"""What a person sees while jobs run: jobs done, the epochs under way, images per second, time left.

The workers leave their state in small files; a thread here reads them twice a second. Nothing is drawn when stderr
is no terminal.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cv_folds.scheduling.outcome import JobOutcome
from cv_folds.training.job_spec import JobSpec
from cv_folds.training.progress_file import PROGRESS_FILE


class JobProgress:
    """Bars for all jobs together and for each one under way.

    Parameters
    ----------
    specs : sequence of JobSpec
        All jobs that will run.
    side_by_side : int
        How many run at a time; for the time left.
    console : rich.console.Console
        On stderr.
    """

    def __init__(self, specs: Sequence[JobSpec], side_by_side: int, console: Console) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._side_by_side = side_by_side
        self._seconds: dict[str, list[float]] = {}
        self._bars: dict[str, TaskID] = {}
        # The bars are looked after by a thread, jobs end in the main one.
        self._lock = threading.Lock()
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            refresh_per_second=4,
        )
        self._all = self.bars.add_task("jobs", total=len(specs), note="")

    def finished(self, outcome: JobOutcome) -> None:
        """Take a job that ended off the list of those under way."""
        with self._lock:
            del self._specs[outcome.name]
            if outcome.record is not None:
                self._seconds.setdefault(outcome.backbone, []).append(outcome.record.seconds)
            if (bar := self._bars.pop(outcome.name, None)) is not None:
                self.bars.remove_task(bar)
            self.bars.update(self._all, advance=1, note=self._time_left())

    def look(self) -> None:
        """Read the state that the workers left."""
        with self._lock:
            for spec in self._specs.values():
                self._look_at(spec)

    def _look_at(self, spec: JobSpec) -> None:
        try:
            state = json.loads((spec.folder / PROGRESS_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if spec.name not in self._bars:
            self._bars[spec.name] = self.bars.add_task(f"  {spec.name}", total=None, note="")
        steps = int(state["steps"])
        done = (int(state["epoch"]) - 1) * steps + int(state["step"])
        note = f"epoch {state['epoch']}/{spec.settings.most_epochs}  {state['images_per_second']:.0f} images/s"
        if state.get("validation_loss") is not None:
            note += f"  validation loss {state['validation_loss']:.3f}"
        self.bars.update(self._bars[spec.name], completed=done, total=steps * spec.settings.most_epochs, note=note)

    def _time_left(self) -> str:
        """Estimate from the finished jobs: a backbone without one is taken to cost the mean of the others."""
        means = {backbone: sum(seconds) / len(seconds) for backbone, seconds in self._seconds.items()}
        if not means or not self._specs:
            return ""
        usual = sum(means.values()) / len(means)
        waiting = sum(means.get(spec.backbone, usual) for spec in self._specs.values())
        left = round(waiting / self._side_by_side)
        return f"about {left // 60} min {left % 60:02d} s left"


@contextmanager
def job_progress(specs: Sequence[JobSpec], side_by_side: int, console: Console) -> Iterator[JobProgress]:
    """Show the progress of jobs until the block ends."""
    progress = JobProgress(specs, side_by_side, console)
    for spec in specs:
        with suppress(OSError):
            (spec.folder / PROGRESS_FILE).unlink()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            progress.look()

    watcher = threading.Thread(target=watch, name="job-progress", daemon=True)
    with progress.bars:
        if console.is_terminal:
            watcher.start()
        try:
            yield progress
        finally:
            ended.set()
            if watcher.ident is not None:
                watcher.join()
