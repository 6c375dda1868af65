"""The section on the diversity of the members: words, figure and table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reports.diversity import PAIR_METRICS, Diversity
from reports.document import Block, Cell, Column, Paragraph, Section, Table
from reports.figures.diversity import diversity_figure
from reports.results import Evaluation
from reports.score_tables import estimate_cell
from reports.summary import lead_model
from reports.wording import estimate_words, number, plural

_COLUMNS: Mapping[str, tuple[str, str]] = {
    "agreement": ("Agreement", "Share of images for which both name the same class."),
    "disagreement": ("Disagreement", "Share of images that only one of the two has right."),
    "double_fault": ("Double fault", "Share of images that both have wrong."),
    "q": ("Q", "Yule’s Q: 0 for independent errors, 1 when one member’s errors are all the other’s, too."),
    "error_correlation": ("Error correlation", "Correlation of the errors of the two."),
}


def diversity_section(evaluation: Evaluation) -> Section:
    """Show how alike the members are; empty with fewer than two."""
    diversity = evaluation.diversity
    blocks: tuple[Block, ...] = ()
    if diversity is not None:
        blocks = (_text(evaluation, diversity), diversity_figure(diversity), diversity_table(diversity))
    return Section(name="diversity", title="Diversity of the members", blocks=blocks)


def _text(evaluation: Evaluation, diversity: Diversity) -> Paragraph:
    qs = [value for pair in diversity.pairs if (value := pair.metrics["q"].value) is not None]
    mean = f" Their mean Q is {number(float(np.mean(qs)))}." if qs else ""
    lead = evaluation.models[lead_model(evaluation)]
    return Paragraph(
        title="What members share.",
        text="Combining helps where members err on different images (Kuncheva and Whitaker, Mach. Learn. 51 (2003) "
        f"181-207). At least one of the {plural(len(diversity.members), 'member')} is right for a share of "
        f"{estimate_words(diversity.any_right)} of the images, all of them are for "
        f"{estimate_words(diversity.all_right)}; {lead.name} is for {estimate_words(lead.overall['accuracy'])}.{mean} "
        "Measures of diversity say little about how well an ensemble does: members that err more often also differ "
        "more.",
    )


def diversity_table(diversity: Diversity) -> Table:
    """Return what every pair of members has in common."""
    return Table(
        name="member-pairs",
        caption="Pairs of members, with 95 % intervals from the same lesion resamples. All but the agreement look at "
        "right and wrong answers only.",
        columns=(
            Column(label="Member", numeric=False),
            Column(label="Other", numeric=False),
            *(Column(label=_COLUMNS[metric][0], explain=_COLUMNS[metric][1]) for metric in PAIR_METRICS),
        ),
        rows=tuple(
            (
                Cell(text=pair.model),
                Cell(text=pair.other),
                *(estimate_cell(pair.metrics[metric]) for metric in PAIR_METRICS),
            )
            for pair in diversity.pairs
        ),
    )
