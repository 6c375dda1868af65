"""The table of `scripts/reproduce.py` as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cv_folds.files import write_json, write_text
from cv_folds.training.settings import TrainingSettings
from hamcv.run_config import RunConfig
from reports.results import Estimate
from reports.run_records import RunRecord
from reports.wording import interval, metric_in_sentence, number, plural, signed
from reproducing.compare import Compared
from reproducing.published import Published, Reported

PAGE, CONTENT = "reproduced.md", "reproduced.json"

HEAD = (
    "recipe, network",
    "score",
    "reported",
    "own split",
    "folds of images",
    "folds of lesions",
    "own − lesions",
    "images − lesions",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One score of one network."""

    model: str
    """The backbone."""
    reported: Reported
    """What the project says."""
    scores: Compared
    """What was measured."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the two runs of a recipe gave."""

    rows: tuple[Row, ...]
    """One a network and score."""
    config: RunConfig
    """The settings of the cross-validations."""
    own: RunRecord
    """Of the run on the own split."""
    folds: RunRecord
    """Of the cross-validations."""
    n_test: int
    """Images in the test part of the own split."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a recipe ended."""

    published: Published
    """What it is about."""
    measured: Measured | None
    """None when it could not be run."""
    failure: str | None
    """Why not; None when it was."""


def write_page(outcomes: Sequence[Outcome], out: Path, *, command: str, epochs: int | None) -> tuple[Path, Path]:
    """Write the table.

    Parameters
    ----------
    outcomes : sequence of Outcome
        In the order of the table.
    out : Path
        Folder of both files.
    command : str
        How it was made.
    epochs : int or None
        What ``--epochs`` said.

    Returns
    -------
    tuple of Path
        Markdown and JSON.
    """
    page, content = out / PAGE, out / CONTENT
    write_text(page, "\n".join(_lines(outcomes, command, epochs)) + "\n")
    write_json(content, {"schema": 1, "command": command, "recipes": [_plain(outcome) for outcome in outcomes]})
    return page, content


def _lines(outcomes: Sequence[Outcome], command: str, epochs: int | None) -> Iterator[str]:
    yield "# Published systems, on their own split and without leakage\n"
    if epochs is not None:
        yield (
            f"**No reproduction of the published figures**: every training or phase of one was cut to "
            f"{plural(epochs, 'epoch')} at the size below. This table shows that the recipes run, and no more.\n"
        )
    yield f"Made by `{command}`.\n"
    yield "| " + " | ".join(HEAD) + " |"
    yield "|---" * len(HEAD) + "|"
    for outcome in outcomes:
        yield from _rows(outcome)
    yield ""
    yield (
        "With 95 % percentile intervals from a bootstrap over lesions, the same resamples for all columns of a row, so "
        "that the differences are paired. Training is not repeated in it. Scores are of each network’s own answers, "
        "without restored class shares or calibration. “Folds of lesions” keep images of one lesion, and of merged "
        "near-duplicates, together: the column without leakage.\n"
    )
    yield "## What was run\n"
    yield "| recipe | own split | images (test) | lesions | folds | size | epochs | weights | seconds |"
    yield "|---" * 9 + "|"
    for outcome in outcomes:
        yield _run_row(outcome)
    versions = {
        outcome.published.recipe: outcome.measured.folds.versions
        for outcome in outcomes
        if outcome.measured is not None
    }
    devices = {outcome.measured.folds.device.name for outcome in outcomes if outcome.measured is not None}
    yield ""
    if versions:
        yield f"Versions: {', '.join(_versions(versions))}."
    yield from (f"Device: {name}." for name in sorted(devices))


def _rows(outcome: Outcome) -> Iterator[str]:
    if outcome.measured is None:
        reason = (outcome.failure or "").splitlines()[0]
        reported = "; ".join(reported.words for reported in outcome.published.reported if reported.words)
        yield f"| `{outcome.published.recipe}` | | {reported} | not run: {reason} | | | | |"
        return
    for row in outcome.measured.rows:
        scores = row.scores
        cells = (
            f"`{outcome.published.recipe}`, {row.model}",
            metric_in_sentence(row.reported.metric),
            row.reported.words or "not given",
            _value(scores.own),
            _value(scores.image_level),
            _value(scores.grouped),
            _difference(scores.own_minus_grouped),
            _difference(scores.image_level_minus_grouped),
        )
        yield "| " + " | ".join(cells) + " |"


def _run_row(outcome: Outcome) -> str:
    found, published = outcome.measured, outcome.published
    if found is None:
        return f"| `{published.recipe}` | {published.own_split} | | | | | | | |"
    data, training = found.folds.data, found.config.training
    seconds = sum(sum(record.seconds.values()) for record in (found.own, found.folds))
    cells = (
        f"`{published.recipe}`",
        published.own_split,
        f"{data.n_images} ({found.n_test})",
        str(data.n_lesions),
        str(found.config.folds),
        f"{training.image_size} px",
        _epochs(training),
        found.folds.weights,
        f"{seconds:.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def _epochs(training: TrainingSettings) -> str:
    """Return the most epochs, of a training in phases one after the other."""
    return " + ".join(str(phase.epochs) for phase in training.phases) or str(training.epochs)


def _versions(of_recipes: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield every package with its version, and the recipes where not all of them were run with it."""
    recipes: dict[tuple[str, str], list[str]] = {}
    for recipe, versions in of_recipes.items():
        for found in versions.items():
            recipes.setdefault(found, []).append(recipe)
    for (name, version), used_by in recipes.items():
        where = "" if len(used_by) == len(of_recipes) else f" ({', '.join(f'`{recipe}`' for recipe in used_by)})"
        yield f"{name} {version}{where}"


def _value(estimate: Estimate) -> str:
    return "n/a" if estimate.value is None else f"{number(estimate.value)} {interval(estimate)}".strip()


def _difference(estimate: Estimate) -> str:
    return "n/a" if estimate.value is None else f"{signed(estimate.value)} {interval(estimate)}".strip()


def _plain(outcome: Outcome) -> dict[str, Any]:
    published, found = outcome.published, outcome.measured
    content: dict[str, Any] = {"recipe": published.recipe, "own_split": published.own_split}
    if found is None:
        return content | {"failure": outcome.failure}
    return content | {
        "settings": found.config.model_dump(mode="json", exclude={"data", "weights"}),
        "weights": found.folds.weights,
        "data": found.folds.data.model_dump(mode="json"),
        "n_test": found.n_test,
        "versions": dict(found.folds.versions),
        "device": found.folds.device.model_dump(mode="json"),
        "seconds": {name: dict(record.seconds) for name, record in (("own", found.own), ("folds", found.folds))},
        "rows": [
            {
                "model": row.model,
                "metric": row.reported.metric,
                "reported": row.reported.words or None,
                **{name: Estimate(**value).to_json() for name, value in asdict(row.scores).items()},
            }
            for row in found.rows
        ],
    }
