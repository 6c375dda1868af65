"""Sentences for a methods section: optimiser, loss, phases, and which epoch was kept."""

from __future__ import annotations

import numpy as np

from cv_folds.training.settings import Monitor, PhaseSettings, TrainingSettings
from reports.citations import Citations
from reports.study import Study
from reports.wording import count, listing, percent, plural

_MONITORS: dict[Monitor, str] = {
    "refinement": "the lowest cross-entropy on the {part}, at the temperature that suits its logits best {cited},",
    "weighted_loss": "the lowest cross-entropy on the {part}, all classes weighted alike,",
    "macro_f1": "the highest macro F1 on the {part}",
    "balanced_accuracy": "the highest balanced accuracy on the {part}",
}


def course_text(study: Study, cite: Citations) -> str:
    """Return optimiser, schedule, loss and phases."""
    settings = study.settings.training
    phases = settings.phases_of(from_scratch=study.folder.record.weights == "none")
    rate = f"peak learning rate {phases[0].learning_rate:g}, " if len(phases) == 1 else ""
    length = f"{plural(settings.most_epochs, 'epoch')} in batches of {settings.batch_size}"
    whole = (
        f"Each was trained for at most {length} with "
        f"{_optimiser(settings, cite)} ({rate}{_decay(settings)}{_clip(settings)}) {_schedule(settings, cite)}, "
        f"minimising {_loss(settings, cite)}{_arithmetic(study)}."
    )
    return f"{whole} {_phases(phases)}".strip()


def _optimiser(settings: TrainingSettings, cite: Citations) -> str:
    match settings.optimiser:
        case "adamw":
            return f"AdamW {cite('loshchilov2019')}"
        case "adam":
            return f"Adam {cite('kingma2015')}"
        case "sgd":
            kind = "Nesterov’s momentum" if settings.nesterov else "momentum"
            return f"stochastic gradient descent with {kind} of {settings.momentum:g} {cite('sutskever2013')}"


def _decay(settings: TrainingSettings) -> str:
    if not settings.weight_decay:
        return "no weight decay"
    return f"weight decay {settings.weight_decay:g} except on biases and normalisation layers"


def _clip(settings: TrainingSettings) -> str:
    return f", gradient norm clipped at {settings.gradient_clip:g}" if settings.gradient_clip else ""


def _schedule(settings: TrainingSettings, cite: Citations) -> str:
    match settings.schedule:
        case "one_cycle":
            rise = percent(settings.warmup)
            return f"on a one-cycle schedule {cite('smith2019')} that rises over the first {rise} of the steps"
        case "cosine":
            return f"on a cosine schedule {cite('loshchilov2017')}"
        case "constant":
            return "at a constant learning rate"


def _loss(settings: TrainingSettings, cite: Citations) -> str:
    loss = (
        f"the focal loss {cite('lin2017')} (γ = {settings.focal_gamma:g})"
        if settings.loss == "focal"
        else "the cross-entropy"
    )
    if settings.class_weights == "balanced":
        loss += ", each image weighted inversely to the size of its class,"
    if settings.label_smoothing:
        loss += f" with label smoothing of {settings.label_smoothing:g} {cite('szegedy2016')}"
    return loss.removesuffix(",")


def _arithmetic(study: Study) -> str:
    precisions = sorted({history.details.precision for history in study.folder.histories})
    return f", in {listing(precisions)} arithmetic" if precisions else ""


def _phases(phases: tuple[PhaseSettings, ...]) -> str:
    if len(phases) == 1:
        what = _what(phases[0]).removeprefix(", ")
        return f"{what[0].upper()}{what[1:]}." if what else ""
    described = [
        f"({number}) at most {plural(phase.epochs, 'epoch')} at a peak learning rate of {phase.learning_rate:g}"
        f"{_what(phase)}"
        for number, phase in enumerate(phases, start=1)
    ]
    return f"Training had {len(phases)} phases: {'; '.join(described)}."


def _what(phase: PhaseSettings) -> str:
    match phase.trained:
        case "all":
            trained = ""
        case "head":
            trained = ", only the last layer was trained"
        case share:
            trained = f", only the last {percent(share)} of the layers were trained"
    return trained + (", batch normalisation was frozen" if phase.batch_norm == "frozen" else "")


def choice_text(study: Study, cite: Citations) -> str:
    """Return when training ended and which weights were kept."""
    settings = study.settings.training
    part = "validation part" if study.holdout else "inner validation part"
    words = _MONITORS.get(settings.monitor)
    if words is None:
        kept = f"The weights of the last epoch were kept{_chosen(study)}."
    else:
        best = words.format(part=part, cited=cite("berta2025") if settings.monitor == "refinement" else "")
        kept = f"{_early(settings)}, and the weights of the epoch with {best} were kept{_chosen(study)}."
    return f"{kept}{_average(settings, cite)}{_spins(settings)}"


def _early(settings: TrainingSettings) -> str:
    longest = max((phase.epochs for phase in settings.phases), default=settings.epochs)
    if settings.patience >= longest:
        return "Training went through all epochs"
    what = "A phase" if len(settings.phases) > 1 else "Training"
    return f"{what} ended after {plural(settings.patience, 'epoch')} without an improvement"


def _average(settings: TrainingSettings, cite: Citations) -> str:
    if not settings.ema_decay:
        return ""
    return (
        f" Weights are those of the last step or their exponential moving average {cite('polyak1992')} (decay "
        f"{settings.ema_decay:g} a step), whichever validated better."
    )


def _spins(settings: TrainingSettings) -> str:
    chosen = (
        f" Probabilities of validation images were averaged over {settings.validation_spins} random flips and turns."
        if settings.validation_spins
        else ""
    )
    scored = (
        f" Each scored image was predicted as the mean over {settings.held_out_spins} random flips and turns of it."
        if settings.held_out_spins
        else ""
    )
    return chosen + scored


def _chosen(study: Study) -> str:
    epochs = [history.details.best_epoch for history in study.folder.histories]
    if len(epochs) < 2:
        return f" (epoch {epochs[0]})" if epochs else ""
    return f" (epochs {min(epochs)} to {max(epochs)}, median {count(float(np.median(epochs)))})"
