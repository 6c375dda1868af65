"""Every backbone and every ensemble, fitted on some rows and applied to others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cv_folds.arrays import FloatArray, IntArray
from ensemble.combiners import COMBINERS, Combiner
from ensemble.fitted import fit_model
from ensemble.predictions import ModelKind
from ensemble.rows import Rows
from ensemble.settings import EnsembleSettings
from ensemble.voting import SoftVote
from ensemble.workers import map_tasks


@dataclass(frozen=True, kw_only=True)
class Model:
    """A backbone or an ensemble that is scored."""

    name: str
    """As in ``predictions.csv``."""
    kind: ModelKind
    """Backbone or ensemble."""
    combiner: type[Combiner]
    """How its backbones are combined; a single backbone is a vote with one voice."""
    columns: tuple[int, ...]
    """The numbers of its backbones."""


def models_of(backbones: Sequence[str], settings: EnsembleSettings) -> tuple[Model, ...]:
    """Return every backbone, then every ensemble of the settings."""
    assert not set(backbones) & set(settings.combiners)
    everything = tuple(range(len(backbones)))
    return (
        *(
            Model(name=name, kind="backbone", combiner=SoftVote, columns=(column,))
            for column, name in enumerate(backbones)
        ),
        *(
            Model(name=name, kind="ensemble", combiner=COMBINERS[name], columns=everything)
            for name in settings.combiners
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows to be predicted, and all that may be learned from to do so."""

    fitting: Rows
    """What is learned from."""
    folds: IntArray
    """(n,) the fold of each row of `fitting`."""
    held_out: Rows
    """What is predicted."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What one model says about the rows of one part."""

    calibrated: FloatArray
    """(n, n_classes) with natural class shares and calibrated."""
    combined: FloatArray
    """(n, n_classes) with natural class shares, not calibrated."""
    uncalibrated: FloatArray
    """(n, n_classes) with the class shares of training, not calibrated; hyperparameters are those of `combined`."""
    seconds: float
    """Processor time, of one core, of fitting and applying what gave `calibrated`."""


@dataclass(frozen=True, kw_only=True)
class _Task:
    model: Model
    part: Part
    settings: EnsembleSettings
    power: float


def predict_held_out(
    models: Sequence[Model], parts: Sequence[Part], settings: EnsembleSettings, *, power: float, workers: int
) -> list[list[HeldOut]]:
    """Fit every model on every part and apply it to what the part holds out.

    Parameters
    ----------
    models : sequence of Model
        What to fit.
    parts : sequence of Part
        On what.
    settings : EnsembleSettings
        How.
    power : float
        `TrainingSettings.balancing_power`.
    workers : int
        Most processes side by side; the result does not depend on it.

    Returns
    -------
    list of lists of HeldOut
        For each model one a part.
    """
    tasks = [_Task(model=model, part=part, settings=settings, power=power) for model in models for part in parts]
    n_rows = max(len(part.fitting.labels) for part in parts)
    # The costly ones first, so that no worker is left with one of them at the end.
    answers = map_tasks(_predict, tasks[::-1], n_rows=n_rows, workers=workers)[::-1]
    return [answers[start : start + len(parts)] for start in range(0, len(answers), len(parts))]


def _predict(task: _Task) -> HeldOut:
    # Of this thread, which does all the work: not what others do meanwhile.
    start = time.thread_time()
    model, settings = task.model, task.settings
    fitting, held_out = (rows.of_backbones(model.columns) for rows in (task.part.fitting, task.part.held_out))
    fitted = fit_model(model.combiner, fitting, task.part.folds, settings, power=task.power)
    combined = fitted.combine(held_out.logits, held_out.clinical)
    calibrated = fitted.calibrator.calibrate(combined)
    seconds = time.thread_time() - start
    if task.power == 0:
        return HeldOut(calibrated=calibrated, combined=combined, uncalibrated=combined, seconds=seconds)
    # With the hyperparameters that were chosen on these rows, the search for which is most of the time.
    plain = fitted.combiner.refit(fitting.logits, fitting.labels, fitting.groups, fitting.clinical)
    return HeldOut(
        calibrated=calibrated,
        combined=combined,
        uncalibrated=plain.combine(held_out.logits, held_out.clinical),
        seconds=seconds,
    )
