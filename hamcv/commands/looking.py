"""What shows without computing: `hamcv recipes` and `hamcv doctor`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from cv_folds.errors import UsageError
from hamcv.config import recipes
from hamcv.screens import show_doctor, show_recipes


def recipes_command(context: typer.Context) -> None:
    """List the recipes with one line each."""
    if context.invoked_subcommand is None:
        show_recipes(recipes(), Console())


def recipe_command(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a recipe.")]) -> None:
    """Print the TOML of a recipe."""
    found = {recipe.name: recipe for recipe in recipes()}
    if name not in found:
        raise UsageError(f"{name}: no such recipe; there are {', '.join(found)}")
    typer.echo(found[name].text, nl=False)


def doctor_command() -> None:
    """Show versions, devices, memory and weights found; say what is missing and how to get it."""
    from hamcv.health import examine

    show_doctor(examine(), Console())
