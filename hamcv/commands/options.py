"""What several commands share: options, and the two ways out."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer
from rich.console import Console

from cv_folds.data.readers import FORMATS

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
DeviceOption: TypeAlias = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda|cuda:N", help="Where to compute.")
]
ViewsOption: TypeAlias = Annotated[
    int, typer.Option("--tta", metavar="N", min=1, max=8, help="Average over N turned and mirrored views.")
]
SpinsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--spins",
        metavar="N",
        min=0,
        max=64,
        help="Average over N turns by random angles, too [default: as the scores of its run do, mostly 0].",
    ),
]
ReportsOption: TypeAlias = Annotated[str, typer.Option("--format", metavar="html,pdf", help="What to write.")]


def names(text: str | None) -> list[str] | None:
    """Split a list that is separated by commas."""
    return None if text is None else [name.strip() for name in text.split(",")]


def stderr() -> Console:
    """Return the console of logs and messages."""
    return Console(stderr=True)


def complain(message: str) -> None:
    """Print an error as it is, in one colour."""
    stderr().print(f"hamcv: {message}", markup=False, highlight=False, soft_wrap=True, style="red")
