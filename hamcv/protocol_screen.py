"""What is printed of the protocols that train more than once."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from reports.results import Estimate, Inflation, Nested, RepeatedScore, Repeats
from reports.wording import interval, number, signed


def show_repeats(repeats: Repeats, metrics: Mapping[str, str], console: Console) -> None:
    """Print mean and standard deviation of some metrics over the repetitions.

    Parameters
    ----------
    repeats : Repeats
        The spread.
    metrics : mapping of str to str
        Metric to title.
    console : rich.console.Console
        Where to print.
    """
    console.print(f"Mean and standard deviation over {repeats.n} repetitions on other folds", highlight=False)
    table = Table("model", *metrics.values(), box=SIMPLE_HEAD, pad_edge=False)
    for model, scores in repeats.models.items():
        table.add_row(model, *(_repeated(scores[metric]) for metric in metrics))
    console.print(table)


def show_inflation(inflation: Inflation, metrics: Mapping[str, str], console: Console) -> None:
    """Print how much of some metrics was the split; parameters as for `show_repeats`."""
    console.print(
        f"Folds of images minus folds of lesions, with 95 % intervals; on folds of images, {inflation.n_shared} of "
        f"{inflation.n_images} images share a lesion with training",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("model", *metrics.values(), box=SIMPLE_HEAD, pad_edge=False)
    for model, scores in inflation.models.items():
        table.add_row(model, *(_difference(scores[metric].difference) for metric in metrics))
    console.print(table)


def show_nested(nested: Nested, metrics: Mapping[str, str], console: Console) -> None:
    """Print how far some metrics of the ensembles are from the nested estimate; parameters as for `show_repeats`."""
    console.print("Ensembles: usual minus nested estimate, with 95 % intervals", highlight=False)
    table = Table("model", *metrics.values(), box=SIMPLE_HEAD, pad_edge=False)
    for model, scores in nested.models.items():
        table.add_row(model, *(_difference(scores[metric].difference) for metric in metrics))
    console.print(table)


def _repeated(score: RepeatedScore) -> str:
    if score.mean is None or score.deviation is None:
        return "n/a"
    return f"{number(score.mean)} ± {number(score.deviation)}"


def _difference(difference: Estimate) -> str:
    if difference.value is None:
        return "n/a"
    return f"{signed(difference.value)} {interval(difference)}".strip()
