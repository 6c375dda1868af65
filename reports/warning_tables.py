"""The table of warnings."""

from __future__ import annotations

from reports.document import Cell, Column, Paragraph, Table
from reports.score_tables import estimate_cell
from reports.uncertainty import WarningShares
from reports.wording import percent


def warnings_text(warnings: WarningShares) -> Paragraph:
    """Say what warnings are and how they were checked."""
    return Paragraph(
        title="Warnings.",
        text="The predictor warns of an image that is farther from the training images, in the networks' features or "
        "in colours and texture, than nearly all held-out lesions, and of one about which the networks disagree more. "
        f"Each limit is set so that {percent(warnings.aimed)} of lesions like those of the training are beyond it. "
        "Here every image was held against limits that come from other lesions; every lesion counts once. Right "
        f"answers are those of the most probable class of {warnings.model}.",
    )


def warnings_table(warnings: WarningShares) -> Table:
    """Return the share of lesions that are warned of, and of right answers with and without a warning."""
    return Table(
        name="warnings",
        caption="Warnings on held-out lesions. The columns of classes are the share of their lesions with a warning of "
        "either kind.",
        columns=(
            Column(label="Limits", numeric=False),
            Column(label="Too far", explain="Share of lesions beyond the limit for the distance."),
            Column(label="Disagreement", explain="Share of lesions beyond the limit for the disagreement."),
            Column(label="Right with a warning", explain="Share of right answers where there is a warning."),
            Column(label="Right without", explain="Share of right answers where there is none."),
            *(Column(label=name) for name in warnings.per_class),
        ),
        rows=(
            (
                Cell(text=f"for {percent(warnings.aimed)} each"),
                estimate_cell(warnings.far),
                estimate_cell(warnings.divided),
                estimate_cell(warnings.accuracy_warned),
                estimate_cell(warnings.accuracy_others),
                *(estimate_cell(estimate) for estimate in warnings.per_class.values()),
            ),
        ),
    )
