from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cv_folds_samples import coloured_pixels, small_folds
from sklearn.metrics import balanced_accuracy_score, log_loss
from torch import nn

from cv_folds.errors import JobFailedError
from cv_folds.training import loop
from cv_folds.training.backbones import build_backbone
from cv_folds.training.loop import Fitted, Means, fit
from cv_folds.training.monitor import ValidationFigures
from cv_folds.training.pixels import IMAGENET, normalise
from cv_folds.training.predict import predict_logits
from cv_folds.training.resampling import epoch_size
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.step import _parameter_groups
from cv_folds.training.store import ResidentPixels
from cv_folds.training.view import ImageView

SETTINGS = TrainingSettings(image_size=32, epochs=3, batch_size=16)
N_TRAIN, N_VALIDATION = 60, 20


def views(seed: int = 0) -> tuple[ImageView, ImageView]:
    folds = small_folds(n_lesions=45)
    pixels = ResidentPixels(torch.from_numpy(coloured_pixels(folds, seed=seed)))
    labels = torch.from_numpy(folds.labels.copy())
    rows = torch.randperm(90, generator=torch.Generator().manual_seed(seed))
    parts = rows[:N_TRAIN], rows[N_TRAIN : N_TRAIN + N_VALIDATION]
    return tuple(ImageView(pixels, part, labels[part]) for part in parts)  # type: ignore[return-value]


def small_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def trained(
    model: nn.Module, settings: TrainingSettings = SETTINGS, seed: int = 0, parts=None, **replaced: object
) -> Fitted:
    train, validation = views() if parts is None else parts
    arguments = {"from_scratch": True, "on_step": lambda _: None, "on_epoch": lambda _: None}
    return fit(
        model,
        train,
        validation,
        settings=settings,
        normalisation=IMAGENET,
        generator=torch.Generator().manual_seed(seed),
        **(arguments | replaced),  # type: ignore[arg-type]
    )


def logits_of(model: nn.Module, view: ImageView, batch_size: int = 64) -> torch.Tensor:
    return predict_logits(model, view, batch_size=batch_size, normalisation=IMAGENET)


def test_a_view_shows_its_own_rows():
    pixels = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 4, 4, 3).contiguous()
    view = ImageView(ResidentPixels(pixels), torch.tensor([7, 2, 5]), torch.tensor([0, 1, 1]))
    assert len(view) == 3
    assert view.pixels(torch.tensor([2, 0, 1, 0]))[:, 0, 0, 0].tolist() == [5, 7, 2, 7]
    assert view.pixels(torch.tensor([-1]))[0, 0, 0, 0] == 5


@pytest.mark.parametrize("position", [3, 7, 9, -4])
def test_a_view_cannot_reach_other_rows(position):
    view = ImageView(
        ResidentPixels(torch.zeros(10, 4, 4, 3, dtype=torch.uint8)), torch.tensor([7, 2, 5]), torch.tensor([0, 1, 1])
    )
    with pytest.raises(IndexError):
        view.pixels(torch.tensor([position]))
    with pytest.raises(IndexError):
        view.labels[position]


def test_rows_outside_the_views_have_no_influence():
    def after(outside: int) -> torch.Tensor:
        train, validation = views()
        pixels = torch.full((200, 32, 32, 3), outside, dtype=torch.uint8)
        pixels[:N_TRAIN], pixels[100 : 100 + N_VALIDATION] = (
            train.pixels(torch.arange(N_TRAIN)),
            validation.pixels(torch.arange(N_VALIDATION)),
        )
        parts = (
            ImageView(ResidentPixels(pixels), torch.arange(N_TRAIN), train.labels),
            ImageView(ResidentPixels(pixels), torch.arange(100, 100 + N_VALIDATION), validation.labels),
        )
        model = small_network()
        trained(model, parts=parts)
        return logits_of(model, parts[1])

    assert torch.equal(after(0), after(255))


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "squeezenet1_1", "mobilenet_v3_small"])
def test_the_same_seed_gives_the_same_logits_to_the_bit(name):
    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        model = build_backbone(name, 3, image_size=32)
        trained(model, SETTINGS.model_copy(update={"epochs": 1}), seed)
        return logits_of(model, views()[1])

    first = run(1)
    assert torch.equal(run(1), first)
    assert not torch.equal(run(2), first)


