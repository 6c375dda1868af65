"""`hamcv compare`: several runs, held still while they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cv_folds.errors import UsageError
from hamcv.evaluation import FORMATS
from hamcv.run_folder import keep_unchanged
from reports.across_runs import compare
from reports.compare_files import COMPARE_FILE, SCORES_FILE, TESTS_FILE
from reports.run_comparison import RunComparison
from reports.run_pairing import check_allowed


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What `hamcv compare` is asked for; see `reports.compare`."""

    runs: tuple[Path, ...]
    """Run folders, the yardstick first."""
    out: Path
    """Folder for the results."""
    models: Sequence[str] | None = None
    """One for all runs, or one a run; None for the ensembles that they deploy."""
    unpaired: bool = False
    """Without pairs."""
    allow_different: tuple[str, ...] = ()
    """What may differ between paired runs."""
    formats: tuple[str, ...] = ("html", "pdf")
    """Which reports are written."""
    malignant: Sequence[str] | None = None
    """Classes that count as malignant; None for those of the runs."""
    resamples: int | None = None
    """Behind every interval; None for those of the first run."""
    seed: int | None = None
    """Of the resamples; None for that of the first run."""


def compare_runs(options: CompareOptions) -> tuple[RunComparison, tuple[Path, ...]]:
    """Compare runs and write the report.

    Parameters
    ----------
    options : CompareOptions
        What is compared, and how.

    Returns
    -------
    comparison : RunComparison
        All numbers.
    files : tuple of Path
        What was written.

    Raises
    ------
    RunFolderBusyError
        When another process works on one of the runs.
    UsageError, DataError
        As `reports.compare`.
    """
    for name in options.formats:
        if name not in FORMATS:
            raise UsageError(f"--format {name}: must be html, pdf or both separated by a comma")
    formats = [FORMATS[name] for name in options.formats]
    with ExitStack() as stack:
        # The same folder twice is one lock: closing it once would give it up.
        for folder in dict.fromkeys(run.resolve() for run in options.runs):
            stack.enter_context(keep_unchanged(folder))
        comparison = compare(
            options.runs,
            models=options.models,
            unpaired=options.unpaired,
            allow_different=tuple(check_allowed(options.allow_different)),
            out=options.out,
            formats=formats,
            malignant=options.malignant,
            resamples=options.resamples,
            seed=options.seed,
        )
    names = (COMPARE_FILE, TESTS_FILE, SCORES_FILE, *(f"report.{form}" for form in formats))
    return comparison, tuple(options.out / name for name in names)
