"""`hamcv folds` and `hamcv data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cv_folds.data.demo import write_demo_set
from cv_folds.data.fetch.published import SERVER
from cv_folds.data.fetch.web import Patience
from cv_folds.errors import UsageError
from cv_folds.published_split import SplitColumns
from hamcv.commands.options import ColumnsOption, DataOption, FormatOption, StratifyOption, names, stderr
from hamcv.data_screen import show_dataset
from hamcv.fetching import FetchOptions, fetch
from hamcv.folding import split
from hamcv.outputs import check_output
from hamcv.screens import show_demo_banner, show_fetched, show_folds, show_notes, show_written
from hamcv.sources import USUAL_FOLDER, choose_data, open_dataset, open_with_options, part_of_run, settings_of_data


def folds_command(
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="Where to write.")],
    *,
    data: DataOption = None,
    layout: FormatOption = None,
    folds: Annotated[int, typer.Option(help="Number of folds.")] = 5,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the folds.")] = 0,
    stratify: StratifyOption = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="key=value", help="Any of columns.KEY, audit.KEY and unit, as of the run."),
    ] = None,
) -> None:
    """Write stratified, lesion-grouped folds as CSV: image_id, lesion_id, group, label, fold."""
    check_output(out)
    config = settings_of_data(
        choose_data(data).data,
        layout,
        assignments,
        allowed=("columns.KEY", "audit.KEY", "unit"),
        options={"folds": folds, "seed": seed, "stratify": names(stratify)},
    )
    whole = open_dataset(config.data, format=config.format, columns=config.columns)
    dataset = part_of_run(whole, config)
    if dataset.demo:
        show_demo_banner(stderr())
    show_notes(dataset.notes, stderr())
    made = split(
        dataset,
        n_folds=config.folds,
        seed=config.seed,
        stratify=config.stratify,
        audit=config.audit,
        whole=whole,
        console=stderr(),
    )
    made.folds.write_csv(out)
    for note in (*made.shared.words, *made.notes):
        stderr().print(note, markup=False, highlight=False, soft_wrap=True)
    show_folds(made.folds, Console())
    show_written((out,), Console())


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
    show_fetched(fetch(options, stderr()), Console())


def info_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of a data set.")],
    *,
    layout: FormatOption = None,
    assignments: ColumnsOption = None,
) -> None:
    """Print what was understood: classes, lesions, missing values, image sizes, unreadable files."""
    show_dataset(open_with_options(str(path.absolute()), layout, assignments), Console(), stderr())


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
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="key=value", help="Any of columns.KEY and audit.KEY.")
    ] = None,
) -> None:
    """Find images of one lesion under several lesion ids, and what a published split shares with its training."""
    from hamcv.audit_screen import show_audit
    from hamcv.auditing import AuditOptions, audit_data

    if folds is None and (image_column or split_columns):
        raise UsageError("--image-column and --split-column name columns of the table of --folds; name that table too")
    decided = {"audit.accept": accept, "audit.reject": reject}
    config = settings_of_data(
        str(path.absolute()),
        layout,
        assignments,
        allowed=("columns.KEY", "audit.KEY"),
        options={key: None if file is None else str(file) for key, file in decided.items()},
    )
    dataset = open_dataset(config.data, format=config.format, columns=config.columns)
    show_notes(dataset.notes, stderr())
    columns = SplitColumns(image=image_column, split=tuple(names(split_columns) or ()))
    options = AuditOptions(out=out, jobs=jobs, folds=folds, columns=columns)
    audit = audit_data(dataset, config.audit, options, stderr())
    show_audit(audit, Console())
    show_written(audit.files, Console())
    if audit.split is not None:
        audit.split.refuse_leakage()


def demo_command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder to write; must not exist or be empty.")],
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the pictures.")] = 0,
) -> None:
    """Write the generated demo set in HAM10000's layout."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path}: exists and is not empty; name a new folder")
    write_demo_set(path, seed=seed)
    show_dataset(open_dataset(str(path.absolute())), Console(), stderr())
