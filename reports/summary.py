"""The first page in plain words, written from the scores."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from cv_folds.leakage import Leakage
from ensemble.predictions import ModelKind, Predictions
from reports.comparisons import best_model, evidence_text
from reports.results import Evaluation
from reports.run_folder import RunFolder
from reports.run_settings import run_settings
from reports.validation_part import purpose
from reports.wording import METRICS, estimate_words, listing, metric_in_sentence, metric_label, percent, plural

DEMO_BANNER = (
    "Demo data: images drawn by the program, no photographs of skin. No number here says anything about skin lesions."
)

SUMMARY_METRICS = ("macro_f1", "balanced_accuracy", "log_loss")
"""Three views that can disagree: a stack that learns the prevalence gains in log-loss and loses rare classes."""

USUAL_ENSEMBLES = ("soft_vote", "stack")
"""What every reader asks for: the plain average, and the one that learns."""

COLLAPSED_SHARE = 0.99
"""Even the commonest class of HAM10000 holds only two thirds of the images."""


def banner(evaluation: Evaluation, folder: RunFolder) -> str | None:
    """Return the warning that every page carries, or None."""
    warnings = [DEMO_BANNER] if evaluation.demo or folder.record.data.demo else []
    if folder.audit.allowed_leakage is not None:
        warnings.append(leakage_warning(folder.audit.allowed_leakage))
    return " ".join(warnings) or None


def leakage_warning(leakage: Leakage) -> str:
    """Say that the folds leak, as was allowed."""
    return (
        f"Leaking folds, used because leakage was allowed: {leakage.words}, stand in several folds. Networks were "
        "scored on lesions that they were trained on, so every score here is too good."
    )


def weights_note(folder: RunFolder) -> str | None:
    """Say what the networks started from, unless it was the usual."""
    weights = folder.record.weights
    if weights == "none":
        return (
            "No pretrained weights: every network was trained from scratch. Do not compare these scores with those of "
            "pretrained networks."
        )
    if weights.startswith("folder "):
        return (
            f"The networks started from the weights in the folder {weights.removeprefix('folder ')}, not from the "
            "ImageNet weights that torchvision names. Where those came from is not recorded here."
        )
    return None


def status_note(folder: RunFolder) -> str | None:
    """Say that the run did not come to its end, or None."""
    if folder.record.status not in ("done", "running"):
        return f"The run ended early (status: {folder.record.status})."
    return None


def audit_note(folder: RunFolder) -> str | None:
    """Say that a serious leakage check failed, or None."""
    failed = [check.title for check in folder.audit.checks if check.status == "failed" and check.severity == "error"]
    return f"Leakage checks failed: {'; '.join(failed)}. The scores may be too good." if failed else None


def collapse_note(
    predictions: Predictions,
    conclusion: str = "Such a network has learned next to nothing; look at its training curves.",
    *,
    kinds: Collection[ModelKind] = frozenset[ModelKind]({"backbone"}),
) -> str | None:
    """Name the models of some kinds whose most probable class is nearly always the same, or return None."""
    collapsed = collapsed_models(predictions, kinds)
    if not collapsed:
        return None
    return (
        f"The most probable class is the same for more than {percent(COLLAPSED_SHARE)} of the images: "
        f"{listing(collapsed)}. {conclusion}"
    )


def collapsed_models(predictions: Predictions, kinds: Collection[ModelKind]) -> list[str]:
    """Return models of some kinds whose most probable class is nearly always the same, with that class."""
    collapsed = []
    for name, probabilities in predictions.probabilities.items():
        named = np.bincount(probabilities.argmax(axis=1), minlength=len(predictions.classes))
        if predictions.kinds[name] in kinds and named.max() > COLLAPSED_SHARE * named.sum():
            collapsed.append(f"{name} ({predictions.classes[named.argmax()]})")
    return collapsed


def what_was_done(evaluation: Evaluation, folder: RunFolder) -> str:
    """Describe the data and the models in two sentences."""
    backbones = [name for name, scores in evaluation.models.items() if scores.kind == "backbone"]
    ensembles = [name for name, scores in evaluation.models.items() if scores.kind == "ensemble"]
    if folder.folds.holdout:
        return _what_was_held_out(evaluation, folder, backbones, ensembles)
    sentences = []
    sentences.append(
        f"{plural(evaluation.n_images, 'image')} of {plural(evaluation.n_lesions, 'lesion')} in "
        f"{plural(len(evaluation.classes), 'class', 'classes')} ({folder.record.data.name}) were divided into "
        f"{folder.folds.n_folds} folds; "
        + (
            "all images of a lesion are in the same fold."
            if folder.audit.allowed_leakage is None
            else "images of one lesion stand in several folds."
        )
    )
    sentences.extend(_choice_of_images(folder))
    if backbones:
        sentences.append(
            f"{plural(len(backbones), 'backbone')} ({listing(backbones)}) "
            f"{'was' if len(backbones) == 1 else 'were'} trained once for each fold, without that fold."
        )
    if ensembles:
        sentences.append(f"Their predictions were combined by {listing(ensembles)}.")
    sentences.append(
        "Every score comes from images that the scored network had not seen"
        + ("." if folder.audit.allowed_leakage is None else ", but of whose lesions it may have seen others.")
    )
    return " ".join(sentences)


def _choice_of_images(folder: RunFolder) -> list[str]:
    """Say which images of a lesion were used and how they were shown, where that is not all, once and as they are."""
    sentences = []
    if folder.settings.get("unit") == "lesion":
        sentences.append("Of each lesion one image was used, the first by image id.")
    if folder.settings.get("holdout") == "single_image":
        sentences.append("Validation and test part hold only lesions with a single image.")
    if spins := folder.settings.get("training.held_out_spins"):
        sentences.append(f"Each scored image was predicted as the mean over {spins} random flips and turns of it.")
    return sentences


def _what_was_held_out(evaluation: Evaluation, folder: RunFolder, backbones: list[str], ensembles: list[str]) -> str:
    counts = folder.folds.table()
    watched = purpose(run_settings(folder.settings).training)
    # In the order of `cv_folds.splits.HOLDOUT_PARTS`.
    uses = ("for the test", f"{watched} and to fit the ensembles", "for training")
    sizes = [f"{plural(row['images'], 'image')} {use}" for row, use in zip(counts, uses, strict=True)]
    sentences = [
        f"{plural(len(folder.folds.image_ids), 'image')} of {plural(folder.record.data.n_lesions, 'lesion')} in "
        f"{plural(len(evaluation.classes), 'class', 'classes')} ({folder.record.data.name}) were divided once: "
        f"{listing(sizes[::-1])}; "
        + (
            "all images of a lesion are in the same part."
            if folder.audit.allowed_leakage is None
            else "images of one lesion stand in several parts."
        ),
        *_choice_of_images(folder),
    ]
    if backbones:
        verb = "was" if len(backbones) == 1 else "were"
        sentences.append(f"{plural(len(backbones), 'backbone')} ({listing(backbones)}) {verb} trained once.")
    if ensembles:
        sentences.append(f"Their predictions were combined by {listing(ensembles)}, fitted on the validation part.")
    sentences.append(
        f"Every score is of the test part: {plural(evaluation.n_images, 'image')} of "
        f"{plural(evaluation.n_lesions, 'lesion')}, predicted once."
    )
    return " ".join(sentences)


def what_came_out(evaluation: Evaluation) -> str:
    """Name the best model by each metric of the summary, and the classes that the first model finds least and most."""
    sentences = [_best_sentence(evaluation, metric) for metric in SUMMARY_METRICS]
    return " ".join([*sentences, _recall_sentence(evaluation)])


def _recall_sentence(evaluation: Evaluation) -> str:
    model = lead_model(evaluation)
    recalls = {name: metrics["recall"] for name, metrics in evaluation.models[model].per_class.items()}
    known = {name: recall.value for name, recall in recalls.items() if recall.value is not None}
    worst, best = min(known, key=lambda name: known[name]), max(known, key=lambda name: known[name])
    return (
        f"{model} recognises {best} most often, with a recall of {estimate_words(recalls[best])}, and {worst} least "
        f"often: {estimate_words(recalls[worst])}."
    )


def _best_sentence(evaluation: Evaluation, metric: str) -> str:
    values = {
        name: value for name, scores in evaluation.models.items() if (value := scores.overall[metric].value) is not None
    }
    if not values:
        return f"{metric_label(metric)} is undefined for every model."
    choose = min if METRICS[metric].better == "lower" else max
    best = choose(values, key=lambda name: values[name])
    words = estimate_words(evaluation.models[best].overall[metric])
    extreme = "lowest" if METRICS[metric].better == "lower" else "highest"
    return f"The {extreme} {metric_in_sentence(metric)} is that of {best}: {words}."


def what_differs(evaluation: Evaluation) -> tuple[str, ...]:
    """Say for the two usual ensembles, the best backbone and models from elsewhere whether the data show a difference.

    All pairs of all ensembles would bury the few sentences that matter; they are in the table of differences.
    """
    backbones = {name: scores.overall for name, scores in evaluation.models.items() if scores.kind == "backbone"}
    worth_saying = {*USUAL_ENSEMBLES}
    worth_saying |= {name for name, scores in evaluation.models.items() if scores.kind not in ("backbone", "ensemble")}
    if backbones:
        worth_saying.add(best_model(backbones))
    return tuple(
        evidence_text(comparison)
        for comparison in evaluation.comparisons
        if comparison.metric in SUMMARY_METRICS and {comparison.model, comparison.against} <= worth_saying
    )


def lead_model(evaluation: Evaluation) -> str:
    """Return the model that is shown first: the ensemble with the highest macro F1, or such a backbone."""

    def quality(name: str) -> float:
        value = evaluation.models[name].overall["macro_f1"].value
        return float("-inf") if value is None else value

    ensembles = [name for name, scores in evaluation.models.items() if scores.kind == "ensemble"]
    return max(ensembles or list(evaluation.models), key=quality)
