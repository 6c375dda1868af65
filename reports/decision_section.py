"""The section of decision curves: whether acting on the probabilities does more good than harm."""

from __future__ import annotations

from collections.abc import Mapping

from reports.document import Block, Group, Paragraph, Section
from reports.figures.decision_curve import decision_curve_figure
from reports.figures.style import ModelLook
from reports.further_tables import net_benefit_table
from reports.intervals import SAME_WITHIN
from reports.levels import Level, Levels
from reports.results import Evaluation
from reports.wording import listing, percent


def decision_curves(evaluation: Evaluation, looks: Mapping[str, ModelLook], lead: str) -> Section:
    """Show the net benefit of malignant against benign; empty without malignant and benign images."""
    levels = evaluation.levels
    blocks: tuple[Block, ...] = ()
    if levels is not None and levels.by_image.n_malignant not in (0, levels.by_image.n):
        shown = (levels.by_image, *(() if levels.by_lesion is None else (levels.by_lesion,)))
        blocks = (
            _text(levels, lead),
            decision_curve_figure(levels, looks, lead),
            *(
                Group(title=f"Net benefit per {level.unit} as a table", blocks=(net_benefit_table(levels, level),))
                for level in shown
            ),
        )
    return Section(name="decision-curves", title="Decision curves", blocks=blocks)


def _text(levels: Levels, lead: str) -> Paragraph:
    return Paragraph(
        title="Net benefit.",
        text="Whoever would have a lesion removed at a probability of malignancy of p or more weighs a missed cancer "
        "(1 − p)/p times as heavily as a needless removal. The net benefit at that threshold is the share of true "
        "positives less the share of false positives times p/(1 − p) (Vickers and Elkin, Med. Decis. Making 26 (2006) "
        f"565-574); the probability is the sum over {listing(levels.malignant_classes)}. A model is of use at a "
        "threshold where its curve lies above both calling every case malignant and calling none. "
        f"{_where_of_use(levels, levels.by_image, lead)} Net benefit depends on how common malignant lesions are: in "
        "images that were collected in specialist centres, that is not as in a practice.",
    )


def _where_of_use(levels: Levels, level: Level, lead: str) -> str:
    """Name the thresholds at which the model is above both, by point estimate and by interval."""
    rows = list(zip(levels.thresholds, level.models[lead].net_benefit, level.treat_all, strict=True))
    above = [
        threshold
        for threshold, benefit, everyone in rows
        if benefit.value is not None and everyone is not None and benefit.value > max(everyone, 0) + SAME_WITHIN
    ]
    if not above:
        return f"That of {lead} does so at no threshold from {percent(rows[0][0])} to {percent(rows[-1][0])}."
    return f"That of {lead}, per {level.unit}, does so at {_ranges(above)}, by point estimate."


def _ranges(thresholds: list[float]) -> str:
    """Write whole per cents as ranges: ``3 % to 47 % and 50 %``."""
    steps = [round(100 * threshold) for threshold in thresholds]
    starts = [step for step in steps if step - 1 not in steps]
    ends = [step for step in steps if step + 1 not in steps]
    words = [
        percent(start / 100) if start == end else f"{percent(start / 100)} to {percent(end / 100)}"
        for start, end in zip(starts, ends, strict=True)
    ]
    return listing(words)
