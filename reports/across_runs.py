"""Compare several runs with the tests that compare the models of one run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cv_folds.errors import UsageError
from reports.compare_document import build_comparison_document
from reports.compare_files import COMPARE_FILE, write_tables
from reports.compared_run import ComparedRun, read_compared_runs
from reports.comparisons import compare as compare_models
from reports.evaluation import Measured, measure
from reports.families import Pair, run_tests
from reports.run_comparison import RightLesions, RunComparison
from reports.run_pairing import Allowable, Mismatch, check_allowed, find_mismatches, refuse_mismatches, side_by_side
from reports.settings import ReportSettings
from reports.unpaired import compare_apart, measure_apart, shared, tests_apart
from reports.write import refuse_other_content, write_document

NOT_COMPARED = ("data", "device", "report.")
"""Beginnings of settings that say where something lies or runs on this machine, or how it is scored."""


def compare(
    runs: Sequence[str | Path],
    *,
    models: Sequence[str] | None = None,
    unpaired: bool = False,
    allow_different: Sequence[Allowable] = (),
    out: str | Path | None = None,
    formats: Sequence[Literal["html", "pdf"]] = ("html", "pdf"),
    malignant: Sequence[str] | None = None,
    resamples: int | None = None,
    seed: int | None = None,
) -> RunComparison:
    """Compare one model of each of several runs, and write a report of it on request.

    Parameters
    ----------
    runs : sequence of str or Path
        Two or more run folders. Differences are of a later one minus an earlier one, so the yardstick comes first.
    models : sequence of str, optional
        One model for all runs, or one a run; the ensemble that each run deploys when not given.
    unpaired : bool
        Compare runs on different images, with resamples of its own for each.
    allow_different : sequence of {"folds", "files"}
        What may differ between runs that are paired all the same. With other folds there is no test over folds.
    out : str or Path, optional
        Folder for ``compare.json``, tables, the report and its figures: new, empty, or with an earlier comparison.
    formats : sequence of {"html", "pdf"}
        Which reports are written to `out`.
    malignant : sequence of str, optional
        Classes that count as malignant; those of the runs when not given.
    resamples, seed : int, optional
        Of the intervals; those of the first run when not given, so that its own comparisons come out again.

    Returns
    -------
    RunComparison
        Paired by image id: the bootstrap over lesions, DeLong's test with lesions as clusters, McNemar's test per
        lesion and the corrected t-test over folds, of every pair of runs, with Holm's method over the pairs of one
        test and metric. Unpaired: the bootstrap and DeLong's test, for independent samples.

    Raises
    ------
    UsageError
        When runs cannot be paired (it says why, with the first images that differ, and what helps), a folder is no
        finished run, or `out` holds something else. It is a `ValueError`.
    DataError
        When a file is missing or damaged. It is a `ValueError`.

    Examples
    --------
    >>> from reports import compare
    >>> found = compare(["runs/plain", "runs/mixup"], out="compared")
    >>> found.comparisons[0].sentence
    'mixup is better than plain in macro F1 (+0.021, 95 % interval +0.008 to +0.034; p = 0.002, adjusted 0.002).'
    """
    if len(runs) < 2:
        raise UsageError("comparing needs two runs or more")
    if unknown := [form for form in formats if form not in ("html", "pdf")]:
        raise UsageError(f"formats: {', '.join(unknown)}: there are html and pdf")
    allowed = check_allowed(allow_different)
    if unpaired and allowed:
        raise UsageError("--unpaired makes no pairs; leave --allow-different out")
    folder = None if out is None else Path(out)
    if folder is not None:
        refuse_other_content(folder, marker=COMPARE_FILE)
    found = read_compared_runs([Path(run) for run in runs], models)
    mismatches = find_mismatches(found)
    refuse_mismatches(mismatches, {"images", "labels", "lesions", "groups", "folds", "files"} if unpaired else allowed)
    settings = _settings(found, malignant, resamples)
    chosen_seed = int(found[0].settings.get("seed", 0)) if seed is None else seed
    generator = np.random.default_rng(chosen_seed)
    make = _unpaired if unpaired else _paired
    comparison = make(found, mismatches, settings, chosen_seed, generator)
    if folder is not None:
        write_tables(folder, comparison)
        write_document(folder, build_comparison_document(comparison), formats)
    return comparison


def _paired(
    runs: tuple[ComparedRun, ...],
    mismatches: tuple[Mismatch, ...],
    settings: ReportSettings,
    seed: int,
    generator: np.random.Generator,
) -> RunComparison:
    same_folds = not any(mismatch.aspect == "folds" for mismatch in mismatches)
    measured = measure(side_by_side(runs, folds=same_folds), settings=settings, generator=generator)
    pairs = _pairs(runs)
    tests = run_tests(
        pairs, measured.tables, measured.no_lesions, measured.resampled["lesion"], measured.models, measured.classes
    )
    return RunComparison(
        classes=runs[0].predictions.classes,
        paired=True,
        same_folds=same_folds,
        demo=_demo(runs),
        resamples=settings.resamples,
        seed=seed,
        runs=runs,
        mismatches=mismatches,
        shared=(),
        models=measured.models,
        levels=measured.levels.by_image.models,
        comparisons=compare_models(pairs, measured.overall, measured.overall_resampled),
        tests=tuple(family for family in tests if same_folds or family.unit != "fold"),
        right=_right_lesions(pairs, measured),
        settings=_other_settings(runs),
    )


def _unpaired(
    runs: tuple[ComparedRun, ...],
    mismatches: tuple[Mismatch, ...],
    settings: ReportSettings,
    seed: int,
    generator: np.random.Generator,
) -> RunComparison:
    measured = measure_apart(runs, settings=settings, generator=generator)
    pairs = _pairs(runs)
    return RunComparison(
        classes=runs[0].predictions.classes,
        paired=False,
        same_folds=False,
        demo=_demo(runs),
        resamples=settings.resamples,
        seed=seed,
        runs=runs,
        mismatches=mismatches,
        shared=tuple(shared(first, other) for first, other in combinations(runs, 2)),
        models={label: found.models[label] for label, found in measured.items()},
        levels={label: found.levels.by_image.models[label] for label, found in measured.items()},
        comparisons=compare_apart(pairs, measured),
        tests=tests_apart(pairs, measured),
        right=(),
        settings=_other_settings(runs),
    )


def _pairs(runs: Sequence[ComparedRun]) -> tuple[Pair, ...]:
    """Return every later run with every earlier one."""
    return tuple((other.label, first.label) for first, other in combinations(runs, 2))


def _demo(runs: Sequence[ComparedRun]) -> bool:
    return any(run.record.data.demo for run in runs)


def _settings(runs: Sequence[ComparedRun], malignant: Sequence[str] | None, resamples: int | None) -> ReportSettings:
    """Return the settings of the scores: what was asked for, else what the runs were scored with."""
    default = ReportSettings()
    n = int(runs[0].settings.get("report.resamples", default.resamples)) if resamples is None else resamples
    if n < 100:
        raise UsageError(f"resamples = {n}: an interval needs at least 100")
    if malignant is not None:
        classes = runs[0].predictions.classes
        if absent := [name for name in malignant if name not in classes]:
            raise UsageError(f"malignant: {', '.join(absent)}: the classes are {', '.join(classes)}")
        return ReportSettings(resamples=n, malignant=tuple(malignant))
    of_runs = {tuple(run.settings.get("report.malignant", default.malignant)) for run in runs}
    if len(of_runs) > 1:
        raise UsageError(
            "the runs count other classes as malignant (report.malignant); name them: --malignant A,B: "
            + " against ".join(", ".join(names) or "none" for names in sorted(of_runs))
        )
    return ReportSettings(resamples=n, malignant=of_runs.pop())


def _right_lesions(pairs: Sequence[Pair], measured: Measured) -> tuple[RightLesions, ...]:
    table = measured.tables.get("lesion")
    if table is None:
        return ()
    right = {model: rows.argmax(axis=1) == table.labels for model, rows in table.probabilities.items()}
    return tuple(
        RightLesions(
            model=model,
            against=against,
            both=int((right[model] & right[against]).sum()),
            only_model=int((right[model] & ~right[against]).sum()),
            only_against=int((~right[model] & right[against]).sum()),
            neither=int((~right[model] & ~right[against]).sum()),
        )
        for model, against in pairs
    )


def _other_settings(runs: Sequence[ComparedRun]) -> dict[str, tuple[Any, ...]]:
    names = dict.fromkeys(name for run in runs for name in run.settings)
    values = {name: tuple(_shown(name, run.settings.get(name)) for run in runs) for name in names}
    return {
        name: found
        for name, found in values.items()
        if not name.startswith(NOT_COMPARED) and any(value != found[0] for value in found)
    }


def _shown(name: str, value: Any) -> Any:
    """Of folders the name only: a report is passed on, and where things lie on this machine is nobody's business."""
    return Path(value).name if name in ("weights", "folds_file") and value is not None else value
