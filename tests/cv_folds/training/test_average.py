from __future__ import annotations

import csv
import math
from dataclasses import replace

import pytest
import torch
from cv_folds_samples import coloured_pixels, job_spec, small_folds
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cv_folds.splits import inner_split
from cv_folds.training import loop
from cv_folds.training.average import WeightAverage
from cv_folds.training.backbones import build_backbone
from cv_folds.training.jobs import run_job
from cv_folds.training.loop import Fitted, fit
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.store import ResidentPixels
from cv_folds.training.view import ImageView

# So many steps that the decay has risen to its final value.
LATE = 10**9


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def wander(model: nn.Module) -> None:
    """Move all weights and running statistics, as a step does."""
    model.train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn_like(parameter)
        model(torch.randn(8, 3, 7, 7))


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_it_is_torchs_average_once_the_decay_is_constant(decay):
    model = network()
    average = WeightAverage(model, decay)
    reference = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    # Its first update only copies.
    reference.update_parameters(model)
    average.steps = LATE
    for _ in range(6):
        wander(model)
        average.update()
        reference.update_parameters(model)
    theirs = reference.module.state_dict()
    for key, value in average.model.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, theirs[key], rtol=1e-6, atol=1e-6)
            assert not torch.equal(value, model.state_dict()[key])


def test_running_statistics_are_averaged_and_counts_are_copied():
    model = network()
    average = WeightAverage(model, 0.75)
    average.steps = LATE
    before = model[1].running_mean.clone()
    wander(model)
    average.update()
    torch.testing.assert_close(average.model[1].running_mean, 0.75 * before + 0.25 * model[1].running_mean)
    assert average.model[1].num_batches_tracked == model[1].num_batches_tracked == 1


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.9999])
def test_the_start_is_forgotten_by_a_decay_that_rises(decay):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 5.0)
    average = WeightAverage(model, decay)
    expected = 5.0
    for step in range(1, 60):
        nn.init.constant_(model.weight, math.sin(step))
        average.update()
        now = min(decay, (1 + step) / (10 + step))
        expected = now * expected + (1 - now) * math.sin(step)
        assert float(average.model.weight) == pytest.approx(expected, abs=1e-5)
    assert average.steps == 59


def test_a_constant_is_its_own_average():
    model = network()
    average = WeightAverage(model, 0.9)
    for _ in range(5):
        average.update()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in average.model.state_dict().items())


def test_it_is_a_network_of_its_own_that_is_not_trained():
    model = network()
    average = WeightAverage(model, 0.9)
    own = {tensor.data_ptr() for tensor in average.model.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not average.model.training
    assert average.model[0].weight.stride() == model[0].weight.stride()


def views() -> tuple[ImageView, ImageView]:
    folds = small_folds()
    store = ResidentPixels(torch.from_numpy(coloured_pixels(folds)))
    labels = torch.from_numpy(folds.labels.copy())
    parts = torch.arange(60), torch.arange(60, 90)
    return tuple(ImageView(store, part, labels[part]) for part in parts)  # type: ignore[return-value]


def fitted(model: nn.Module, settings: TrainingSettings) -> Fitted:
    train, validation = views()
    return fit(
        model,
        train,
        validation,
        settings=settings,
        from_scratch=True,
        normalisation=IMAGENET,
        generator=torch.Generator().manual_seed(0),
        on_step=lambda _: None,
        on_epoch=lambda _: None,
    )


def is_average(model: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in model.parameters())


def favour(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    """Let one of the two kinds of weights validate better by far."""
    validate = loop._validate

    def biased(model, *arguments):
        figures = validate(model, *arguments)
        return replace(figures, loss=figures.loss + 100 * (is_average(model) is (which == "last")))

    monkeypatch.setattr(loop, "_validate", biased)


@pytest.mark.parametrize("which", ["last", "average"])
def test_the_weights_that_validate_better_are_kept(which, monkeypatch):
    last: dict[str, dict[str, torch.Tensor]] = {}
    validate = loop._validate

    def remembering(model, *arguments):
        kind = "average" if is_average(model) else "last"
        last[kind] = {key: value.clone() for key, value in model.state_dict().items()}
        return validate(model, *arguments)

    monkeypatch.setattr(loop, "_validate", remembering)
    favour(monkeypatch, which)
    model = network()
    settings = TrainingSettings(image_size=32, epochs=1, batch_size=12, ema_decay=0.9, learning_rate_from_scratch=0.02)
    history = fitted(model, settings).history
    assert history[0].weights == which
    other = {"last": "average", "average": "last"}[which]
    assert all(torch.equal(value, last[which][key]) for key, value in model.state_dict().items())
    assert not all(torch.equal(value, last[other][key]) for key, value in model.state_dict().items())


def test_the_row_holds_the_better_of_both_figures():
    settings = TrainingSettings(image_size=32, epochs=6, batch_size=6, ema_decay=0.8, learning_rate_from_scratch=0.3)
    seen: list[tuple[float, float, bool]] = []
    validate = loop._validate
    with pytest.MonkeyPatch.context() as patch:

        def listening(model, *arguments):
            figures = validate(model, *arguments)
            seen.append((figures.loss, figures.balanced_accuracy, is_average(model)))
            return figures

        patch.setattr(loop, "_validate", listening)
        history = fitted(network(), settings).history
    assert len(seen) == 2 * len(history)
    for row, pair in zip(history, zip(seen[::2], seen[1::2], strict=True), strict=True):
        loss, accuracy, average = min(pair)
        assert (row.validation_loss, row.validation_balanced_accuracy) == (loss, accuracy)
        assert row.weights == ("average" if average else "last")


def test_without_a_decay_there_is_no_average():
    assert {row.weights for row in fitted(network(), TrainingSettings(image_size=32, epochs=2)).history} == {"last"}


@pytest.mark.parametrize("which", ["last", "average"])
def test_a_job_stores_the_weights_that_its_history_names(tmp_path, monkeypatch, which):
    favour(monkeypatch, which)
    settings = TrainingSettings(image_size=32, epochs=2, batch_size=16, ema_decay=0.9)
    spec = job_spec(tmp_path, settings=settings)
    record = run_job(spec)
    monkeypatch.undo()
    with (spec.folder / "history.csv").open(newline="") as stream:
        row = list(csv.DictReader(stream))[record.best_epoch - 1]
    assert row["weights"] == which
    model = build_backbone(spec.backbone, 3, image_size=32)
    model.load_state_dict(load_file(spec.folder / "model.safetensors"))
    rows = torch.from_numpy(inner_split(spec.folds, spec.fold, parts=8, seed=0).validation.copy())
    view = ImageView(
        ResidentPixels(torch.from_numpy(coloured_pixels(spec.folds))),
        rows,
        torch.from_numpy(spec.folds.labels.copy())[rows],
    )
    figures = loop._validate(model, view, 64, IMAGENET, settings)
    assert figures.loss == pytest.approx(float(row["validation_loss"]), rel=1e-4)
    assert figures.balanced_accuracy == pytest.approx(float(row["validation_balanced_accuracy"]))
