"""The table of prediction sets."""

from __future__ import annotations

from reports.document import Cell, Column, Paragraph, Table
from reports.score_tables import estimate_cell
from reports.uncertainty import SetCoverage, SetScores
from reports.wording import percent

_NAMES = {"lac": "one threshold for all classes", "class_conditional": "a threshold for each class"}


def sets_text(sets: SetCoverage) -> Paragraph:
    """Say what prediction sets are and how they were checked."""
    tried = {
        "other folds": "Here each fold was tried at the thresholds that the other folds give",
        "test part": "Here they were tried on the test part, at the thresholds of the predictor, which come from the "
        "validation part",
        "elsewhere": "They are promised for lesions like those of the training only; here they were tried on images "
        "from elsewhere, at the thresholds of the predictor",
    }[sets.tried_on]
    return Paragraph(
        title="Prediction sets.",
        text="A set holds the classes that cannot be ruled out. Thresholds are set so that the sets of "
        f"{percent(sets.aimed)} of new lesions hold the true class. {tried}, on the probabilities of {sets.model}; "
        "every lesion counts once. The predictor uses "
        f"{_NAMES[sets.deployed]}. With one threshold for all classes a rare class may be covered less than promised.",
    )


def sets_table(sets: SetCoverage) -> Table:
    """Return coverage and size of the sets, with the coverage of each class."""
    classes = tuple(next(iter(sets.methods.values())).per_class)
    where = {
        "other folds": "folds that did not calibrate them",
        "test part": "the test part",
        "elsewhere": "images from elsewhere",
    }[sets.tried_on]
    return Table(
        name="prediction-sets",
        caption=f"Prediction sets aimed at a coverage of {percent(sets.aimed)}, on {where}. "
        "The columns of classes are the coverage of their lesions.",
        columns=(
            Column(label="Thresholds", numeric=False),
            Column(label="Coverage", explain="Share of lesions whose sets hold the true class."),
            Column(label="Classes in a set", explain="Mean over lesions."),
            Column(label="Sets of one class", explain="Share of sets that name one class only."),
            *(Column(label=name) for name in classes),
        ),
        rows=tuple(
            (
                Cell(text=_NAMES[method], note=_never_excluded(scores)),
                estimate_cell(scores.coverage),
                estimate_cell(scores.size),
                estimate_cell(scores.single),
                *(estimate_cell(scores.per_class[name]) for name in classes),
            )
            for method, scores in sets.methods.items()
        ),
    )


def _never_excluded(scores: SetScores) -> str | None:
    if not scores.never_excluded:
        return None
    return f"too few lesions for a threshold, so that no set is without it: {', '.join(scores.never_excluded)}"
