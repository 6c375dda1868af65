"""`hamcv run` and `hamcv job`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cv_folds.fold_file import count_folds
from cv_folds.training.record import job_folder
from hamcv.commands.options import DataOption, FormatOption, StratifyOption, names, stderr
from hamcv.config import names_data, resolve
from hamcv.run_config import RunConfig
from hamcv.screens import show_leaderboard, show_plan, show_prepared, show_written
from hamcv.sources import choose_data


def run_command(
    *,
    data: DataOption = None,
    layout: FormatOption = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run folder [default: runs/DATA-RECIPE].")] = None,
    folds: Annotated[int | None, typer.Option(help="Number of lesion-grouped folds [default: 5].")] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME|FILE.toml", help="Settings to start from; see `hamcv recipes`.")
    ] = None,
    backbones: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="Classification models of torchvision, or timm:NAME, separated by commas."),
    ] = None,
    image_size: Annotated[int | None, typer.Option(metavar="N", help="Side of the images in pixels.")] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Most epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Images a step.")] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="imagenet|none|FOLDER", help="Where the models start from.")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="cv|holdout|leakage",
            help="Cross-validation; one fixed division; or the same on folds that ignore lesions, for comparison "
            "[default: cv].",
        ),
    ] = None,
    division: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="A:B:C",
            help="Per cent of training, validation, test of a hold-out [default: 60:20:20].",
        ),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(metavar="R", help="Repeat the cross-validation on R divisions [default: 1].")
    ] = None,
    nested: Annotated[
        bool | None,
        typer.Option(
            "--nested",
            help="Train without each pair of folds too, for an ensemble estimate in which nothing has seen the scored "
            "fold: with 5 folds 10 more trainings a backbone. May be added to a finished run.",
        ),
    ] = None,
    folds_file: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Use these folds, for example from `hamcv folds`.")
    ] = None,
    allow_leakage: Annotated[
        bool | None,
        typer.Option(
            "--allow-leakage", help="Use --folds-file, or --set holdout=image, even if it leaks; reports then say so."
        ),
    ] = None,
    stratify: StratifyOption = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of folds, training and intervals.")] = None,
    device: Annotated[str | None, typer.Option(metavar="auto|cpu|cuda|cuda:N", help="Where to compute.")] = None,
    limit_lesions: Annotated[
        int | None, typer.Option(metavar="N", help="Work on a random subset of about this many lesions.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Jobs side by side [default: one a CPU core, or a GPU].")
    ] = None,
    backend: Annotated[
        str, typer.Option(metavar="local|dask|ray", help="Where the jobs run: this machine, or a cluster that exists.")
    ] = "local",
    address: Annotated[str | None, typer.Option(metavar="URL", help="Of the Dask or Ray cluster.")] = None,
    compiled: Annotated[
        bool | None,
        typer.Option("--compile", help="Compile the training step: a minute or more a backbone, then faster steps."),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard event files into the job folders.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="End at the first failed job.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, show what would be done, write no run.")
    ] = False,
    prepare_only: Annotated[
        bool, typer.Option("--prepare", help="Check everything and make the run folder for `hamcv job`; train nothing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start afresh in an existing run folder.")] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="key=value", help="Any setting, e.g. training.epochs=12.")
    ] = None,
) -> None:
    """Split, train, ensemble, report: the whole cross-validation in one command.

    A run folder that exists is resumed when its settings are the same; --nested may be added to it, and settings
    ensemble.KEY and report.KEY may differ.
    """
    config = _config(
        data,
        recipe,
        {
            "format": layout,
            "folds": count_folds(folds_file) if folds is None and folds_file is not None else folds,
            "protocol": protocol,
            "split": None if division is None else [part.strip() for part in division.split(":")],
            "repeats": repeats,
            "nested": nested,
            "folds_file": None if folds_file is None else str(folds_file),
            "allow_leakage": allow_leakage,
            "stratify": names(stratify),
            "backbones": names(backbones),
            "training.image_size": image_size,
            "training.epochs": epochs,
            "training.batch_size": batch_size,
            "training.compile": compiled,
            "weights": weights,
            "seed": seed,
            "device": device,
            "limit_lesions": limit_lesions,
        },
        assignments or [],
    )
    folder = out if out is not None else Path("runs", f"{Path(config.data).name}-{config.recipe}")
    # Here and not above: they need torch, whose import takes seconds that no other command should wait for.
    if dry_run:
        from cv_folds.training.history import check_event_writer
        from hamcv.dry_run import plan_run
        from hamcv.training import choose_engine

        if tensorboard:
            check_event_writer()
        with choose_engine(config, backend=backend, address=address, jobs=jobs) as engine:
            show_plan(config, plan_run(config, folder, engine, overwrite=overwrite), engine, Console())
        return
    if prepare_only:
        from hamcv.job import prepare

        show_prepared(prepare(config, folder, overwrite=overwrite, console=stderr()), Console())
        return
    from hamcv.run import RunOptions, run

    options = RunOptions(
        out=folder,
        jobs=jobs,
        fail_fast=fail_fast,
        overwrite=overwrite,
        backend=backend,
        address=address,
        tensorboard=tensorboard,
    )
    result = run(config, options, stderr())
    show_leaderboard(result.evaluation, Console())
    show_written(result.files, Console())


def job_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `hamcv run --prepare` made.")],
    index: Annotated[int, typer.Argument(metavar="INDEX", help="Number of the job, counted from 0.")],
) -> None:
    """Run one training of a run, for a Slurm array; `hamcv run` with the same settings does the rest."""
    from hamcv.job import run_job_alone

    outcome = run_job_alone(run_folder, index, stderr())
    folder = job_folder(run_folder / outcome.arm, outcome.backbone, outcome.fold, outcome.second)
    show_written((folder,), Console())


def _config(data: str | None, recipe: str | None, options: dict[str, Any], assignments: list[str]) -> RunConfig:
    """Settle the data first: the demo set brings a recipe of its own."""
    assigned = any(text.partition("=")[0].strip() == "data" for text in assignments)
    if data is None and recipe is not None and (assigned or names_data(recipe)):
        return resolve(recipe, options, assignments)
    choice = choose_data(data)
    chosen = recipe if recipe is not None else ("demo" if choice.data == "demo" else "default")
    return resolve(chosen, options | {"data": choice.data}, assignments)
