"""The section of risk and coverage: how far the confidence can be used to pass doubtful cases on."""

from __future__ import annotations

from collections.abc import Mapping

from reports.document import Block, Cell, Column, Paragraph, Section, Table
from reports.figures.risk_curve import risk_curve_figure
from reports.figures.style import ModelLook
from reports.levels import Level, Levels
from reports.results import Evaluation
from reports.score_tables import best_value, estimate_cell
from reports.wording import percent

SHOWN_COVERAGES = (0.5, 0.7, 0.8, 0.9, 1.0)
"""In the table; ``metrics.json`` has more."""


def risk_and_coverage(evaluation: Evaluation, looks: Mapping[str, ModelLook], lead: str) -> Section:
    """Show the share of errors among the most confident answers; empty when it was not computed."""
    levels = evaluation.levels
    blocks: tuple[Block, ...] = ()
    if levels is not None:
        sets = evaluation.prediction_sets
        blocks = (
            _TEXT,
            risk_curve_figure(levels, sets, looks, lead),
            risk_table(levels, levels.by_image if levels.by_lesion is None else levels.by_lesion),
        )
    return Section(name="risk-coverage", title="Risk and coverage", blocks=blocks)


_TEXT = Paragraph(
    title="Passing cases on.",
    text="If a model answers only the cases that it is most sure of, by its highest probability, and passes the others "
    "on to a person, the risk is the share of errors among its answers and the coverage the share of cases that it "
    "answers (Geifman and El-Yaniv, NeurIPS 2017). A curve that falls steeply towards the left means that the "
    "confidence tells right answers from wrong ones. The area under the curve is in the tables of further scores.",
)


def risk_table(levels: Levels, level: Level) -> Table:
    """Return the risk of every model at a few coverages."""
    places = [levels.coverages.index(coverage) for coverage in SHOWN_COVERAGES]
    best = [best_value([scores.risk[place] for scores in level.models.values()], "aurc") for place in places]
    return Table(
        name=f"risk-{level.unit}",
        caption=f"Risk per {level.unit}: share of errors among the most confident answers, by coverage, with 95 % "
        "intervals from the same lesion resamples. Bold: best point estimate.",
        columns=(
            Column(label="Model", numeric=False),
            *(Column(label=f"Coverage {percent(coverage)}") for coverage in SHOWN_COVERAGES),
        ),
        rows=tuple(
            (
                Cell(text=name),
                *(estimate_cell(scores.risk[place], best=value) for place, value in zip(places, best, strict=True)),
            )
            for name, scores in level.models.items()
        ),
    )
