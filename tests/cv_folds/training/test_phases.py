from __future__ import annotations

import pytest
import torch
from test_loop import N_TRAIN, logits_of, small_network, trained, views
from torch import nn

from cv_folds.training import loop
from cv_folds.training.loop import Means
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.resampling import class_weights
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.step import Stepper
from cv_folds.training.store import ResidentPixels
from cv_folds.training.view import ImageView

HEAD = {"epochs": 2, "learning_rate": 0.02, "trained": "head", "batch_norm": "frozen"}
MOST = {"epochs": 3, "learning_rate": 0.01, "trained": 0.67, "batch_norm": "frozen"}
ALL = {"epochs": 1, "learning_rate": 0.001}
CONVOLUTION, NORM, LINEAR = "0.", "1.", "5."


def settings_of(*phases: dict[str, object], **changed: object) -> TrainingSettings:
    plain = {"image_size": 32, "batch_size": 16, "monitor": "last"} | changed
    return TrainingSettings.model_validate(plain | {"phases": phases})


@pytest.fixture
def steppers(monkeypatch: pytest.MonkeyPatch) -> list[Stepper]:
    """The stepper of each phase that was begun."""
    made: list[Stepper] = []

    def making(*arguments: object, **named: object) -> Stepper:
        made.append(Stepper(*arguments, **named))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(loop, "Stepper", making)
    return made


def changed_parts(before: dict[str, torch.Tensor], model: nn.Module) -> set[str]:
    after = model.state_dict()
    return {key.partition(".")[0] + "." for key, value in before.items() if not torch.equal(value, after[key])}


def copy_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
@pytest.mark.parametrize(
    ("phase", "changed"),
    [
        ({"trained": "head", "batch_norm": "frozen"}, {LINEAR}),
        # As in torch: statistics follow the batches even where nothing is trained.
        ({"trained": "head"}, {NORM, LINEAR}),
        ({"trained": 0.67, "batch_norm": "frozen"}, {LINEAR}),
        ({"trained": 0.67}, {NORM, LINEAR}),
        ({"batch_norm": "frozen"}, {CONVOLUTION, LINEAR}),
        ({}, {CONVOLUTION, NORM, LINEAR}),
    ],
)
def test_a_phase_changes_what_it_trains_and_nothing_else(phase, changed, ema_decay):
    model = small_network()
    before = copy_of(model)
    trained(model, settings_of({"epochs": 2, "learning_rate": 0.02} | phase, ema_decay=ema_decay))
    assert changed_parts(before, model) == changed
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_phases_follow_each_other_with_rates_of_their_own():
    fitted = trained(small_network(), settings_of(HEAD, MOST, ALL, schedule="constant"))
    assert [row.phase for row in fitted.history] == [1, 1, 2, 2, 2, 3]
    assert [row.epoch for row in fitted.history] == [1, 2, 3, 4, 5, 6]
    assert [row.learning_rate for row in fitted.history] == [0.02] * 2 + [0.01] * 3 + [0.001]
    assert fitted.best_epoch == 6


def test_the_schedule_runs_over_each_phase():
    rates = [row.learning_rate for row in trained(small_network(), settings_of(HEAD, MOST, schedule="cosine")).history]
    assert rates == pytest.approx([0.01, 0.0, 0.0075, 0.0025, 0.0], abs=1e-9)


def test_one_phase_is_what_the_plain_settings_say():
    plain = TrainingSettings(image_size=32, batch_size=16, epochs=3, learning_rate_from_scratch=0.02, ema_decay=0.5)
    phased = plain.model_copy(update=dict(settings_of({"epochs": 3, "learning_rate": 0.02})))
    phased = phased.model_copy(update={"ema_decay": 0.5, "monitor": "refinement"})
    models = [small_network(), small_network()]
    for model, settings in zip(models, (plain, phased), strict=True):
        trained(model, settings)
    assert torch.equal(logits_of(models[0], views()[1]), logits_of(models[1], views()[1]))


