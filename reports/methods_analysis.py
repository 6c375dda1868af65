"""Sentences for a methods section: ensembles, calibration, scores, intervals, tests and software."""

from __future__ import annotations

from ensemble.settings import CalibratorName, CombinerName
from reports.citations import Citations
from reports.study import Study
from reports.wording import count, listing, percent

COMBINERS: dict[CombinerName, tuple[str, tuple[str, ...]]] = {
    "soft_vote": ("the mean of their probabilities", ()),
    "log_vote": ("the geometric mean of their probabilities", ()),
    "weighted_vote": ("a weighted mean of their probabilities with the least log-loss", ()),
    "greedy": ("greedy selection with replacement by log-loss", ("caruana2004",)),
    "stack": ("stacking by multinomial logistic regression with an L2 penalty on log-probabilities", ("wolpert1992",)),
    "stack_meta": ("such stacking with age, sex and body site as further inputs", ("wolpert1992",)),
    "stack_trees": ("stacking by gradient-boosted trees", ("wolpert1992", "friedman2001")),
}
"""Every ensemble in words, and what to cite for it."""

CALIBRATORS: dict[CalibratorName, tuple[str, tuple[str, ...]]] = {
    "none": ("", ()),
    "temperature": ("temperature scaling", ("guo2017",)),
    "vector": ("vector scaling", ("guo2017",)),
    "isotonic": ("isotonic regression, class by class", ("zadrozny2002",)),
}
"""Every calibration in words, and what to cite for it."""

MEASURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "macro_auc": "macro AUC",
    "mcc": "Matthews’ correlation",
    "kappa": "Cohen’s κ",
    "log_loss": "log-loss",
    "brier": "Brier score",
    "ece": "expected calibration error",
}
"""What a methods section names, in order."""


def ensemble_text(study: Study, cite: Citations) -> str:
    """Return how the networks were combined and calibrated."""
    sentences = []
    if study.ensembles:
        sentences.append(
            f"The networks were combined by {listing([_combiner(name, cite) for name in study.ensembles])}."
        )
    if study.settings.training.balancing_power:
        sentences.append(
            "Since training weighted the classes otherwise than the data do, logits were first adjusted to the natural "
            f"ones {cite('saerens2002')}."
        )
    words, sources = CALIBRATORS[study.settings.ensemble.calibration]
    calibrated = f"calibrated by {words} {cite(*sources)}" if words else "not calibrated further"
    sentences += [f"The probabilities of every model were {calibrated}.", _fitted_on(study), _sets(study, cite)]
    return " ".join(sentence for sentence in sentences if sentence)


def _combiner(name: str, cite: Citations) -> str:
    known = next((found for key, found in COMBINERS.items() if key == name), None)
    if known is None:
        return name
    words, sources = known
    return f"{words} ({name}{' ' + cite(*sources) if sources else ''})"


def _fitted_on(study: Study) -> str:
    if study.holdout:
        return (
            "All this was fitted on the validation part, with hyperparameters chosen by inner cross-validation grouped "
            "by lesion."
        )
    return (
        "All this was cross-fitted: what is applied to a fold was fitted on out-of-fold predictions of the other "
        "folds, with hyperparameters chosen there by inner cross-validation grouped by lesion."
    )


def _sets(study: Study, cite: Citations) -> str:
    if study.evaluation.prediction_sets is None:
        return ""
    settings = study.settings.ensemble
    method = (
        f"least ambiguous set-valued classification {cite('sadinle2019')}, one threshold for all classes"
        if settings.prediction_sets == "lac"
        else f"class-conditional conformal prediction {cite('vovk2013')}, one threshold a class"
    )
    return (
        f"Prediction sets with a nominal coverage of {percent(settings.coverage)} were made by {method}, calibrated "
        "with each lesion counting once."
    )


def statistics_text(study: Study, cite: Citations) -> str:
    """Return which scores were computed, with which intervals and tests."""
    first = next(iter(study.evaluation.models.values()))
    measures = listing([words for metric, words in MEASURES.items() if metric in first.overall])
    where = "on the test part" if study.holdout else "once on the pooled out-of-fold predictions"
    resamples = count(study.settings.report.resamples)
    scores = (
        f"The scores are {measures}, computed {where}; macro averages are over all classes, the AUC sets one class "
        "against the rest, the Brier score is the sum over classes, and the expected calibration "
        "error that of the most probable class in 15 bins of equal size."
    )
    intervals = (
        f"Intervals are 95 % percentile intervals from {resamples} bootstrap resamples of lesions {cite('field2007')}, "
        "the same resamples for all models."
    )
    return " ".join(part for part in (scores, intervals, _malignant(study, cite), _tests(study, cite)) if part)


def _malignant(study: Study, cite: Citations) -> str:
    levels = study.evaluation.levels
    if levels is None or not levels.malignant_classes:
        return ""
    return (
        f"{listing(levels.malignant_classes)} were also set against the other classes as malignant against benign, "
        f"with net benefit as a function of the threshold probability {cite('vickers2006')}."
    )


def _tests(study: Study, cite: Citations) -> str:
    evaluation = study.evaluation
    tests = ["the bootstrap (share of resamples beyond zero, doubled)"] if evaluation.comparisons else []
    methods = {family.method for family in evaluation.tests}
    if "delong" in methods:
        tests.append(
            f"DeLong’s test of the AUC for malignant lesions {cite('delong1988')}, with lesions as clusters "
            f"{cite('obuchowski1997')}"
        )
    if "mcnemar" in methods:
        tests.append(f"McNemar’s exact test of the accuracy per lesion {cite('mcnemar1947')}")
    if "corrected_t" in methods and not study.holdout:
        tests.append(f"a t-test over folds whose variance is corrected for shared training images {cite('nadeau2003')}")
    if not tests:
        return ""
    return (
        f"Models were compared in pairs on the same images by {listing(tests)}; all tests are two-sided, p-values were "
        f"adjusted by Holm’s method {cite('holm1979')} over the pairs of one test and score, and 0.05 was the level of "
        "significance."
    )


def software_text(study: Study) -> str:
    """Return versions, machine and seed."""
    record = study.folder.record
    versions = [
        f"{words} {record.versions[name]}"
        for name, words in (
            ("hamcv", "hamcv"),
            ("python", "Python"),
            ("torch", "PyTorch"),
            ("torchvision", "torchvision"),
            ("scikit-learn", "scikit-learn"),
        )
        if name in record.versions
    ]
    revision = f" (revision {record.git_revision})" if record.git_revision else ""
    first, *others = versions or ["hamcv"]
    used = listing([first + revision, *others])
    return f"Computed with {used} on {record.device.name}; seed {study.settings.seed}."
