"""The command line: parse, call one function, print."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn, TypeAlias, get_args

import typer
from rich.console import Console

from cv_folds.data.demo import write_demo_set
from cv_folds.data.fetch.published import SERVER
from cv_folds.data.fetch.web import Patience
from cv_folds.data.readers import FORMATS
from cv_folds.errors import HamcvError, UsageError
from cv_folds.fold_file import count_folds
from cv_folds.published_split import SplitColumns
from cv_folds.training.record import job_folder
from ensemble.settings import CalibratorName
from hamcv import __version__
from hamcv.combining import combine_again
from hamcv.compare_screen import show_comparison
from hamcv.config import RunConfig, names_data, recipes, resolve
from hamcv.data_screen import show_dataset
from hamcv.fetching import FetchOptions, fetch
from hamcv.folding import split
from hamcv.job import prepare, run_job_alone
from hamcv.outputs import check_output
from hamcv.preflight import preflight
from hamcv.run import RunOptions, run
from hamcv.screens import (
    show_demo_banner,
    show_doctor,
    show_exported,
    show_fetched,
    show_folds,
    show_leaderboard,
    show_notes,
    show_plan,
    show_prepared,
    show_recipes,
    show_written,
)
from hamcv.sources import USUAL_FOLDER, choose_data, open_dataset, open_with_options, settings_of_data
from hamcv.training import choose_engine

app = typer.Typer(
    name="hamcv",
    help="Lesion-grouped cross-validation and ensembling of skin-lesion classifiers on HAM10000.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Get and look at data sets.", no_args_is_help=True)
recipes_app = typer.Typer(help="List the recipes that come with hamcv.", invoke_without_command=True)
app.add_typer(data_app, name="data")
app.add_typer(recipes_app, name="recipes")

DataOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Folder of images. Without it: HAMCV_DATA, else data/ham10000 here, else the built-in demo set.",
    ),
]
FormatOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--format", metavar="|".join(FORMATS), help="Layout of the folder [default: auto, look at it]."),
]
ColumnsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="columns.KEY=NAME", help="Column of a table of your own, e.g. columns.label=dx."),
]


StratifyOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--stratify", metavar="A,B", help="Spread dx_type, sex or site evenly over the folds too, not only diagnoses."
    ),
]


@app.command("run")
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
        str | None, typer.Option(metavar="A,B,C", help="torchvision classification models, separated by commas.")
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, show the plan, write no run.")] = False,
    prepare_only: Annotated[
        bool, typer.Option("--prepare", help="Check everything and make the run folder for `hamcv job`; train nothing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start afresh in an existing run folder.")] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="key=value", help="Any setting, e.g. training.epochs=12.")
    ] = None,
) -> None:
    """Split, train, ensemble, report: the whole cross-validation in one command.

    A run folder that exists is resumed when its settings are the same; --nested may be added to it.
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
            "stratify": _names(stratify),
            "backbones": _names(backbones),
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
    if dry_run:
        with choose_engine(config, backend=backend, address=address, jobs=jobs) as engine:
            show_plan(config, preflight(config, download=False), engine, Console())
        return
    folder = out if out is not None else Path("runs", f"{Path(config.data).name}-{config.recipe}")
    if prepare_only:
        show_prepared(prepare(config, folder, overwrite=overwrite, console=_stderr()), Console())
        return
    options = RunOptions(
        out=folder,
        jobs=jobs,
        fail_fast=fail_fast,
        overwrite=overwrite,
        backend=backend,
        address=address,
        tensorboard=tensorboard,
    )
    result = run(config, options, _stderr())
    show_leaderboard(result.evaluation, Console())
    show_written(result.files, Console())


@app.command("job")
def job_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `hamcv run --prepare` made.")],
    index: Annotated[int, typer.Argument(metavar="INDEX", help="Number of the job, counted from 0.")],
) -> None:
    """Run one training of a run, for a Slurm array; `hamcv run` with the same settings does the rest."""
    outcome = run_job_alone(run_folder, index, _stderr())
    folder = job_folder(run_folder / outcome.arm, outcome.backbone, outcome.fold, outcome.second)
    show_written((folder,), Console())


