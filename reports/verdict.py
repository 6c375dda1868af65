"""The verdict of a report in three sentences: how good, whether clever combining helped, and the main caveat."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cv_folds.leakage import Leakage
from ensemble.predictions import ModelKind, Predictions
from reports.best_combiner import widened
from reports.comparisons import best_model
from reports.effects import BestCombiner, in_words
from reports.results import Comparison, Estimate, Evaluation
from reports.run_folder import RunFolder
from reports.summary import collapsed_models, lead_model
from reports.wording import (
    estimate_words,
    listing,
    metric_in_sentence,
    number,
    percent,
    plural,
    signed,
)

PLAIN = "soft_vote"
WEAK_RECALL = 0.5
"""A class of which more is missed than found is the first thing to know."""
LARGE_ECE = 0.05
"""Probabilities that are off by more, at the lower end of the interval, are not to be taken at their word."""


_NOT_KNOWN = (
    "Whether the models had seen these images or their lesions in training is not known, so that every score may be "
    "too good."
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Three sentences, in this order."""

    measured: str
    """What was measured on what, and how good it is."""
    combining: str
    """The best combiner against plain soft voting, or whatever there is to compare."""
    caveat: str
    """What limits the other two most."""

    @property
    def text(self) -> str:
        """All three."""
        return " ".join((self.measured, self.combining, self.caveat))


def run_verdict(folder: RunFolder, evaluation: Evaluation, predictions: Predictions) -> Verdict:
    """Judge a run.

    Parameters
    ----------
    folder : RunFolder
        What was run on what.
    evaluation : Evaluation
        The scores.
    predictions : Predictions
        What was scored, to find networks that name one class only.
    """
    deployed = folder.settings.get("ensemble.deployed")
    if deployed in evaluation.models:
        model, role = str(deployed), ", the ensemble that the predictor uses,"
    else:
        model, role = lead_model(evaluation), ""
    leakage = folder.audit.allowed_leakage
    by = "by lesion" if leakage is None else "with lesions on both sides"
    division = (
        f"On the test part of one division {by}"
        if folder.folds.holdout
        else f"In {folder.folds.n_folds}-fold cross-validation {by}"
    )
    failed = [check.title for check in folder.audit.checks if check.status == "failed" and check.severity == "error"]
    serious = [
        _about_demo(evaluation.demo or folder.record.data.demo),
        _about_leakage(leakage),
        f"Leakage checks failed ({'; '.join(failed)}), so that the scores may be too good." if failed else None,
        _about_status(folder),
        _about_collapse(predictions, {"backbone"}),
    ]
    return Verdict(
        measured=_measured(evaluation, model, role, f"{division} on {folder.record.data.name}"),
        combining=_combining(evaluation),
        caveat=_caveat(evaluation, model, [found for found in serious if found is not None]),
    )


def origin_verdict(evaluation: Evaluation, predictions: Predictions) -> Verdict:
    """Judge predictions that come from no run: of an external set, or of any program."""
    model = lead_model(evaluation)
    serious = [
        _about_demo(evaluation.demo),
        _about_collapse(predictions, set(predictions.kinds.values())),
        _NOT_KNOWN if evaluation.protocol == "given" else None,
    ]
    where = "On images from elsewhere" if evaluation.protocol == "external" else "On the given predictions"
    return Verdict(
        measured=_measured(evaluation, model, "", where),
        combining=_combining(evaluation),
        caveat=_caveat(evaluation, model, [found for found in serious if found is not None]),
    )


def _measured(evaluation: Evaluation, model: str, role: str, where: str) -> str:
    overall = evaluation.models[model].overall
    scores = [
        f"a {metric_in_sentence(metric)} of {estimate_words(overall[metric])}"
        for metric in ("macro_f1", "balanced_accuracy")
    ]
    return (
        f"{where} ({plural(evaluation.n_images, 'image')} of {plural(evaluation.n_lesions, 'lesion')}, "
        f"{plural(len(evaluation.classes), 'class', 'classes')}), {model}{role} reached {listing(scores)}."
    )


def _combining(evaluation: Evaluation) -> str:
    best = evaluation.effects.best if evaluation.effects is not None else None
    if best is not None and best.against is not None:
        return _about_combiner(best, evaluation)
    return _about_models(evaluation)


