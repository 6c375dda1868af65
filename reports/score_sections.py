"""The sections of a report that need the predictions and their scores, and nothing about a run."""

from __future__ import annotations

from collections.abc import Mapping

from reports import effect_tables, further_tables, score_tables
from reports.curves import Curves
from reports.document import Block, Group, Section
from reports.figures.class_curves import precision_recall_figure, roc_figure
from reports.figures.confusion import confusion_figure
from reports.figures.fold_spread import SPREAD_METRICS, fold_spread
from reports.figures.forest import class_forests, difference_forest, overall_forest
from reports.figures.reliability import class_reliability_figure, reliability_figure
from reports.figures.style import ModelLook
from reports.results import Evaluation
from reports.set_tables import sets_table, sets_text
from reports.tests_table import table_of_tests
from reports.warning_tables import warnings_table, warnings_text
from reports.wording import metric_label

Looks = Mapping[str, ModelLook]


def overall(evaluation: Evaluation, looks: Looks) -> Section:
    """Show the scores of every model over all classes, and how the models differ."""
    blocks: list[Block] = [*score_tables.leaderboards(evaluation), overall_forest(evaluation, looks)]
    if evaluation.comparisons:
        blocks += [difference_forest(evaluation.comparisons, looks)]
        blocks += [Group(title="Differences as a table", blocks=(score_tables.comparison_table(evaluation),))]
    if evaluation.tests:
        blocks += [Group(title="All tests of differences", blocks=(table_of_tests(evaluation),))]
    return Section(name="overall", title="Overall scores", blocks=tuple(blocks))


def classes(evaluation: Evaluation, looks: Looks, lead: str) -> Section:
    """Show the scores by class: of the model `lead` first, of the others folded away."""
    others = [
        Group(title=f"By class: {name}", blocks=(score_tables.class_table(evaluation, scores),))
        for name, scores in evaluation.models.items()
        if name != lead
    ]
    return Section(
        name="classes",
        title="Scores by class",
        blocks=(
            score_tables.class_table(evaluation, evaluation.models[lead]),
            *class_forests(evaluation, looks),
            *others,
        ),
    )


def further(evaluation: Evaluation) -> Section:
    """Show the scores beyond the usual ones, per image and per lesion; nothing when they were not computed."""
    levels = evaluation.levels
    blocks: list[Block] = []
    if levels is not None:
        if levels.by_lesion is not None:
            blocks += further_tables.lesion_tables(levels.by_lesion)
        for level in (levels.by_image, *(() if levels.by_lesion is None else (levels.by_lesion,))):
            found = (
                ("Malignant against benign", further_tables.malignant_tables(levels, level)),
                ("Decisions and confidence", (further_tables.balance_table(level),)),
                ("Calibration", further_tables.calibration_tables(level)),
            )
            blocks += [Group(title=f"{title}, per {level.unit}", blocks=tables) for title, tables in found]
    return Section(name="further", title="Per lesion, and further scores", blocks=tuple(blocks))


def spread(evaluation: Evaluation, looks: Looks) -> Section:
    """Show how the scores differ between the folds."""
    first, *rest = SPREAD_METRICS
    return Section(
        name="spread",
        title="Spread between folds",
        blocks=(
            fold_spread(evaluation, looks),
            score_tables.fold_table(evaluation, first),
            *(
                Group(title=f"By fold: {metric_label(metric)}", blocks=(score_tables.fold_table(evaluation, metric),))
                for metric in rest
            ),
        ),
    )


def confusion(curves: Curves, lead: str) -> Section:
    """Show what is taken for what: by the model `lead` first, by the others folded away."""
    others = tuple(
        confusion_figure(name, model.confusion, curves.classes) for name, model in curves.models.items() if name != lead
    )
    blocks: list[Block] = [confusion_figure(lead, curves.models[lead].confusion, curves.classes)]
    if others:
        blocks.append(Group(title="Confusion matrices of the other models", blocks=others, pairs=True))
    return Section(name="confusion", title="Confusion matrices", blocks=tuple(blocks))


def class_curves(curves: Curves, evaluation: Evaluation, looks: Looks, lead: str) -> Section:
    """Show the ROC and precision-recall curves of every class."""
    return Section(
        name="curves",
        title="ROC and precision-recall curves",
        blocks=(
            roc_figure(curves, evaluation, looks, lead),
            precision_recall_figure(curves, evaluation, looks, lead),
        ),
    )


def calibration(curves: Curves, evaluation: Evaluation, looks: Looks, lead: str) -> Section:
    """Show how often stated probabilities come true: by class for the model `lead`, for the others folded away."""
    others = tuple(
        class_reliability_figure(curves, evaluation, looks[name], name) for name in evaluation.models if name != lead
    )
    return Section(
        name="calibration",
        title="Calibration",
        blocks=(
            *(
                (effect_tables.calibration_text(), effect_tables.calibration_table(effects))
                if (effects := evaluation.effects) is not None and effects.calibration
                else ()
            ),
            reliability_figure(curves, evaluation, looks),
            class_reliability_figure(curves, evaluation, looks[lead], lead),
            *((Group(title="Reliability by class of the other models", blocks=others),) if others else ()),
            *((sets_text(sets), sets_table(sets)) if (sets := evaluation.prediction_sets) is not None else ()),
            *((warnings_text(found), warnings_table(found)) if (found := evaluation.warnings) is not None else ()),
        ),
    )


def decisions(evaluation: Evaluation) -> Section:
    """Show what the decision rules make of the same probabilities; empty where they were not tried."""
    effects = evaluation.effects
    blocks: tuple[Block, ...] = (
        () if effects is None else (effect_tables.decision_text(effects), effect_tables.decision_table(effects))
    )
    return Section(name="decisions", title="Decision rules", blocks=blocks)
