"""The section of subgroups: words, table and figure."""

from __future__ import annotations

from collections.abc import Mapping

from reports.document import Block, Cell, Column, Group, Paragraph, Section, Table
from reports.figures.style import ModelLook, file_name
from reports.figures.subgroup_forest import subgroup_forests
from reports.results import Estimate, Evaluation
from reports.score_tables import estimate_cell, metric_columns, whole
from reports.subgroups import CLASS_MEANS, SMALL, SUBGROUP_METRICS, GroupScores, Subgroups


def subgroup_section(evaluation: Evaluation, looks: Mapping[str, ModelLook]) -> Section:
    """Show the scores of groups of images: of the first model at once, of the others folded away; empty without."""
    subgroups = evaluation.subgroups
    blocks: tuple[Block, ...] = ()
    if subgroups is not None and subgroups.comparable:
        first, *others = subgroups.models
        blocks = (
            _text(subgroups, first),
            *subgroup_forests(evaluation, subgroups, first, looks[first]),
            subgroup_table(subgroups, first),
            *(Group(title=f"Subgroups: {model}", blocks=(subgroup_table(subgroups, model),)) for model in others),
        )
    return Section(name="subgroups", title="Subgroups", blocks=blocks)


def _text(subgroups: Subgroups, model: str) -> Paragraph:
    left_out = [
        f"{scores.title.lower()} ({scores.reason})" for scores in subgroups.attributes.values() if scores.reason
    ]
    missing = f" Left out: {', '.join(left_out)}." if left_out else ""
    confirmed = (
        " How a diagnosis was confirmed says how hard the lesion was: what is followed up or agreed on at sight is "
        "mostly a plain nevus."
        if "dx_type" in subgroups.comparable
        else ""
    )
    return Paragraph(
        title="How to read this.",
        text=f"Scores of {model} on parts of the images. Groups differ in more than what names them: how often each "
        "class occurs, how it was confirmed, how large lesions are. A difference between two groups is no proof that "
        "the model treats them differently, and with this many groups some will differ by chance."
        f"{confirmed}{missing}",
    )


def subgroup_table(subgroups: Subgroups, model: str) -> Table:
    """Return the scores of one model in every group."""
    rows = [
        (
            Cell(text=scores.title),
            Cell(text=name, detail="few lesions" if group.small else ""),
            whole(group.n_images),
            whole(group.n_lesions),
            *(_score_cell(metric, group.models[model][metric], group) for metric in SUBGROUP_METRICS),
        )
        for scores in subgroups.comparable.values()
        for name, group in scores.groups.items()
    ]
    return Table(
        name=file_name("subgroups", model),
        caption=f"Subgroups, {model}, with 95 % intervals from the same lesion resamples. Few lesions: fewer than "
        f"{SMALL}; such intervals are too narrow. A lesion whose images fall into several groups counts in each.",
        columns=(
            Column(label="Divided by", numeric=False),
            Column(label="Group", numeric=False),
            Column(label="Images"),
            Column(label="Lesions"),
            *metric_columns(SUBGROUP_METRICS),
        ),
        rows=tuple(rows),
    )


def _score_cell(metric: str, estimate: Estimate, group: GroupScores) -> Cell:
    if estimate.value is None and metric in CLASS_MEANS:
        # Which classes these are differs from group to group: as footnotes they would outgrow the table.
        return estimate_cell(Estimate(value=None, reason="a class has no image in this group"))
    if estimate.value is not None and estimate.low is None and group.n_lesions > 1:
        reason = "too few lesions of one kind for the resamples to give one"
        return estimate_cell(Estimate(value=estimate.value, reason=reason))
    return estimate_cell(estimate)
