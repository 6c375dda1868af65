"""What the commands print: each takes a result and a console, computes nothing that others need."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cv_folds.data.fetch.published import CITATION, LICENCE
from cv_folds.splits import Folds
from hamcv.arms import jobs_of, jobs_of_pairs
from hamcv.config import Recipe
from hamcv.protocol_screen import show_inflation, show_nested, show_repeats
from hamcv.run_config import RunConfig
from hamcv.sources import DEMO_BANNER
from reports.results import Estimate, Evaluation
from reports.summary import leakage_warning
from reports.wording import plural

if TYPE_CHECKING:
    # Some need torch, and most screens are shown without.
    from cv_folds.scheduling.engine import Engine
    from hamcv.dry_run import Plan
    from hamcv.exporting import Exported
    from hamcv.fetching import FetchedSet
    from hamcv.health import Finding
    from hamcv.job import Prepared

LEADERBOARD = {"macro_f1": "macro F1", "balanced_accuracy": "balanced accuracy", "macro_auc": "macro AUC"}
"""Three metrics with their intervals fit into 80 columns; the reports have all."""


def show_leaderboard(evaluation: Evaluation, console: Console) -> None:
    """Print the models with their main metrics and intervals, best macro F1 first."""
    if evaluation.demo:
        show_demo_banner(console)
    if evaluation.leakage is not None:
        console.print(leakage_warning(evaluation.leakage), style="yellow", markup=False, soft_wrap=True)
    kind = {"holdout": "Test", "external": "External"}.get(evaluation.protocol, "Out-of-fold")
    console.print(
        f"{kind} scores of {evaluation.n_images} images of {evaluation.n_lesions} lesions, with 95 % intervals "
        "from a bootstrap over lesions",
        highlight=False,
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for title in LEADERBOARD.values():
        table.add_column(title, no_wrap=True)

    def rank(name: str) -> float:
        value = evaluation.models[name].overall["macro_f1"].value
        return -1.0 if value is None else value

    for name in sorted(evaluation.models, key=rank, reverse=True):
        overall = evaluation.models[name].overall
        table.add_row(name, *(estimate_text(overall[metric]) for metric in LEADERBOARD))
    console.print(table)
    if evaluation.effects is not None and evaluation.effects.best is not None:
        console.print(evaluation.effects.best.sentence, markup=False, highlight=False, soft_wrap=True)
    if evaluation.repeats is not None:
        show_repeats(evaluation.repeats, LEADERBOARD, console)
    if evaluation.inflation is not None:
        show_inflation(evaluation.inflation, LEADERBOARD, console)
    if evaluation.nested is not None:
        show_nested(evaluation.nested, LEADERBOARD, console)


def show_demo_banner(console: Console) -> None:
    """Print that the images, or those of the training, are generated."""
    console.print(DEMO_BANNER, style="yellow", markup=False, soft_wrap=True)


def show_written(files: Sequence[Path], console: Console) -> None:
    """Print where the results are."""
    for path in files:
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def show_notes(notes: Sequence[str], console: Console) -> None:
    """Print what everyone who uses the data should be told."""
    for note in notes:
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def show_exported(exported: Exported, console: Console) -> None:
    """Print what is in a bundle, what it costs in exactness, and where it is."""
    manifest, best = exported.bundle.manifest, exported.best
    lines = [f"{len(manifest.members)} networks of {', '.join(manifest.combiner.backbones)}"]
    if best is not None:
        lines[0] += f", of {best.among} backbones that with the least out-of-fold log-loss ({best.log_loss:.4f})"
    if manifest.half is not None:
        lines.append(
            f"weights in float16: no probability of {manifest.half.pictures} made-up pictures differs by more than "
            f"{manifest.half.largest_difference:.1e}"
        )
    if manifest.onnx is not None:
        lines.append(
            f"{manifest.onnx.file}: no probability of random images differs from the predictor's by more than "
            f"{manifest.onnx.largest_difference:.1e}"
        )
    lines.append(f"wrote {exported.bundle.folder} ({exported.n_bytes / 1e6:.1f} MB)")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_fetched(sets: Sequence[FetchedSet], console: Console) -> None:
    """Print what is there now, its licence, what to cite and what to do next."""
    lines = []
    for fetched in sets:
        known = "fetched and checked" if fetched.changed else "all was there, and was checked"
        lines.append(f"{fetched.title}: {fetched.images} images and their table in {fetched.folder}; {known}")
        lines += [
            f"{folder}: unpacked by hand; its images were counted, their content cannot be checked"
            for folder in fetched.by_hand
        ]
    lines += [f"licence: {LICENCE}", f"cite: {CITATION}", f"next: hamcv data info {shlex.quote(str(sets[0].folder))}"]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_folds(folds: Folds, console: Console) -> None:
    """Print lesions, images and images of each class in each fold."""
    rows = folds.table()
    _, *columns = rows[0]
    table = Table("part" if folds.holdout else "fold", *columns, box=SIMPLE_HEAD, pad_edge=False)
    for name, row in zip(folds.names, rows, strict=True):
        table.add_row(name, *(str(row[column]) for column in columns))
    console.print(table)


def show_plan(config: RunConfig, plan: Plan, engine: Engine, console: Console) -> None:
    """Print what a run would do."""
    found = plan.found
    dataset = found.dataset
    if dataset.demo:
        show_demo_banner(console)
    console.print(
        f"{dataset.root}: {len(dataset)} images of {dataset.n_lesions} lesions", highlight=False, soft_wrap=True
    )
    show_notes((*dataset.notes, *found.notes), console)
    show_folds(found.main, console)
    for note in (note for division in found.divisions for note in division.notes):
        console.print(note, style="yellow", markup=False, highlight=False, soft_wrap=True)
    trainings = len(jobs_of(config)) // len(config.backbones)
    pairs = len(jobs_of_pairs(config)) // len(config.backbones)
    nested = f" ({pairs} of them without two folds, for the nested estimate)" if pairs else ""
    for backbone, weights in found.weights.items():
        start = "random weights" if weights is None else str(weights.path)
        console.print(f"{backbone}: {trainings} trainings{nested} from {start}", highlight=False, soft_wrap=True)
    where = f" on {engine.place}" if engine.place else ""
    console.print(f"device: {engine.device}, {engine.side_by_side} jobs side by side{where}", highlight=False)
    console.print(config.to_toml(), markup=False, highlight=False)
    console.print(_beginning(plan), markup=False, highlight=False, soft_wrap=True)
    show_notes(plan.anew, console)
    console.print("Nothing was trained or written.", highlight=False)


def _beginning(plan: Plan) -> str:
    if plan.finished is not None:
        return f"{plan.folder}: resumes a run, {plan.finished} of {plural(plan.trainings, 'training')} finished"
    replaced = "; --overwrite removes the one that is there" if plan.replaces else ""
    return f"{plan.folder}: a new run, {plural(plan.trainings, 'training')}{replaced}"


def show_prepared(prepared: Prepared, console: Console) -> None:
    """Print how to run the jobs of a prepared folder."""
    if prepared.demo:
        show_demo_banner(console)
    show_notes(prepared.notes, console)
    console.print(
        f"{prepared.folder}: {prepared.n_jobs} jobs are ready: hamcv job {prepared.folder} INDEX, "
        f"INDEX from 0 to {prepared.n_jobs - 1}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def show_recipes(found: Sequence[Recipe], console: Console) -> None:
    """Print the recipes with one line each, and the source of those that are not hamcv's own."""
    width = max(len(recipe.name) for recipe in found)
    for recipe in found:
        source = f" (after {recipe.source})" if recipe.source else ""
        line = f"{recipe.name:<{width}}  {recipe.description}{source}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_doctor(findings: Sequence[Finding], console: Console) -> None:
    """Print what `hamcv.health.examine` found."""
    for finding in findings:
        console.print(f"{finding.what:<26} {finding.found}", markup=False, highlight=False, soft_wrap=True)
        if finding.mend:
            console.print(f"{'':<26} -> {finding.mend}", style="yellow", markup=False, soft_wrap=True)


def estimate_text(estimate: Estimate) -> str:
    """Write a value with its interval, in two decimals."""
    if estimate.value is None:
        return "n/a"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
