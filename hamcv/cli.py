"""The command line: which commands there are, and how each ends."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from cv_folds.errors import HamcvError
from hamcv import __version__
from hamcv.commands.data import audit_command, demo_command, fetch_command, folds_command, info_command
from hamcv.commands.finished import compare_command, ensemble_command, report_command
from hamcv.commands.looking import doctor_command, recipe_command, recipes_command
from hamcv.commands.options import complain
from hamcv.commands.predicting import evaluate_command, export_command, predict_command
from hamcv.commands.running import job_command, run_command

app = typer.Typer(
    name="hamcv",
    help="Lesion-grouped cross-validation and ensembling of skin-lesion classifiers on HAM10000.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# In the order of `hamcv --help`.
app.command("run")(run_command)
app.command("job")(job_command)
app.command("report")(report_command)
app.command("ensemble")(ensemble_command)
app.command("predict")(predict_command)
app.command("export")(export_command)
app.command("evaluate")(evaluate_command)
app.command("compare")(compare_command)
app.command("folds")(folds_command)
app.command("doctor")(doctor_command)

data_app = typer.Typer(help="Get and look at data sets.", no_args_is_help=True)
data_app.command("fetch")(fetch_command)
data_app.command("info")(info_command)
data_app.command("audit")(audit_command)
data_app.command("demo")(demo_command)
app.add_typer(data_app, name="data")

recipes_app = typer.Typer(help="List the recipes that come with hamcv.", invoke_without_command=True)
recipes_app.callback()(recipes_command)
recipes_app.command("show")(recipe_command)
app.add_typer(recipes_app, name="recipes")


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
        complain(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        # A full disk, missing rights: nothing that a check beforehand can promise.
        complain(f"{error.filename or 'a file'}: {error.strerror or error}")
        sys.exit(1)
    sys.exit(0)


def _end_by_signal(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