# What these trainings gave before there were phases. The tolerance is for other processors, whose sums are of another
# order: 0.001 after four epochs was seen.
@pytest.mark.parametrize(
    ("changed", "from_scratch", "train_losses", "validation_losses", "logits"),
    [
        (
            {"batch_size": 16, "ema_decay": 0.9, "mixup": 0.3, "cutmix": 0.3},
            True,
            [1.030869, 0.893328, 0.831136, 0.875682],
            [0.419489, 0.299819, 0.266530, 0.243462],
            [[-0.19991, 0.49316, 0.24241], [0.73731, -0.44189, -0.31390]],
        ),
        (
            {"batch_size": 7, "schedule": "cosine", "resampling": "over", "weight_decay": 0.3},
            False,
            [0.976012, 0.883079, 0.846031, 0.836021],
            [0.564186, 0.472296, 0.458190, 0.454538],
            [[-0.09079, 0.46606, 0.11964], [0.67018, -0.26258, -0.28182]],
        ),
    ],
)
def test_a_training_without_phases_is_what_it_always_was(
    changed, from_scratch, train_losses, validation_losses, logits
):
    model = small_network()
    settings = TrainingSettings(image_size=32, epochs=4, **changed)
    fitted = trained(model, settings, from_scratch=from_scratch)
    assert [row.train_loss for row in fitted.history] == pytest.approx(train_losses, abs=3e-3)
    assert [row.validation_loss for row in fitted.history] == pytest.approx(validation_losses, abs=5e-3)
    np.testing.assert_allclose(logits_of(model, views()[1])[:2], logits, atol=2e-2)
    assert {row.phase for row in fitted.history} == {1}


def test_something_is_learnt():
    model = small_network()
    fitted = trained(model, TrainingSettings(image_size=32, epochs=12, batch_size=8, learning_rate_from_scratch=0.02))
    losses = [row.validation_loss for row in fitted.history]
    assert min(losses) < 0.6 * losses[0]
    assert fitted.history[fitted.best_epoch - 1].validation_balanced_accuracy > 0.9


@pytest.mark.parametrize("seed", range(6))
def test_the_model_left_behind_is_that_of_the_best_epoch(seed):
    parts = views(seed)
    model = small_network(seed)
    # So large a learning rate and so small an epoch that the validation loss goes up and down.
    settings = TrainingSettings(image_size=32, epochs=12, patience=3, batch_size=30, learning_rate_from_scratch=0.3)
    fitted = trained(model, settings, seed, parts)
    losses = [row.validation_loss for row in fitted.history]
    assert fitted.best_epoch == int(np.argmin(losses)) + 1
    stopped_early = len(losses) < settings.epochs
    assert len(losses) == (fitted.best_epoch + settings.patience if stopped_early else settings.epochs)
    best = fitted.history[fitted.best_epoch - 1]
    assert loop._validate(model, parts[1], 64, IMAGENET, SETTINGS) == best.figures


def test_patience_ends_a_training_that_gets_worse(monkeypatch):
    losses = iter([1.0, 0.5, 0.7, 0.5, 0.6, 0.4])

    def judged(*_: object) -> ValidationFigures:
        return ValidationFigures(loss=next(losses), weighted_loss=0.5, balanced_accuracy=0.5, macro_f1=0.5)

    monkeypatch.setattr(loop, "_validate", judged)
    fitted = trained(small_network(), TrainingSettings(image_size=32, epochs=6, patience=3, batch_size=16))
    # An equal loss is not better.
    assert (len(fitted.history), fitted.best_epoch) == (5, 2)


def test_validation_figures_are_scikit_learns_at_the_best_temperature():
    model, view = small_network(), views()[1]
    figures = loop._validate(model, view, 64, IMAGENET, SETTINGS)
    labels, logits = view.labels.numpy(), logits_of(model, view).double()
    weights = 1 / np.bincount(labels)[labels]
    losses = [log_loss(labels, (logits * slope).softmax(1), sample_weight=weights) for slope in np.geomspace(0.02, 50)]
    # The grid of factors is coarse and holds the loss of a sure guess at one end only.
    assert min(losses) * 0.99 < figures.loss <= min(losses)
    accuracy = balanced_accuracy_score(labels, logits.argmax(1))
    assert math.isclose(figures.balanced_accuracy, accuracy, rel_tol=1e-6)


def test_growing_sureness_alone_is_no_worse_epoch():
    model, view = small_network(), views()[1]
    loss = loop._validate(model, view, 64, IMAGENET, SETTINGS).loss
    with torch.no_grad():
        model[-1].weight.mul_(4.0)
        model[-1].bias.mul_(4.0)
    assert math.isclose(loop._validate(model, view, 64, IMAGENET, SETTINGS).loss, loss, rel_tol=1e-4)


