from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

from cv_folds.training.course import Course, EpochRow
from cv_folds.training.monitor import validation_figures
from cv_folds.training.settings import Monitor, PhaseSettings, TrainingSettings


@pytest.mark.parametrize("seed", range(20))
def test_figures_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    # One class without images, into which some may be put.
    labels = rng.choice([0, 1, 3], size=40, p=[0.7, 0.2, 0.1])
    logits = rng.normal(0, 2, (40, 4)).astype(np.float32)
    figures = validation_figures(torch.from_numpy(logits), torch.from_numpy(labels), TrainingSettings())
    chosen, held = logits.argmax(1), np.unique(labels)
    assert 2 in chosen
    assert figures.macro_f1 == pytest.approx(f1_score(labels, chosen, labels=held, average="macro"), abs=1e-6)
    # Its warning is about the class that has no images.
    with pytest.warns(UserWarning, match="y_pred contains classes"):
        assert figures.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, chosen), abs=1e-6)
    weights = 1 / np.bincount(labels, minlength=4)[labels]
    probabilities = torch.from_numpy(logits).double().softmax(1).numpy()
    expected = log_loss(labels, probabilities, labels=[0, 1, 2, 3], sample_weight=weights)
    assert figures.weighted_loss == pytest.approx(expected, rel=1e-5)


def row(epoch: int, phase: int = 1, **figures: float) -> EpochRow:
    plain = {"loss": 1.0, "weighted_loss": 1.0, "balanced_accuracy": 0.5, "macro_f1": 0.5} | figures
    return EpochRow(
        epoch=epoch,
        phase=phase,
        learning_rate=0.1,
        train_loss=1.0,
        weights="last",
        seconds=1.0,
        images_per_second=1.0,
        **{f"validation_{name}": value for name, value in plain.items()},
    )


# Five epochs; each monitor likes another one best.
ROWS = (
    row(1, loss=0.1, weighted_loss=0.9, balanced_accuracy=0.2, macro_f1=0.3),
    row(2, loss=0.5, weighted_loss=0.2, balanced_accuracy=0.3, macro_f1=0.4),
    row(3, loss=0.4, weighted_loss=0.8, balanced_accuracy=0.2, macro_f1=0.9),
    row(4, loss=0.7, weighted_loss=0.7, balanced_accuracy=0.8, macro_f1=0.2),
    row(5, loss=0.9, weighted_loss=0.9, balanced_accuracy=0.1, macro_f1=0.1),
)


@pytest.mark.parametrize(
    ("monitor", "best"),
    [("refinement", 1), ("weighted_loss", 2), ("macro_f1", 3), ("balanced_accuracy", 4), ("last", 5)],
)
def test_each_monitor_chooses_by_its_own_figure(monitor, best):
    course = Course(monitor=monitor)
    for each in ROWS:
        course.add(each)
    assert course.best_epoch == best
    assert Course.from_plain(course.plain(), monitor) == course


def test_every_monitor_was_tried():
    assert set(get_args(Monitor)) == {"refinement", "weighted_loss", "macro_f1", "balanced_accuracy", "last"}


@pytest.mark.parametrize("monitor", ["refinement", "weighted_loss", "macro_f1", "balanced_accuracy"])
def test_an_equal_epoch_is_not_better(monitor):
    course = Course(monitor=monitor)
    assert course.add(row(1))
    assert not course.add(row(2))
    assert course.best_epoch == 1


PHASES = (PhaseSettings(epochs=2, learning_rate=0.1), PhaseSettings(epochs=9, learning_rate=0.1))


def phases_of(losses: list[float], patience: int, monitor: Monitor = "refinement") -> tuple[list[int], int]:
    """Return the phase of every epoch of a training with these losses, and its best epoch."""
    course, numbers = Course(monitor=monitor), []
    while (coming := course.coming_phase(PHASES, patience=patience)) is not None:
        numbers.append(coming + 1)
        course.add(row(len(numbers), coming + 1, loss=losses[len(numbers) - 1]))
    return numbers, course.best_epoch


def test_phases_follow_each_other():
    falling = [1 / (1 + epoch) for epoch in range(11)]
    assert phases_of(falling, patience=3) == ([1] * 2 + [2] * 9, 11)


def test_patience_begins_anew_with_a_phase():
    # The best epoch is the first; a phase that never reaches it is still given its patience.
    assert phases_of([0.1] + [0.5] * 10, patience=4) == ([1] * 2 + [2] * 4, 1)
    # Epoch 4 is better, and is followed by as many worse ones.
    assert phases_of([0.3, 0.5, 0.5, 0.2] + [0.5] * 7, patience=4) == ([1] * 2 + [2] * 6, 4)


def test_patience_ends_the_first_phase_too():
    assert phases_of([0.1] + [0.5] * 10, patience=1) == ([1] * 2 + [2], 1)


def test_without_a_choice_patience_has_no_say():
    assert phases_of([0.1] + [0.5] * 10, patience=1, monitor="last") == ([1] * 2 + [2] * 9, 11)
