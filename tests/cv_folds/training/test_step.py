from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from cv_folds.training.mixing import Mix
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.step import Stepper

N, SIZE, CLASSES, PEAK, STEPS = 8, 16, 3, 0.01, 20
SETTINGS = TrainingSettings(weight_decay=0.1, label_smoothing=0.1, gradient_clip=0.05)
MIXES = {
    "plain": None,
    "mixup": Mix(order=torch.tensor([3, 0, 5, 1, 4, 2, 7, 6]), share=0.3, box=None),
    "cutmix": Mix(order=torch.tensor([3, 0, 5, 1, 4, 2, 7, 6]), share=0.75, box=(0, 8, 8, 16)),
}


def network(*, normalised: bool = True) -> nn.Module:
    torch.manual_seed(0)
    # Without a bias: before batch normalisation its gradient would be nothing but rounding.
    layers = [nn.Conv2d(3, 8, 5, stride=4, bias=False), nn.BatchNorm2d(8) if normalised else nn.Identity(), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def batch(seed: int, n: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, SIZE, SIZE, generator=generator), torch.randint(CLASSES, (n,), generator=generator)


def stepper_of(model: nn.Module, settings: TrainingSettings = SETTINGS, **changed: object) -> Stepper:
    arguments = {"forward": model, "peak": PEAK, "steps": STEPS, "bfloat16": False, "micro_batch": N} | changed
    return Stepper(model, settings=settings, **arguments)  # type: ignore[arg-type]


def gradients(model: nn.Module, monkeypatch: pytest.MonkeyPatch, mix: Mix | None = None, **changed: object):
    """Return the loss and the gradients that the optimiser is given by one step."""
    images, targets = batch(0, int(changed.pop("n", N)))  # type: ignore[call-overload]
    stepper = stepper_of(model, **changed)  # type: ignore[arg-type]
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(
        stepper.optimiser, "step", lambda: seen.extend(parameter.grad.clone() for parameter in model.parameters())
    )
    return stepper.step(images, targets, mix), seen


def total_norm(tensors: list[torch.Tensor]) -> float:
    return float(torch.cat([tensor.flatten() for tensor in tensors]).norm())


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
@pytest.mark.parametrize("clip", [0.05, 1e6])
def test_steps_are_those_of_plain_pytorch(schedule, clip):
    settings = SETTINGS.model_copy(update={"schedule": schedule, "gradient_clip": clip})
    ours, theirs = network(), network()
    stepper = stepper_of(ours, settings)
    weights = [theirs[0].weight, theirs[5].weight]
    others = [parameter for parameter in theirs.parameters() if parameter.ndim == 1]
    optimiser = torch.optim.AdamW([{"params": weights}, {"params": others, "weight_decay": 0.0}], weight_decay=0.1)
    for done in range(6):
        images, targets = batch(done)
        loss = stepper.step(images, targets, None)
        if schedule == "cosine":
            factor = (1 + math.cos(math.pi * done / STEPS)) / 2
        elif done < 4:
            factor = 0.04 + 0.96 * (1 - math.cos(math.pi * done / 4)) / 2
        else:
            factor = (1 + math.cos(math.pi * (done - 4) / 16)) / 2
        for group in optimiser.param_groups:
            group["lr"] = PEAK * factor
        optimiser.zero_grad()
        expected = functional.cross_entropy(theirs(images), targets, label_smoothing=0.1)
        expected.backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        optimiser.step()
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-6)
        assert not loss.requires_grad
    for key, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[key], rtol=1e-4, atol=1e-5)
    assert stepper.steps_done == 6


@pytest.mark.parametrize(
    ("changed", "reference"),
    [
        ({"optimiser": "adam"}, lambda groups: torch.optim.Adam(groups, weight_decay=0.1)),
        ({"optimiser": "sgd"}, lambda groups: torch.optim.SGD(groups, lr=PEAK, momentum=0.9, weight_decay=0.1)),
        (
            {"optimiser": "sgd", "momentum": 0.5, "nesterov": True},
            lambda groups: torch.optim.SGD(groups, lr=PEAK, momentum=0.5, nesterov=True, weight_decay=0.1),
        ),
        ({"optimiser": "sgd", "momentum": 0.0}, lambda groups: torch.optim.SGD(groups, lr=PEAK, weight_decay=0.1)),
    ],
)
def test_other_optimisers_at_a_constant_rate_are_those_of_plain_pytorch(changed, reference):
    plain = {"weight_decay": 0.1, "label_smoothing": 0.0, "schedule": "constant", "gradient_clip": 0.0}
    settings = TrainingSettings.model_validate(plain | changed)
    ours, theirs = network(), network()
    stepper = stepper_of(ours, settings)
    others = [parameter for parameter in theirs.parameters() if parameter.ndim == 1]
    optimiser = reference([{"params": [theirs[0].weight, theirs[5].weight]}, {"params": others, "weight_decay": 0.0}])
    for group in optimiser.param_groups:
        group["lr"] = PEAK
    for done in range(6):
        images, targets = batch(done)
        stepper.step(images, targets, None)
        optimiser.zero_grad()
        functional.cross_entropy(theirs(images), targets).backward()
        optimiser.step()
    for key, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_micro_batches_give_the_same_gradient_with_class_weights(loss, monkeypatch):
    settings = SETTINGS.model_copy(update={"gradient_clip": 0.0, "loss": loss})
    changed = {"settings": settings, "class_weights": torch.tensor([0.5, 3.0, 1.0])}
    whole = gradients(network(normalised=False), monkeypatch, MIXES["mixup"], **changed)
    parts = gradients(network(normalised=False), monkeypatch, MIXES["mixup"], micro_batch=3, **changed)
    torch.testing.assert_close(parts[0], whole[0], rtol=1e-5, atol=1e-6)
    for part, expected in zip(parts[1], whole[1], strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
@pytest.mark.parametrize("micro_batch", [1, 2, 3, 5, 7, 8, 100])
def test_micro_batches_give_the_same_gradient(micro_batch, mix, monkeypatch):
    open_clip = SETTINGS.model_copy(update={"gradient_clip": 1e6})
    whole = gradients(network(normalised=False), monkeypatch, mix, settings=open_clip)
    parts = gradients(network(normalised=False), monkeypatch, mix, settings=open_clip, micro_batch=micro_batch)
    torch.testing.assert_close(parts[0], whole[0], rtol=1e-5, atol=1e-6)
    for part, expected in zip(parts[1], whole[1], strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-6)
    assert total_norm(whole[1]) > 0.01


@pytest.mark.parametrize(
    ("n", "micro_batch", "shown"),
    [(8, 4, [4, 4]), (8, 8, [8]), (9, 4, [3, 3, 3]), (5, 2, [2, 3]), (11, 2, [2, 2, 2, 2, 3]), (3, 2, [3])],
)
def test_a_batch_is_cut_into_parts_of_like_size(n, micro_batch, shown, monkeypatch):
    model, sizes = network(normalised=False), []

    def forward(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return model(images)

    gradients(model, monkeypatch, forward=forward, micro_batch=micro_batch, n=n)
    assert sizes == shown


def test_a_batch_that_does_not_divide_leaves_no_single_image_to_batch_normalisation(monkeypatch):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, SIZE), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, CLASSES))
    loss, _ = gradients(model, monkeypatch, micro_batch=4, n=9)
    assert torch.isfinite(loss)


