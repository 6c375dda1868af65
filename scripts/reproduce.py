"""Measure five published systems under their own split and without leakage, and write one table.

    python scripts/reproduce.py --data data/ham10000 --out reproduced
    python scripts/reproduce.py --out reproduced --size 64 --epochs 1 --limit-lesions 400 --weights FOLDER

Every recipe is run on its own split; on stratified folds of images; and on folds of lesions with merged
near-duplicates. OUT/reproduced.md and reproduced.json hold what is reported, what was measured on the own split and
without leakage, and the differences with intervals. The runs lie in OUT/RECIPE/own and OUT/RECIPE/folds; the same
command again goes on where an earlier one ended. A recipe that cannot be run is named in the table.

Scored are the networks' own answers: no class shares are restored and nothing is calibrated, as the projects did not.
`--size` and `--epochs` make runs small enough for a CPU; their figures say nothing about the projects.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from make_class_folders import write_class_folders
from reproducing.compare import compare
from reproducing.page import Measured, Outcome, Row, write_page
from reproducing.published import PUBLISHED, WITHOUT_LEAKAGE, Published
from rich.console import Console

from cv_folds.errors import HamcvError
from cv_folds.training.weights import find_weights
from ensemble.predictions import Predictions
from hamcv.config import read_config, resolve
from hamcv.evaluation import UNCALIBRATED_FILE, model_kinds
from hamcv.run import RunOptions, run
from hamcv.run_config import RunConfig
from hamcv.run_folder import CONFIG_FILE
from hamcv.sources import choose_data, open_dataset
from reports.run_records import RunRecord, read_record

QUICK = {"ensemble.combiners": ["soft_vote"], "ensemble.deployed": "soft_vote", "report.formats": ["html"]}
"""The table is of single networks; one ensemble and one form of report suffice."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What is the same for all recipes."""

    out: Path
    """Where the runs and the table go."""
    data: str
    """Folder of the data, or ``demo``."""
    eight: Path | None
    """Class folders or a data set with eight classes; None for class folders of `data`."""
    weights: str
    """``imagenet``, ``none`` or a folder."""
    options: dict[str, Any]
    """Settings of every run."""
    jobs: int | None
    """Jobs side by side."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, write the table, and return 1 when a recipe could not be run."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.weights not in ("imagenet", "none") and not Path(options.weights).is_dir():
        parser.error(f"--weights {options.weights}: no such folder; name one, imagenet or none")
    known = [published.recipe for published in PUBLISHED]
    names = known if options.recipes is None else options.recipes.split(",")
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"--recipes {','.join(unknown)}: must be of {', '.join(known)}")
    choices = Choices(
        out=options.out,
        data=choose_data(options.data).data,
        eight=options.eight_classes,
        weights=options.weights,
        options={
            "folds": options.folds,
            "seed": options.seed,
            "device": options.device,
            "limit_lesions": options.limit_lesions,
            "training.image_size": options.size,
            "training.epochs": options.epochs,
            "report.resamples": options.resamples,
            **QUICK,
        },
        jobs=options.jobs,
    )
    outcomes = [_measured(published, choices) for published in PUBLISHED if published.recipe in names]
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = shlex.join(["python", "scripts/reproduce.py", *given])
    for path in write_page(outcomes, choices.out, command=command, epochs=options.epochs):
        print(f"wrote {path}")
    return int(any(outcome.failure is not None for outcome in outcomes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the data [default: as for `hamcv run`]")
    parser.add_argument("--out", type=Path, required=True, help="where the runs and the table go")
    parser.add_argument("--recipes", help="only these, separated by commas")
    parser.add_argument("--size", type=int, help="side of the images in pixels [default: the recipe's]")
    parser.add_argument("--epochs", type=int, help="most epochs of a training or phase [default: the recipe's]")
    parser.add_argument("--limit-lesions", type=int, help="a random subset of about this many lesions")
    parser.add_argument("--weights", default="imagenet", help="imagenet, none, or a folder; without a file there: none")
    parser.add_argument("--eight-classes", type=Path, help="data with eight classes, for the recipe that knows them")
    parser.add_argument("--folds", type=int, default=5, help="folds of the cross-validations [default: %(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="of everything [default: %(default)s]")
    parser.add_argument("--resamples", type=int, default=2000, help="lesion resamples [default: %(default)s]")
    parser.add_argument("--device", default="auto", help="as for `hamcv run`")
    parser.add_argument("--jobs", type=int, help="as for `hamcv run`")
    return parser


def _measured(published: Published, choices: Choices) -> Outcome:
    """Carry out both runs of a recipe and score them, or say why that cannot be."""
    try:
        return Outcome(published=published, measured=_measure(published, choices), failure=None)
    except HamcvError as error:
        print(f"{published.recipe}: {error}", file=sys.stderr)
        return Outcome(published=published, measured=None, failure=str(error))


def _measure(published: Published, choices: Choices) -> Measured:
    plain = choices.options | {"data": _data_of(published, choices)}
    weights = _weights_of(resolve(published.recipe, plain | dict(WITHOUT_LEAKAGE)).backbones, choices.weights)
    plain |= {"weights": weights}
    own = resolve(published.recipe, plain | dict(published.own))
    folds = resolve(published.recipe, plain | dict(WITHOUT_LEAKAGE))
    runs = {name: choices.out / published.recipe / name for name in ("own", "folds")}
    for config, folder in ((own, runs["own"]), (folds, runs["folds"])):
        _carry_out(config, folder, choices.jobs)
    kinds = model_kinds(folds)
    tables = [
        Predictions.read_csv(folder / UNCALIBRATED_FILE, kinds)
        for folder in (runs["own"], runs["folds"] / "image-level", runs["folds"])
    ]
    rows = [
        Row(
            model=backbone,
            reported=reported,
            scores=compare(
                *tables,
                model=backbone,
                metric=reported.metric,
                resamples=folds.report.resamples,
                # Anew for every row: all scores of one data set are of the same resamples.
                generator=np.random.default_rng(folds.seed),
            ),
        )
        for backbone in folds.backbones
        for reported in published.reported
    ]
    records = {name: read_record(folder / "run.json", RunRecord) for name, folder in runs.items()}
    n_test = len(tables[0].image_ids)
    return Measured(rows=tuple(rows), config=folds, own=records["own"], folds=records["folds"], n_test=n_test)


def _data_of(published: Published, choices: Choices) -> str:
    if not published.eight_classes:
        return choices.data
    if choices.eight is not None:
        return str(choices.eight)
    folders = choices.out / "class-folders"
    if not folders.exists():
        write_class_folders(open_dataset(choices.data), folders, copy=False)
    return str(folders)


def _weights_of(backbones: Sequence[str], weights: str) -> str:
    """Return the folder only when it has a file for every backbone."""
    if weights not in ("imagenet", "none"):
        try:
            for name in backbones:
                find_weights(weights, name, download=False)
        except HamcvError:
            return "none"
    return weights


def _carry_out(config: RunConfig, folder: Path, jobs: int | None) -> None:
    """Do a run, or what is left of it; nothing when it was finished with these settings."""
    stored = folder / CONFIG_FILE
    if stored.is_file() and read_config(stored) == config:
        record = folder / "run.json"
        if record.is_file() and read_record(record, RunRecord).status == "done":
            return
    options = RunOptions(out=folder, jobs=jobs, fail_fast=False, overwrite=False)
    run(config, options, Console(stderr=True))


if __name__ == "__main__":
    raise SystemExit(main())
