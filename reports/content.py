"""The content of a report, computed once; the HTML and the PDF writer only set it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cv_folds.errors import DataError
from ensemble.predictions import Predictions
from reports import method_notes, nested_tables, protocol_tables, run_tables, score_sections, summary
from reports.checklist_section import checklist_section
from reports.curves import compute_curves
from reports.decision_section import decision_curves
from reports.diversity_section import diversity_section
from reports.document import Block, Bullets, Document, Figure, Group, Notice, Paragraph, Section
from reports.figures.fold_spread import SPREAD_METRICS
from reports.figures.style import model_looks
from reports.figures.training import training_figure
from reports.gallery_section import gallery_section
from reports.methods_section import methods_section
from reports.protocol_tables import repeat_values
from reports.results import Evaluation, Inflation, Nested, Repeats
from reports.risk_section import risk_and_coverage
from reports.run_folder import RunFolder
from reports.run_page import run_section
from reports.study import Study
from reports.subgroup_section import subgroup_section
from reports.verdict import run_verdict
from reports.wording import metric_label, plural

MERGED = (
    "Images under different lesion ids that show one lesion: identical files, near-duplicates that the search "
    "confirmed, and pairs that a person accepted. Their lesions were put into one group."
)


def build_document(folder: RunFolder, evaluation: Evaluation, predictions: Predictions) -> Document:
    """Put a report together.

    Parameters
    ----------
    folder : RunFolder
        What was run on what.
    evaluation : Evaluation
        The scores; every number in tables and figures is from here.
    predictions : Predictions
        Out-of-fold probabilities, for the curves and to find networks that name one class only.

    Returns
    -------
    Document

    Raises
    ------
    DataError
        When the three do not belong to the same images or models.
    """
    _same_run(folder, evaluation, predictions)
    curves = compute_curves(predictions)
    looks = model_looks(predictions.kinds)
    lead = summary.lead_model(evaluation)
    study = Study.of(folder, evaluation)
    sections = (
        _summary(folder, evaluation, predictions),
        *((_inflation(evaluation.inflation, lead),) if evaluation.inflation is not None else ()),
        _data(folder),
        score_sections.overall(evaluation, looks),
        *((_nested(evaluation.nested, lead),) if evaluation.nested is not None else ()),
        score_sections.classes(evaluation, looks, lead),
        score_sections.further(evaluation),
        *(() if folder.folds.holdout else (score_sections.spread(evaluation, looks),)),
        *((_repeats(evaluation.repeats),) if evaluation.repeats is not None else ()),
        score_sections.confusion(curves, lead),
        score_sections.class_curves(curves, evaluation, looks, lead),
        score_sections.calibration(curves, evaluation, looks, lead),
        subgroup_section(evaluation, looks),
        diversity_section(evaluation),
        score_sections.decisions(evaluation),
        decision_curves(evaluation, looks, lead),
        risk_and_coverage(evaluation, looks, lead),
        gallery_section(study, predictions),
        _training(folder, looks),
        run_section(folder),
        methods_section(study),
        Section(
            name="method",
            title="Method and limits",
            blocks=(
                *method_notes.method_notes(
                    _resamples(folder),
                    study.settings.training,
                    holdout=folder.folds.holdout,
                    nested=evaluation.nested is not None,
                    leaks=folder.audit.allowed_leakage is not None,
                ),
                method_notes.glossary(),
            ),
        ),
    )
    return Document(
        title="Hold-out report" if folder.folds.holdout else "Cross-validation report",
        subtitle=f"{folder.name}: {folder.record.data.name}, {_division(folder)}",
        banner=summary.banner(evaluation, folder),
        date=folder.record.finished or folder.record.started,
        sections=(*(section for section in sections if section.blocks), checklist_section(study, sections)),
    )


def _same_run(folder: RunFolder, evaluation: Evaluation, predictions: Predictions) -> None:
    scored = folder.folds.image_ids[np.isin(folder.folds.folds, folder.folds.held_out)]
    if set(scored.tolist()) != set(predictions.image_ids.tolist()):
        raise DataError(f"{folder.name}: predictions.csv and folds.csv do not hold the same images; run again")
    if tuple(evaluation.models) != tuple(predictions.probabilities) or evaluation.classes != predictions.classes:
        raise DataError(f"{folder.name}: the scores and predictions.csv do not hold the same models and classes")


def _summary(folder: RunFolder, evaluation: Evaluation, predictions: Predictions) -> Section:
    notes = (summary.status_note(folder), summary.audit_note(folder), summary.collapse_note(predictions))
    warnings = [text for text in notes if text is not None]
    weights = summary.weights_note(folder)
    findings = summary.what_differs(evaluation)
    return Section(
        name="summary",
        title="Summary",
        blocks=(
            *(Notice(text=text, level="warning") for text in warnings),
            *((Notice(text=weights, level="note"),) if weights is not None else ()),
            Paragraph(title="Verdict.", text=run_verdict(folder, evaluation, predictions).text),
            Paragraph(text=summary.what_was_done(evaluation, folder)),
            Paragraph(text=summary.what_came_out(evaluation)),
            *((Bullets(items=findings),) if findings else ()),
            method_notes.FOR_CLINICIANS,
            method_notes.for_statisticians(holdout=folder.folds.holdout),
        ),
    )


def _data(folder: RunFolder) -> Section:
    audit = folder.audit
    blocks: list[Block] = [
        run_tables.class_counts(folder.folds.classes, folder.folds.labels, folder.folds.lesion_ids),
        run_tables.fold_counts(folder),
        run_tables.audit_table(audit, holdout=folder.folds.holdout),
    ]
    pairs = [
        run_tables.pair_table(name, caption, found)
        for name, caption, found in (
            ("merged-pairs", MERGED, audit.merged_pairs),
            ("doubtful-pairs", "Look-alikes that were left apart; a person should look at them.", audit.doubtful_pairs),
        )
        if found
    ]
    if pairs:
        blocks.append(Group(title="Images of different lesions that look alike", blocks=tuple(pairs)))
    return Section(name="data", title="Data and folds", blocks=tuple(blocks))


def _division(folder: RunFolder) -> str:
    return "training, validation and test part" if folder.folds.holdout else plural(folder.folds.n_folds, "fold")


def _inflation(inflation: Inflation, lead: str) -> Section:
    return Section(
        name="leakage",
        title="How much of the score was the split",
        blocks=(*protocol_tables.inflation_text(inflation, lead), *protocol_tables.inflation_tables(inflation)),
    )


def _nested(nested: Nested, lead: str) -> Section:
    return Section(
        name="nested",
        title="How far the ensembles’ scores can be trusted",
        blocks=(*nested_tables.nested_text(nested, lead), nested_tables.nested_table(nested)),
    )


def _repeats(repeats: Repeats) -> Section:
    return Section(
        name="repetitions",
        title="Spread between repetitions",
        blocks=(
            protocol_tables.repeats_text(repeats),
            protocol_tables.repeats_table(repeats),
            *(
                Group(title=f"By repetition: {metric_label(metric)}", blocks=(repeat_values(repeats, metric),))
                for metric in SPREAD_METRICS
            ),
        ),
    )


def _training(folder: RunFolder, looks: score_sections.Looks) -> Section:
    backbones = dict.fromkeys(history.backbone for history in folder.histories)
    figures: Sequence[Figure] = [
        training_figure(
            [job for job in folder.histories if job.backbone == backbone],
            looks[backbone],
            holdout=folder.folds.holdout,
        )
        for backbone in backbones
    ]
    return Section(name="training", title="Training curves", blocks=tuple(figures))


def _resamples(folder: RunFolder) -> str:
    return run_tables.setting_text(folder.settings.get("report.resamples", "an unrecorded number of"))