@pytest.mark.parametrize("clip", [1e-4, 1e-2])
def test_a_large_gradient_keeps_its_direction_and_is_clipped(clip, monkeypatch):
    free, clipped = (
        gradients(network(), monkeypatch, settings=SETTINGS.model_copy(update={"gradient_clip": limit}))[1]
        for limit in (1e6, clip)
    )
    assert total_norm(free) > 10 * clip
    assert total_norm(clipped) == pytest.approx(clip, rel=1e-3)
    factor = clip / total_norm(free)
    for one, two in zip(free, clipped, strict=True):
        torch.testing.assert_close(one * factor, two, rtol=1e-3, atol=1e-9)


def test_the_sum_of_micro_batches_is_clipped_and_not_each(monkeypatch):
    clip = SETTINGS.model_copy(update={"gradient_clip": 1e-3})
    _, parts = gradients(network(normalised=False), monkeypatch, settings=clip, micro_batch=2)
    assert total_norm(parts) == pytest.approx(1e-3, rel=1e-3)


def test_no_gradient_is_left_for_the_next_step():
    model = network()
    stepper = stepper_of(model)
    stepper.step(*batch(0), None)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_network_is_shown_channels_last_images():
    model, strides = network(), []

    def forward(images: torch.Tensor) -> torch.Tensor:
        strides.append(images.is_contiguous(memory_format=torch.channels_last))
        return model(images)

    stepper_of(model, forward=forward, micro_batch=3).step(*batch(0), None)
    assert strides == [True] * 3


def test_bfloat16_is_for_the_pass_and_not_for_what_is_kept(monkeypatch):
    model, kinds = network(), []
    model[0].register_forward_hook(lambda _, __, out: kinds.append(out.dtype))
    exact, expected = gradients(network(), monkeypatch)
    loss, rounded = gradients(model, monkeypatch, bfloat16=True)
    assert kinds == [torch.bfloat16]
    assert loss.dtype == torch.float32
    assert {tensor.dtype for tensor in rounded} == {torch.float32}
    assert float(loss) == pytest.approx(float(exact), rel=0.02)
    assert float(loss) != float(exact)
    flat, flat_expected = (torch.cat([tensor.flatten() for tensor in tensors]) for tensors in (rounded, expected))
    assert functional.cosine_similarity(flat, flat_expected, dim=0) > 0.99


def test_bfloat16_steps_learn():
    model = network()
    stepper = stepper_of(model, SETTINGS.model_copy(update={"gradient_clip": 1.0}), bfloat16=True, steps=60)
    images, targets = batch(0)
    losses = [float(stepper.step(images, targets, None)) for _ in range(60)]
    assert losses[-1] < 0.7 * losses[0]
    assert all(state["exp_avg"].dtype == torch.float32 for state in stepper.optimiser.state.values())


def test_the_average_follows_every_step():
    model = network()
    stepper = stepper_of(model, SETTINGS.model_copy(update={"ema_decay": 0.9}))
    assert stepper.average is not None
    start = model[0].weight.detach().clone()
    stepper.step(*batch(0), None)
    # The decay begins at 2 / 11.
    torch.testing.assert_close(stepper.average.model[0].weight, start * 2 / 11 + model[0].weight.detach() * 9 / 11)
    assert stepper.average.steps == stepper.steps_done == 1
    assert stepper_of(network()).average is None


def test_frozen_weights_stay():
    model = network()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    stepper_of(model).step(*batch(0), None)
    assert torch.equal(model[0].weight, before)


def test_it_goes_on_at_the_learning_rate_of_the_step():
    rates = []
    stepper = stepper_of(network())
    for done in range(STEPS):
        rates.append(stepper.learning_rate)
        assert [group["lr"] for group in stepper.optimiser.param_groups] == [rates[-1]] * 2
        stepper.step(*batch(done), None)
    for done, rate in enumerate(rates):
        resumed = stepper_of(network())
        resumed.resume(done)
        assert resumed.learning_rate == rate
        assert [group["lr"] for group in resumed.optimiser.param_groups] == [rate] * 2
