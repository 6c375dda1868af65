"""What is done with finished runs: `hamcv report`, `hamcv ensemble` and `hamcv compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console

from ensemble.settings import CalibratorName
from hamcv.commands.options import ReportsOption, complain, names, stderr
from hamcv.compare_screen import show_comparison
from hamcv.screens import show_leaderboard, show_notes, show_written


def report_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    formats: ReportsOption = "html,pdf",
    gallery: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=100,
            help="Draw N errors and N disagreements again, from images and weights; 0 shows none.",
        ),
    ] = None,
) -> None:
    """Score the stored predictions of a run and write its reports again, without training."""
    from hamcv.evaluation import report_run

    evaluation, files = report_run(run_folder, names(formats) or (), gallery=gallery)
    show_leaderboard(evaluation, Console())
    show_written(files, Console())


def ensemble_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    combiners: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="The ensembles to score [default: those of the run].")
    ] = None,
    deployed: Annotated[
        str | None, typer.Option(metavar="NAME", help="The one of them that the predictor uses.")
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(metavar="|".join(get_args(CalibratorName)), help="How probabilities are calibrated.")
    ] = None,
    costs: Annotated[
        str | None,
        typer.Option(metavar="FILE.toml|none", help="Costs of mistakes by class name, for the decision rule `costs`."),
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="ensemble.KEY=VALUE", help="Change how networks are combined.")
    ] = None,
) -> None:
    """Combine the stored out-of-fold predictions of a run again, without training; writes scores, predictor, report.

    Without the weights of the jobs there is no predictor, all else is the same. What is changed here is written to the
    config.toml of the run. A gallery of other errors is removed; `hamcv report RUN --gallery N` draws it again.
    """
    changes = {
        "ensemble.combiners": names(combiners),
        "ensemble.deployed": deployed,
        "ensemble.calibration": calibration,
        "ensemble.costs": costs,
    }
    from hamcv.combining import combine_again

    combined = combine_again(run_folder, changes, assignments or ())
    show_leaderboard(combined.evaluation, Console())
    show_written(combined.files, Console())
    show_notes(combined.notes, stderr())
    if combined.no_predictor is not None:
        complain(combined.no_predictor)


def compare_command(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders; the one to be beaten comes first.")
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="New or empty folder for report, tables and numbers.")],
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A[,B,...]", help="A model for all runs, or one a run [default: the ensemble that each deploys]."
        ),
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="Compare runs on other images, groups or folds, without pairs.")
    ] = False,
    allow_different: Annotated[
        str | None,
        typer.Option(metavar="folds,files", help="Pair the images even though folds or image files differ."),
    ] = None,
    formats: ReportsOption = "html,pdf",
    malignant: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Classes that count as malignant [default: those of the runs]."),
    ] = None,
    resamples: Annotated[
        int | None, typer.Option(metavar="N", min=100, help="Lesion resamples [default: as of the first run].")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Of the resamples [default: that of the first run].")
    ] = None,
) -> None:
    """Compare runs on the same images, paired by image id, with the tests that compare the models of one run.

    Every difference is of a later run minus an earlier one. Runs whose data or folds differ are refused.
    """
    from hamcv.comparing import CompareOptions, compare_runs

    options = CompareOptions(
        runs=tuple(runs),
        out=out,
        models=names(models),
        unpaired=unpaired,
        allow_different=tuple(names(allow_different) or ()),
        formats=tuple(names(formats) or ()),
        malignant=names(malignant),
        resamples=resamples,
        seed=seed,
    )
    comparison, files = compare_runs(options)
    show_comparison(comparison, Console())
    show_written(files, Console())