def test_a_class_that_the_validation_images_lack():
    view = views()[1]
    keep = torch.argwhere(view.labels != 1)[:, 0]
    part = ImageView(ResidentPixels(view.pixels(keep)), torch.arange(len(keep)), view.labels[keep])
    figures = loop._validate(small_network(), part, 64, IMAGENET, SETTINGS)
    assert math.isfinite(figures.loss)
    assert math.isfinite(figures.weighted_loss)
    assert 0 <= figures.balanced_accuracy <= 1
    assert 0 <= figures.macro_f1 <= 1


def test_a_training_that_is_no_longer_finite_names_the_mend():
    model = small_network()
    with torch.no_grad():
        model[-1].weight[0, 0] = math.inf
    with pytest.raises(
        JobFailedError, match=r"training loss is not finite in epoch 1; lower the learning rate"
    ) as caught:
        trained(model)
    assert caught.value.exit_code == 1
    assert 'training.precision="float32"' in str(caught.value)


def test_a_validation_that_is_not_finite_names_the_mend():
    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small_network()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.inner(images) * (1 if self.training else math.nan)

    with pytest.raises(JobFailedError, match=r"validation loss is not finite in epoch 1; .*now 0\.003"):
        trained(Fragile())


def test_a_hopeless_learning_rate_fails_or_ends_finite():
    model = small_network()
    settings = TrainingSettings(image_size=32, epochs=2, batch_size=16, learning_rate_from_scratch=1.0)
    assert trained(model, settings).best_epoch in (1, 2)
    assert torch.isfinite(logits_of(model, views()[1])).all()


@pytest.mark.parametrize("resampling", ["weighted", "over", "under", "none"])
@pytest.mark.parametrize("batch_size", [7, 60, 500])
def test_every_kind_of_epoch_has_whole_batches(resampling, batch_size):
    seen: list[loop.Progress] = []
    settings = TrainingSettings(image_size=32, epochs=2, batch_size=batch_size, resampling=resampling)
    fitted = trained(small_network(), settings, on_step=seen.append)
    size = epoch_size(views()[0].labels, settings)
    steps = max(1, size // min(batch_size, size))
    assert [(progress.epoch, progress.step) for progress in seen] == [
        (epoch, step) for epoch in (1, 2) for step in range(1, steps + 1)
    ]
    assert {progress.steps for progress in seen} == {steps}
    assert all(progress.images_per_second > 0 for progress in seen)
    assert [row.epoch for row in fitted.history] == [1, 2]
    assert all(row.seconds > 0 and row.images_per_second > 0 for row in fitted.history)


def test_on_epoch_hears_all_rows_so_far():
    heard: list[tuple[loop.EpochRow, ...]] = []
    fitted = trained(small_network(), on_epoch=heard.append)
    assert [len(rows) for rows in heard] == [1, 2, 3]
    assert heard[-1] == fitted.history


@pytest.mark.parametrize("from_scratch", [True, False])
@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_the_course_of_the_learning_rate(from_scratch, schedule):
    settings = TrainingSettings(image_size=32, epochs=20, patience=20, schedule=schedule, batch_size=60, warmup=0.25)
    rates = [row.learning_rate for row in trained(small_network(), settings, from_scratch=from_scratch).history]
    peak = settings.learning_rate_from_scratch if from_scratch else settings.learning_rate
    top = int(np.argmax(rates))
    assert max(rates) <= peak
    if schedule == "constant":
        assert set(rates) == {peak}
        return
    assert (np.diff(rates[top:]) < 0).all()
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    if schedule == "one_cycle":
        assert top == 4
        assert rates[top] == pytest.approx(peak)
        assert (np.diff(rates[: top + 1]) > 0).all()
    else:
        assert top == 0
        assert rates[0] > 0.98 * peak


def test_decay_leaves_biases_and_normalisation_alone():
    model = small_network()
    decayed, kept = _parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert {id(parameter) for parameter in decayed["params"]} == {id(model[0].weight), id(model[5].weight)}
    assert len(decayed["params"]) + len(kept["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize("batch_size", [1, 3, 20, 64])
def test_prediction_is_that_of_the_network_in_any_batches(batch_size):
    model, view = small_network(), views()[1]
    logits = logits_of(model, view, batch_size)
    assert (logits.shape, logits.dtype) == ((N_VALIDATION, 3), torch.float32)
    images = normalise(view.pixels(torch.arange(N_VALIDATION)), IMAGENET)
    torch.testing.assert_close(logits, model.eval()(images).detach(), rtol=1e-4, atol=1e-5)


def test_bfloat16_trains_and_predicts_in_float32():
    model = small_network()
    fitted = trained(model, means=Means(bfloat16=True))
    assert math.isfinite(fitted.history[-1].train_loss)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert logits_of(model, views()[1]).dtype == torch.float32
