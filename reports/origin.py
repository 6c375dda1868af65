"""The report of predictions that come from no run: from another data set, or from somebody else's program."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ensemble.predictions import Predictions
from reports import method_notes, score_sections, summary
from reports.curves import compute_curves
from reports.decision_section import decision_curves
from reports.diversity_section import diversity_section
from reports.document import Block, Bullets, Document, Notice, Paragraph, Section
from reports.figures.style import model_looks
from reports.results import Evaluation
from reports.risk_section import risk_and_coverage
from reports.run_tables import class_counts, facts_table
from reports.subgroup_section import subgroup_section
from reports.verdict import origin_verdict
from reports.wording import count


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where predictions come from, as far as that is known; the rest of their report follows from the scores."""

    title: str
    """Title of the report."""
    subtitle: str
    """What was scored."""
    date: datetime
    """When."""
    warnings: tuple[str, ...]
    """What must stand on every page."""
    notes: tuple[str, ...]
    """What a reader must not miss, on the first page."""
    account: tuple[str, ...]
    """What was done, in paragraphs."""
    data: tuple[Block, ...]
    """Tables on the images, beside the number of each class."""
    facts: tuple[tuple[str, str], ...]
    """What was scored with what: names and values."""
    method: tuple[Paragraph, ...]
    """How it was done, and the limits of that."""
    resamples: int
    """How many lesion resamples the intervals took."""


def build_origin_document(origin: Origin, evaluation: Evaluation, predictions: Predictions) -> Document:
    """Put the report of predictions without a run together.

    Parameters
    ----------
    origin : Origin
        Where the predictions come from.
    evaluation : Evaluation
        The scores; every number in tables and figures is from here.
    predictions : Predictions
        What was scored, for the curves.

    Returns
    -------
    Document
        The report of a run without the sections that need one: folds, training, jobs.
    """
    assert tuple(evaluation.models) == tuple(predictions.probabilities)
    curves = compute_curves(predictions)
    looks = model_looks(predictions.kinds)
    lead = summary.lead_model(evaluation)
    sections = (
        _summary(origin, evaluation, predictions),
        Section(
            name="data",
            title="Data",
            blocks=(class_counts(predictions.classes, predictions.labels, predictions.lesion_ids), *origin.data),
        ),
        score_sections.overall(evaluation, looks),
        score_sections.classes(evaluation, looks, lead),
        score_sections.further(evaluation),
        score_sections.confusion(curves, lead),
        score_sections.class_curves(curves, evaluation, looks, lead),
        score_sections.calibration(curves, evaluation, looks, lead),
        subgroup_section(evaluation, looks),
        diversity_section(evaluation),
        score_sections.decisions(evaluation),
        decision_curves(evaluation, looks, lead),
        risk_and_coverage(evaluation, looks, lead),
        Section(
            name="origin",
            title="What was scored with what",
            blocks=(facts_table("origin-facts", "Models, images and software.", origin.facts),) if origin.facts else (),
        ),
        Section(
            name="method",
            title="Method and limits",
            blocks=(
                *origin.method,
                *method_notes.score_notes(count(origin.resamples), over_folds=len(set(predictions.folds.tolist())) > 1),
                method_notes.glossary(),
            ),
        ),
    )
    return Document(
        title=origin.title,
        subtitle=origin.subtitle,
        banner=" ".join(origin.warnings) or None,
        date=origin.date,
        sections=tuple(section for section in sections if section.blocks),
    )


def _summary(origin: Origin, evaluation: Evaluation, predictions: Predictions) -> Section:
    kinds = set(predictions.kinds.values())
    collapsed = summary.collapse_note(predictions, "Look at the confusion matrices.", kinds=kinds)
    absent = [
        name
        for name in evaluation.classes
        if not evaluation.models[summary.lead_model(evaluation)].per_class[name]["support"].value
    ]
    notes = [*origin.notes, *([collapsed] if collapsed else [])]
    if absent:
        notes.append(
            f"No image is of {', '.join(absent)}: whatever needs such images is undefined, and says so. Means over the "
            "classes are not those of a set that has them all."
        )
    findings = summary.what_differs(evaluation)
    return Section(
        name="summary",
        title="Summary",
        blocks=(
            *(Notice(text=text, level="warning") for text in notes),
            Paragraph(title="Verdict.", text=origin_verdict(evaluation, predictions).text),
            *(Paragraph(text=text) for text in origin.account),
            Paragraph(text=summary.what_came_out(evaluation)),
            *((Bullets(items=findings),) if findings else ()),
            method_notes.FOR_STATISTICIANS,
        ),
    )