@app.command("report")
def report_command(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    formats: Annotated[str, typer.Option("--format", metavar="html,pdf", help="What to write.")] = "html,pdf",
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

    evaluation, files = report_run(run_folder, [name.strip() for name in formats.split(",")], gallery=gallery)
    show_leaderboard(evaluation, Console())
    show_written(files, Console())


@app.command("ensemble")
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
    config.toml of the run.
    """
    changes = {
        "ensemble.combiners": _names(combiners),
        "ensemble.deployed": deployed,
        "ensemble.calibration": calibration,
        "ensemble.costs": costs,
    }
    combined = combine_again(run_folder, changes, assignments or ())
    show_leaderboard(combined.evaluation, Console())
    show_written(combined.files, Console())
    show_notes(combined.notes, _stderr())
    if combined.no_predictor is not None:
        _complain(combined.no_predictor)


@app.command("predict")
def predict_command(
    source: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="A run folder or a predictor bundle.")],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Image files, folders (with all below), patterns like 'in/**/*.png'."),
    ],
    output: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="[default: stdout]")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|cuda:N", help="Where to compute.")] = "auto",
    tta: Annotated[
        int, typer.Option("--tta", metavar="N", min=1, max=8, help="Average over N turned and mirrored views.")
    ] = 1,
    spins: Annotated[
        int, typer.Option("--spins", metavar="N", min=0, max=64, help="Average over N turns by random angles, too.")
    ] = 0,
) -> None:
    """Classify images with the ensemble, as CSV: label, prediction set, disagreement, distance, warning, probabilities.

    Mutual information and vote entropy of the members are in nats. The distance is that from the training images in
    feature space; a warning says that it, or the disagreement, is larger than for nearly all training lesions.

    A file that cannot be read is named at the end, and the exit code is 3; the others get their answer.
    """
    from hamcv.prediction import predict_files

    check_output(output)
    answered = predict_files(source, images, output=output, device=device, views=tta, spins=spins)
    if answered.demo:
        show_demo_banner(_stderr())
    if output is not None:
        show_written((output,), Console())
    answered.refuse_unanswered()


@app.command("export")
def export_command(
    source: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="A run folder or a predictor bundle.")],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="New or empty folder for the bundle.")],
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Add the whole ensemble as one ONNX file; needs the extra hamcv[onnx].")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Store the weights as float16: half the bytes.")] = False,
    members: Annotated[
        str,
        typer.Option(
            metavar="all|best", help="Every network, or those of the backbone with the least out-of-fold log-loss."
        ),
    ] = "all",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle in DIR.")] = False,
) -> None:
    """Write the predictor as a folder that stands alone, for `hamcv predict`, `hamcv evaluate` and Python.

    Its README.md is the model card, its manifest.json has the SHA-256 of every file.
    """
    from hamcv.exporting import ExportOptions, export

    exported = export(source, ExportOptions(out=out, members=members, half=half, onnx=onnx, overwrite=overwrite))
    if exported.bundle.manifest.training_data.demo:
        show_demo_banner(_stderr())
    show_exported(exported, Console())


@app.command("evaluate")
def evaluate_command(
    source: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="A run folder or a predictor bundle.")],
    *,
    data: Annotated[str, typer.Option(metavar="PATH", help="Folder of labelled images that were not trained on.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="New or empty folder for scores, report and lists.")],
    layout: FormatOption = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="THEIRS=OURS,...",
            help="What a class of the data is in the model, where names do not tell; nothing after = leaves it out.",
        ),
    ] = None,
    training_data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Folder of the training data, to look for near-duplicates [default: that of the run]."
        ),
    ] = None,
    own_ids: Annotated[
        bool,
        typer.Option("--own-ids", help="An id of the data that equals one of the training data is another image's."),
    ] = False,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|cuda:N", help="Where to compute.")] = "auto",
    tta: Annotated[
        int, typer.Option("--tta", metavar="N", min=1, max=8, help="Average over N turned and mirrored views.")
    ] = 1,
    spins: Annotated[
        int, typer.Option("--spins", metavar="N", min=0, max=64, help="Average over N turns by random angles, too.")
    ] = 0,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="key=value", help="Any of columns.KEY, audit.KEY and report.KEY."),
    ] = None,
) -> None:
    """Score and report the ensemble on a labelled set that it never saw.

    Images that were in training, and near-duplicates of them, are found and left out.
    """
    from hamcv.external import ExternalOptions, evaluate_external, parse_classes

    options = ExternalOptions(
        source=source,
        out=out,
        training_data=training_data,
        classes=parse_classes(classes or []),
        own_ids=own_ids,
        device=device,
        views=tta,
        spins=spins,
    )
    chosen = choose_data(data).data
    config = settings_of_data(chosen, layout, assignments, allowed=("columns", "audit", "report"))
    result = evaluate_external(config, options, _stderr())
    show_notes(result.notes, _stderr())
    show_leaderboard(result.evaluation, Console())
    show_written(result.files, Console())


@app.command("compare")
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
    formats: Annotated[str, typer.Option("--format", metavar="html,pdf", help="What to write.")] = "html,pdf",
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
        models=_names(models),
        unpaired=unpaired,
        allow_different=tuple(_names(allow_different) or ()),
        formats=tuple(_names(formats) or ()),
        malignant=_names(malignant),
        resamples=resamples,
        seed=seed,
    )
    comparison, files = compare_runs(options)
    show_comparison(comparison, Console())
    show_written(files, Console())


@app.command("folds")
def folds_command(
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="Where to write.")],
    *,
    data: DataOption = None,
    layout: FormatOption = None,
    folds: Annotated[int, typer.Option(help="Number of folds.")] = 5,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the folds.")] = 0,
    stratify: StratifyOption = None,
    assignments: ColumnsOption = None,
) -> None:
    """Write stratified, lesion-grouped folds as CSV: image_id, lesion_id, group, label, fold."""
    check_output(out)
    config = settings_of_data(
        choose_data(data).data,
        layout,
        assignments,
        allowed=("columns", "audit"),
        options={"stratify": _names(stratify)},
    )
    dataset = open_dataset(config.data, format=config.format, columns=config.columns)
    if dataset.demo:
        show_demo_banner(_stderr())
    show_notes(dataset.notes, _stderr())
    made = split(dataset, n_folds=folds, seed=seed, stratify=config.stratify, audit=config.audit, console=_stderr())
    made.folds.write_csv(out)
    for note in (*made.shared.words, *made.notes):
        _stderr().print(note, markup=False, highlight=False, soft_wrap=True)
    show_folds(made.folds, Console())
    show_written((out,), Console())


@data_app.command("fetch")
def fetch_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder to fill.")] = USUAL_FOLDER,
    *,
    test: Annotated[
        bool, typer.Option("--test", help="The ISIC 2018 Task 3 test set and its truth, too, into PATH-test.")
    ] = False,
    server: Annotated[str, typer.Option(metavar="URL", help="A Dataverse server, or a mirror of its API.")] = SERVER,
    keep_archives: Annotated[bool, typer.Option("--keep-archives", help="Keep unpacked zip files.")] = False,
    retries: Annotated[int, typer.Option(metavar="N", min=0, help="Further attempts when a transfer breaks off.")] = 4,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="Longest wait for an answer.")] = 60,
) -> None:
    """Download HAM10000, going on where an earlier call ended; unpack and check it. About 2.7 GB, needs 5 GB."""
    patience = Patience(attempts=retries + 1, timeout=timeout)
    options = FetchOptions(folder=path, test=test, server=server, keep_archives=keep_archives, patience=patience)
    show_fetched(fetch(options, _stderr()), Console())


@data_app.command("info")
def info_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of a data set.")],
    *,
    layout: FormatOption = None,
    assignments: ColumnsOption = None,
) -> None:
    """Print what was understood: classes, lesions, missing values, image sizes, unreadable files."""
    show_dataset(open_with_options(str(path.absolute()), layout, assignments), Console(), _stderr())


@data_app.command("audit")
def audit_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of a data set.")],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to write audit.json, pairs.csv and the contact sheets.")
    ] = None,
    accept: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Pairs that show one lesion: columns image_a, image_b.")
    ] = None,
    reject: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Pairs that do not.")] = None,
    folds: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="A split to look at; exit code 3 when it leaks.")
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of image ids in --folds, where guessing fails.")
    ] = None,
    split_columns: Annotated[
        str | None, typer.Option("--split-column", metavar="A,B", help="Its column of folds or parts, or one a fold.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Threads [default: one a CPU core].")] = None,
    layout: FormatOption = None,
    assignments: ColumnsOption = None,
) -> None:
    """Find images of one lesion under several lesion ids, and what a published split shares with its training."""
    from hamcv.audit_screen import show_audit
    from hamcv.auditing import AuditOptions, audit_data

    decided = {"audit.accept": accept, "audit.reject": reject}
    config = settings_of_data(
        str(path.absolute()),
        layout,
        assignments,
        allowed=("columns", "audit"),
        options={key: None if file is None else str(file) for key, file in decided.items()},
    )
    dataset = open_dataset(config.data, format=config.format, columns=config.columns)
    show_notes(dataset.notes, _stderr())
    columns = SplitColumns(image=image_column, split=tuple(_names(split_columns) or ()))
    options = AuditOptions(out=out, jobs=jobs, folds=folds, columns=columns)
    audit = audit_data(dataset, config.audit, options, _stderr())
    show_audit(audit, Console())
    show_written(audit.files, Console())
    if audit.split is not None:
        audit.split.refuse_leakage()


@data_app.command("demo")
def demo_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder to write; must not exist or be empty.")],
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the pictures.")] = 0,
) -> None:
    """Write the generated demo set in HAM10000's layout."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path}: exists and is not empty; name a new folder")
    write_demo_set(path, seed=seed)
    show_dataset(open_dataset(str(path.absolute())), Console(), _stderr())


@recipes_app.callback()
def recipes_command(context: typer.Context) -> None:
    """List the recipes with one line each."""
    if context.invoked_subcommand is None:
        show_recipes(recipes(), Console())


@recipes_app.command("show")
def recipe_command(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a recipe.")]) -> None:
    """Print the TOML of a recipe."""
    found = {recipe.name: recipe for recipe in recipes()}
    if name not in found:
        raise UsageError(f"{name}: no such recipe; there are {', '.join(found)}")
    typer.echo(found[name].text, nl=False)


@app.command("doctor")
def doctor_command() -> None:
    """Show versions, devices, memory and weights found; say what is missing and how to get it."""
    show_doctor(Console())


def _show_version(on: bool) -> None:
    if on:
        typer.echo(f"hamcv {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, help="Print the version and end.", callback=_show_version),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> NoReturn:
    """Run the command line; the exit codes are those of the contract."""
    signal.signal(signal.SIGINT, _end_by_signal)
    signal.signal(signal.SIGTERM, _end_by_signal)
    try:
        app(prog_name="hamcv")
    except HamcvError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        # A full disk, missing rights: nothing that a check beforehand can promise.
        _complain(f"{error.filename or 'a file'}: {error.strerror or error}")
        sys.exit(1)
    sys.exit(0)


def _end_by_signal(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _complain(message: str) -> None:
    _stderr().print(f"hamcv: {message}", markup=False, highlight=False, soft_wrap=True, style="red")


def _stderr() -> Console:
    return Console(stderr=True)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _config(data: str | None, recipe: str | None, options: dict[str, Any], assignments: list[str]) -> RunConfig:
    """Settle the data first: the demo set brings a recipe of its own."""
    assigned = any(text.partition("=")[0].strip() == "data" for text in assignments)
    if data is None and recipe is not None and (assigned or names_data(recipe)):
        return resolve(recipe, options, assignments)
    choice = choose_data(data)
    chosen = recipe if recipe is not None else ("demo" if choice.data == "demo" else "default")
    return resolve(chosen, options | {"data": choice.data}, assignments)
