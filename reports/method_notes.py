"""What a reader must know to trust the numbers, or not to."""

from __future__ import annotations

from cv_folds.training.settings import TrainingSettings
from reports.document import Cell, Column, Paragraph, Table
from reports.equal_mass import N_BINS
from reports.validation_part import chooses_weights, purpose
from reports.wording import METRICS

FOR_CLINICIANS = Paragraph(
    title="For a clinician.",
    text="The recall of a class (sensitivity) is the share of its lesions' images that were recognised; the "
    "precision is how often the class was right when it was named. Accuracy mostly reflects the commonest class, so "
    "look at the table by class first, and there at the dangerous classes. The images are dermatoscopic, chosen and "
    "diagnosed in specialist centres; in another clinic, with another camera, skin or mix of lesions, the figures "
    "will differ. This is research software: it is no medical device and must not guide care.",
)

_INTERVALS = (
    "Intervals are 95 % percentile intervals of a bootstrap that draws lesions with replacement, the same draws for "
    "every model, so differences are paired. They describe the sampling of lesions given the trained networks: neither "
    "the variation of training nor the choice of the best model on the same images is in them, and they are not "
    "adjusted for multiple comparisons, unless it is said beside them that they are widened for a choice (by "
    "Bonferroni’s inequality)."
)


FOR_STATISTICIANS = Paragraph(title="For a statistician.", text=f"Scores are computed once on all images. {_INTERVALS}")
"""For predictions of one model that was not divided into folds."""


def for_statisticians(*, holdout: bool) -> Paragraph:
    """Say what scores and intervals are of."""
    if holdout:
        return Paragraph(
            title="For a statistician.",
            text=f"Scores are computed once on the test part. {_INTERVALS} Another division of the same images would "
            "give other scores, by more than the intervals tell.",
        )
    return Paragraph(
        title="For a statistician.",
        text="Scores are computed once on the pooled out-of-fold predictions, not averaged over folds. "
        f"{_INTERVALS} The spread between folds mixes both sources and is shown apart. Pooling the "
        "probabilities of networks and combiners that were fitted differently in each fold biases the AUC slightly "
        "downwards (Parker, Günter and Bedo, BMC Bioinformatics 8 (2007) 326); the tables under “Spread between "
        "folds” give it without pooling.",
    )


def glossary() -> Table:
    """Return what every score means and which direction is good."""
    return Table(
        name="glossary",
        caption="What the scores mean.",
        columns=(
            Column(label="Score", numeric=False),
            Column(label="Better", numeric=False),
            Column(label="Meaning", numeric=False),
        ),
        rows=tuple(
            (Cell(text=words.label), Cell(text=words.better), Cell(text=words.explain))
            for words in METRICS.values()
            if words.better != "neither"
        ),
    )


def _folds(training: TrainingSettings, *, nested: bool) -> tuple[Paragraph, ...]:
    return (
        Paragraph(
            title="Folds.",
            text="Stratified by class and grouped by lesion: all images of a lesion, and of lesions that were merged "
            "because they share an image or are joined by near-duplicates, stand in the same fold. What was looked for "
            "and found is listed under “Data and folds”.",
        ),
        Paragraph(
            title="Inner validation part.",
            text=f"A part of the training folds, itself grouped by lesion, is set aside {purpose(training)}. The "
            "held-out fold has no say in training or in choosing.",
        ),
        _ensembles(nested=nested),
    )


def _ensembles(*, nested: bool) -> Paragraph:
    trace = (
        "how much that flatters them is shown under “How far the ensembles’ scores can be trusted”."
        if nested
        else "only a nested cross-validation (--nested), which was not done, would remove that trace."
    )
    return Paragraph(
        title="Ensembles.",
        text="Whatever an ensemble learns (calibration, stacking weights) is fitted without the fold it is scored "
        "on, so ensemble scores are cross-fitted like those of the backbones. What it learns from are outputs of "
        f"networks that were themselves trained on the scored fold, among others; {trace}",
    )