def test_frozen_layers_have_no_gradient_and_no_state_in_the_optimiser(steppers):
    gradients: list[set[str]] = []
    model = small_network()

    def look(_: object) -> None:
        gradients.append({name for name, parameter in model.named_parameters() if parameter.requires_grad})

    trained(model, settings_of(HEAD, ALL), on_step=look)
    steps = N_TRAIN // 16
    assert gradients[: 2 * steps] == [{"5.weight", "5.bias"}] * (2 * steps)
    assert [len(stepper.optimiser.state) for stepper in steppers] == [2, 6]


def test_the_optimiser_starts_afresh_and_the_average_goes_on(steppers):
    trained(small_network(), settings_of(HEAD, MOST, ALL, ema_decay=0.5))
    steps = N_TRAIN // 16
    assert [stepper.steps_done for stepper in steppers] == [2 * steps, 3 * steps, steps]
    assert len({id(stepper.average) for stepper in steppers}) == 1
    assert steppers[0].average.steps == 6 * steps
    assert len({id(stepper.optimiser) for stepper in steppers}) == 3


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_every_optimiser_and_loss_learns_in_phases(optimiser, loss):
    rate = {"adamw": 0.02, "adam": 0.02, "sgd": 0.1}[optimiser]
    phases = ({"epochs": 3, "learning_rate": rate, "trained": "head"}, {"epochs": 9, "learning_rate": rate})
    settings = settings_of(*phases, optimiser=optimiser, loss=loss, batch_size=8, class_weights="balanced")
    history = trained(small_network(), settings).history
    assert history[-1].validation_loss < 0.7 * history[0].validation_loss
    assert history[-1].validation_macro_f1 > 0.8


def test_class_weights_are_counted_over_the_training_rows(steppers):
    train, validation = views()
    rare = torch.argwhere(train.labels == 0)[:3, 0]
    kept = torch.cat([rare, torch.argwhere(train.labels != 0)[:, 0]])
    part = ImageView(ResidentPixels(train.pixels(kept)), torch.arange(len(kept)), train.labels[kept])
    trained(small_network(), settings_of(ALL, class_weights="balanced"), parts=(part, validation))
    weights = steppers[0]._class_weights
    torch.testing.assert_close(weights, class_weights(part.labels, 3))
    assert weights[part.labels].mean() == pytest.approx(1.0)
    assert weights[0] > 3
    trained(small_network(), settings_of(ALL), parts=(part, validation))
    assert steppers[1]._class_weights is None


def test_micro_batches_of_a_phase_give_the_same_weights():
    # Frozen batch normalisation has no statistics of the micro-batch, so that only rounding differs.
    models = [small_network(), small_network()]
    for model, micro_batch in zip(models, (16, 5), strict=True):
        frozen = {"epochs": 2, "learning_rate": 0.01, "batch_norm": "frozen"}
        settings = settings_of(frozen, optimiser="sgd", class_weights="balanced", loss="focal")
        trained(model, settings, means=Means(micro_batch=micro_batch))
    for key, value in models[0].state_dict().items():
        torch.testing.assert_close(value, models[1].state_dict()[key], rtol=1e-3, atol=1e-5)


def test_the_best_epoch_of_all_phases_is_kept():
    good = {"epochs": 6, "learning_rate": 0.02}
    ruin = {"epochs": 2, "learning_rate": 1.0}
    model = small_network()
    settings = settings_of(good, ruin, monitor="macro_f1", batch_size=8, optimiser="sgd", gradient_clip=0.0)
    fitted = trained(model, settings)
    figures = [row.validation_macro_f1 for row in fitted.history]
    assert fitted.best_epoch == figures.index(max(figures)) + 1
    assert loop._validate(model, views()[1], 64, IMAGENET, settings).macro_f1 == max(figures)