def _about_combiner(best: BestCombiner, evaluation: Evaluation) -> str:
    """Compare the best combiner by log-loss with plain soft voting, or where that is the best, with the next."""
    assert best.against is not None
    assert best.difference is not None
    loss = evaluation.models[best.model].overall["log_loss"].value
    assert loss is not None
    name = "Plain soft voting" if best.model == PLAIN else f"Of the ensembles, {best.model}"
    other = "plain soft voting" if best.against == PLAIN else f"{best.against}, the next best"
    has = f"{name} has the lowest {in_words(best.by)} ({number(loss, 4)})"
    return f"{has}{_judged(best.evidence, best.difference, other, digits=4, allowance=widened(best.comparisons))}."


def _judged(evidence: str, difference: Estimate, other: str, *, digits: int = 3, allowance: str = "") -> str:
    if difference.value is None or difference.low is None or difference.high is None:
        if difference.value == 0:
            return f", and so has {other}"
        return f", and whether that differs from {other} is not known ({difference.reason})"
    span = (
        f"{signed(difference.value, digits)}, 95 % interval {signed(difference.low, digits)} to "
        f"{signed(difference.high, digits)}{allowance}"
    )
    if evidence == "difference":
        return f", which is better than {other} ({span})"
    return f", but there is no evidence of a difference from {other} ({span})"


def _about_models(evaluation: Evaluation) -> str:
    """Compare the best model with the next one, where nothing was combined in several ways."""
    models = {name: scores.overall for name, scores in evaluation.models.items()}
    if len(models) == 1:
        return f"There is nothing to compare {next(iter(models))} with, since no other model was scored."
    best = best_model(models)
    second = best_model({name: scores for name, scores in models.items() if name != best})
    metric = "macro_auc" if models[best]["macro_auc"].value is not None else "balanced_accuracy"
    has = f"{best} has the highest {metric_in_sentence(metric)} ({estimate_words(models[best][metric])})"
    found = _comparison(evaluation, best, second, metric)
    if found is None:
        return f"{has}, and {second} comes next ({estimate_words(models[second][metric])})."
    return f"{has}{_judged(found.evidence, found.difference, f'{second}, the next best')}."


def _comparison(evaluation: Evaluation, best: str, second: str, metric: str) -> Comparison | None:
    """Return the comparison with the best model in front; None when the two were not compared in that order."""
    return next(
        (
            comparison
            for comparison in evaluation.comparisons
            if (comparison.model, comparison.against, comparison.metric) == (best, second, metric)
        ),
        None,
    )


def _caveat(evaluation: Evaluation, model: str, serious: Sequence[str]) -> str:
    """Return what limits the scores most: what is known of the run comes first, then what the scores themselves say."""
    if serious:
        return serious[0]
    scores = evaluation.models[model]
    if absent := [name for name, metrics in scores.per_class.items() if not metrics["support"].value]:
        return f"No image is of {listing(absent)}, so that means over the classes are not those of a complete set."
    weakest = min(scores.per_class, key=lambda name: scores.per_class[name]["recall"].value or 0)
    recall, support = scores.per_class[weakest]["recall"], scores.per_class[weakest]["support"].value
    ece = scores.overall["ece"]
    if (recall.value or 0) >= WEAK_RECALL and ece.low is not None and ece.low > LARGE_ECE:
        return (
            "The probabilities are not to be taken at their word, since by the expected calibration error they are off "
            f"by {estimate_words(ece)} on average."
        )
    only = "only " if (recall.value or 0) < WEAK_RECALL else ""
    weak = (
        f"The weakest class is {weakest}, with {only}{percent(recall.value or 0)} of its "
        f"{plural(int(support or 0), 'image')} recognised, a recall of {estimate_words(recall)}"
    )
    if evaluation.protocol == "external":
        return f"{weak}."
    return f"{weak}, and data divided within themselves do not show how the model does elsewhere."


def _about_demo(demo: bool) -> str | None:
    if not demo:
        return None
    return "The images were drawn by the program, so that none of this says anything about skin lesions."


def _about_leakage(leakage: Leakage | None) -> str | None:
    if leakage is None:
        return None
    return f"The folds leak ({leakage.words} stand in several folds), so that every score here is too good."


def _about_status(folder: RunFolder) -> str | None:
    if folder.record.status in ("done", "running"):
        return None
    return f"The run ended early (status: {folder.record.status}), so that the scores may be of an unfinished state."


def _about_collapse(predictions: Predictions, kinds: Collection[ModelKind]) -> str | None:
    names = collapsed_models(predictions, kinds)
    if not names:
        return None
    return (
        f"One and the same class is named for nearly every image by {listing(names)}, as if nothing had been learned."
    )