def _parts(training: TrainingSettings) -> tuple[Paragraph, ...]:
    better = (
        " The networks fit it a little better than new images, since their weights were chosen there."
        if chooses_weights(training)
        else ""
    )
    return (
        Paragraph(
            title="Parts.",
            text="One fixed division into training, validation and test part, stratified by class and grouped by "
            "lesion: all images of a lesion, and of lesions that were merged because they share an image or are joined "
            "by near-duplicates, stand in the same part. What was looked for and found is listed under “Data and "
            "folds”.",
        ),
        Paragraph(
            title="Validation part.",
            text=f"It serves {purpose(training)} of every network, and whatever an ensemble learns (calibration, "
            f"stacking weights) is fitted on it.{better}",
        ),
        Paragraph(
            title="Test part.",
            text="It was predicted once, when training had ended, and has no say in anything.",
        ),
    )


_LEAKING = Paragraph(
    title="Leaking division.",
    text="Images of one lesion stand in training and test; this division was used because leakage was allowed. "
    "It is here to do again what others did; its scores say little about lesions that were never seen.",
)


_OVER_FOLDS = (
    "; the t-test over folds allows for the images that folds share in training (Nadeau and Bengio, Mach. Learn. 52 "
    "(2003) 239-281). Only this one has the variation of training in it, and with few folds it finds little"
)


def method_notes(
    resamples: str,
    training: TrainingSettings,
    *,
    holdout: bool = False,
    nested: bool = False,
    leaks: bool = False,
) -> tuple[Paragraph, ...]:
    """Return the notes on method and limits.

    Parameters
    ----------
    resamples : str
        How many lesion resamples the intervals took, in words.
    training : TrainingSettings
        How each network was trained.
    holdout : bool
        Whether the run used one fixed division.
    nested : bool
        Whether the run made nested estimates.
    leaks : bool
        Whether images of one lesion stand in several folds or parts.
    """
    division, *rest = _parts(training) if holdout else _folds(training, nested=nested)
    return (
        _LEAKING if leaks else division,
        *rest,
        *score_notes(resamples, over_folds=not holdout),
        Paragraph(
            title="Limits.",
            text="For research only. One data set, divided within itself: nothing here shows how the networks do "
            "on images from elsewhere. About half of the diagnoses in HAM10000 rest on histology, the others on "
            "follow-up, expert consensus or confocal microscopy.",
        ),
    )


def score_notes(resamples: str, *, over_folds: bool) -> tuple[Paragraph, ...]:
    """Return the notes on scores and intervals, which hold wherever predictions come from.

    Parameters
    ----------
    resamples : str
        How many lesion resamples the intervals took, in words.
    over_folds : bool
        Whether models are compared over folds, too.
    """
    units = "images, lesions or folds" if over_folds else "images or lesions"
    return (
        Paragraph(
            title="Intervals.",
            text=f"Percentile bootstrap over lesions, {resamples} resamples; the images of a drawn lesion stay "
            "together. The noise of a resample can only widen a calibration error, so the interval of the ECE is "
            "shifted by its bootstrap bias. An interval that needs a value in at least 90 % of the resamples and "
            "lacks it is left out, and so is one without width: a recall of 0 in every resample has no interval.",
        ),
        Paragraph(
            title="Tests.",
            text=f"All are two-sided, and paired on the same {units}. The p-value of the bootstrap is "
            "twice the share of resamples beyond zero. DeLong’s test per image takes lesions as clusters (Obuchowski, "
            "Biometrics 53 (1997) 567-578); McNemar’s is the exact one, per lesion"
            f"{_OVER_FOLDS if over_folds else ', and none has the variation of training in it'}. p-values are adjusted "
            "by Holm’s method for the pairs of models of one test and metric; a difference is claimed below 0.05.",
        ),
        Paragraph(
            title="Calibration.",
            text=f"ECE is the mean absolute gap between confidence and frequency in {N_BINS} bins that hold equally "
            "many images: of the highest probability overall, and of the class's own probability in the tables by "
            "class. The Brier score is the squared distance between the probability vector and the truth, summed "
            "over the classes and not halved, so it ranges from 0 to 2; for one class it ranges from 0 to 1.",
        ),
        Paragraph(
            title="Undefined values.",
            text="A value that cannot be computed, such as the precision of a class that was never predicted, is shown "
            "as n/a with the reason in a footnote. It is never counted as zero.",
        ),
    )
