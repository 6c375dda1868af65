"""What is done with a predictor: `hamcv predict`, `hamcv export` and `hamcv evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hamcv.commands.options import DeviceOption, FormatOption, SpinsOption, ViewsOption, stderr
from hamcv.outputs import check_output
from hamcv.screens import show_demo_banner, show_exported, show_leaderboard, show_notes, show_written
from hamcv.sources import choose_data, settings_of_data


def predict_command(
    source: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="A run folder or a predictor bundle.")],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Image files, folders (with all below), patterns like 'in/**/*.png'."),
    ],
    output: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="[default: stdout]")] = None,
    device: DeviceOption = "auto",
    tta: ViewsOption = 1,
    spins: SpinsOption = None,
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
        show_demo_banner(stderr())
    if output is not None:
        show_written((output,), Console())
    answered.refuse_unanswered()


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
        show_demo_banner(stderr())
    show_exported(exported, Console())


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
    device: DeviceOption = "auto",
    tta: ViewsOption = 1,
    spins: SpinsOption = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="key=value", help="Any of columns.KEY, audit.KEY and report.KEY."),
    ] = None,
) -> None:
    """Score and report the ensemble on a labelled set that it never saw.

    Images that were in training, and near-duplicates of them, are found and left out.
    """
    from hamcv.external import ExternalOptions, evaluate_external, malignant_of, parse_classes

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
    config = settings_of_data(
        chosen,
        layout,
        assignments,
        allowed=("columns.KEY", "audit.KEY", "report.KEY"),
        options={"report.malignant": malignant_of(source)},
    )
    result = evaluate_external(config, options, stderr())
    show_notes(result.notes, stderr())
    show_leaderboard(result.evaluation, Console())
    show_written(result.files, Console())
