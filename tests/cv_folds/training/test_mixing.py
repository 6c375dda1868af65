from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.transforms.v2 import CutMix, MixUp

from cv_folds.training.mixing import Mix, draw_mix, mix_images
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.step import Stepper

N, SIZE, CLASSES = 6, 16, 3
# torchvision mixes each image with the one before it in the batch.
ROLLED = torch.arange(N).roll(1)


def images() -> torch.Tensor:
    return torch.randn(N, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def labels() -> torch.Tensor:
    return torch.tensor([0, 2, 1, 1, 0, 2])


def drawn(count: int, size: int = SIZE, seed: int = 0, **settings: float) -> list[Mix]:
    rng = np.random.default_rng(seed)
    mixes = [draw_mix(N, size, TrainingSettings(**settings), rng) for _ in range(count)]  # type: ignore[arg-type]
    return [mix for mix in mixes if mix is not None]


def mixed_one_hot(mix: Mix) -> torch.Tensor:
    one_hot = functional.one_hot(labels(), CLASSES).double()
    return mix.share * one_hot + (1 - mix.share) * one_hot[mix.order]


def loss_of(logits: torch.Tensor, mix: Mix | None, smoothing: float, micro_batch: int = N) -> float:
    """The loss of a step whose network gives these logits."""
    bias = torch.nn.Parameter(torch.zeros(CLASSES))
    network = torch.nn.Module()
    network.register_parameter("bias", bias)
    stepper = Stepper(
        network,
        # The first channel's first pixels carry the logits.
        forward=lambda batch: batch[:, 0, 0, :CLASSES] + bias,
        settings=TrainingSettings(label_smoothing=smoothing),
        peak=1e-3,
        steps=10,
        bfloat16=False,
        micro_batch=micro_batch,
    )
    carrier = torch.zeros(N, 3, SIZE, SIZE)
    carrier[:, 0, 0, :CLASSES] = logits
    return float(stepper.step(carrier, labels(), mix))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.73, 1.0])
def test_mixup_is_torchvisions(share, monkeypatch):
    reference = MixUp(num_classes=CLASSES)
    monkeypatch.setattr(reference, "make_params", lambda _: {"lam": share})
    expected, targets = reference(images(), labels())
    mix = Mix(order=ROLLED, share=share, box=None)
    torch.testing.assert_close(mix_images(images(), mix), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(mixed_one_hot(mix).float(), targets)


@pytest.mark.parametrize("box", [(0, 16, 0, 16), (3, 3, 2, 9), (0, 5, 7, 16), (4, 11, 1, 2)])
def test_cutmix_is_torchvisions(box, monkeypatch):
    top, bottom, left, right = box
    share = 1 - (bottom - top) * (right - left) / SIZE**2
    reference = CutMix(num_classes=CLASSES)
    monkeypatch.setattr(reference, "make_params", lambda _: {"box": (left, top, right, bottom), "lam_adjusted": share})
    expected, targets = reference(images(), labels())
    mix = Mix(order=ROLLED, share=share, box=box)
    assert torch.equal(mix_images(images(), mix), expected)
    torch.testing.assert_close(mixed_one_hot(mix).float(), targets)


@pytest.mark.parametrize("settings", [{"mixup": 0.5}, {"cutmix": 0.5}])
def test_the_images_that_come_in_are_left_alone(settings):
    before = images()
    for mix in drawn(5, **settings):
        mix_images(before, mix)
    assert torch.equal(before, images())


def test_nothing_is_mixed_unless_it_is_asked_for():
    rng = np.random.default_rng(0)
    assert draw_mix(N, SIZE, TrainingSettings(), rng) is None
    # And nothing is drawn: other random numbers stay what they are.
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("size", [1, 7, 16, 224])
@pytest.mark.parametrize("cutmix", [0.1, 1.0, 10.0])
def test_the_share_of_cutmix_is_that_of_the_pixels_that_are_kept(size, cutmix):
    for mix in drawn(40, size, cutmix=cutmix):
        assert mix.box is not None
        top, bottom, left, right = mix.box
        assert 0 <= top <= bottom <= size
        assert 0 <= left <= right <= size
        # Images that are one colour each, and no two the same, show where each pixel comes from.
        flat = torch.arange(float(N))[:, None, None, None].expand(N, 3, size, size)
        shown = mix_images(flat, mix)
        kept = (shown == flat).float().mean(dim=(1, 2, 3))
        pasted = (shown == flat[mix.order]).float().mean(dim=(1, 2, 3))
        own_partner = mix.order == torch.arange(N)
        torch.testing.assert_close(kept[~own_partner], torch.full_like(kept[~own_partner], mix.share))
        torch.testing.assert_close(pasted[~own_partner], 1 - kept[~own_partner])
        assert (kept[own_partner] == 1).all()


def test_boxes_lie_everywhere_and_have_the_area_of_the_drawn_share():
    # Boxes far from the border are not cut: their area is that of the beta distribution's share, here uniform.
    mixes = drawn(4000, 100, cutmix=1.0)
    boxes = np.array([mix.box for mix in mixes], dtype=float)
    covered = np.zeros((100, 100))
    for top, bottom, left, right in boxes.astype(int):
        covered[top:bottom, left:right] += 1
    # A corner lies in a quarter of the boxes that the centre of the image lies in.
    assert covered.min() > 0.2 * covered.max()
    centre = (boxes[:, 0] + boxes[:, 1]) / 2, (boxes[:, 2] + boxes[:, 3]) / 2
    assert np.allclose(np.mean(centre, axis=1), 50, atol=3)
    # Squares, but for the border.
    inside = (boxes[:, 0] > 0) & (boxes[:, 1] < 100) & (boxes[:, 2] > 0) & (boxes[:, 3] < 100)
    sides = boxes[inside, 1] - boxes[inside, 0], boxes[inside, 3] - boxes[inside, 2]
    assert np.abs(sides[0] - sides[1]).max() <= 1


@pytest.mark.parametrize("mixup", [0.2, 1.0, 5.0])
def test_shares_of_mixup_follow_the_beta_distribution(mixup):
    shares = np.array([mix.share for mix in drawn(4000, mixup=mixup)])
    assert abs(shares.mean() - 0.5) < 0.03
    assert abs(shares.var() - 1 / (4 * (2 * mixup + 1))) < 0.01
    assert all(sorted(mix.order.tolist()) == list(range(N)) for mix in drawn(5, mixup=mixup))


def test_with_both_each_batch_takes_one_by_chance():
    cut = [mix.box is not None for mix in drawn(1000, mixup=0.5, cutmix=0.5)]
    assert 0.4 < np.mean(cut) < 0.6
    assert all(mix.box is None for mix in drawn(20, mixup=0.5))
    assert all(mix.box is not None for mix in drawn(20, cutmix=0.5))


def test_the_generator_decides_everything():
    first, again, other = (drawn(5, seed=seed, mixup=0.5, cutmix=0.5) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        assert (one.share, one.box) == (two.share, two.box)
        assert torch.equal(one.order, two.order)
    assert [mix.share for mix in first] != [mix.share for mix in other]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("micro_batch", [N, 4, 1])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_loss_is_cross_entropy_against_mixed_targets(share, micro_batch, smoothing):
    logits = 3 * torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(1))
    mix = Mix(order=torch.tensor([3, 0, 5, 1, 4, 2]), share=share, box=None)
    expected = functional.cross_entropy(logits.double(), mixed_one_hot(mix), label_smoothing=smoothing)
    assert loss_of(logits, mix, smoothing, micro_batch) == pytest.approx(float(expected), rel=1e-5)


def test_the_loss_without_mixing_is_that_of_the_own_targets():
    logits = torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(2))
    expected = functional.cross_entropy(logits, labels(), label_smoothing=0.05)
    assert loss_of(logits, None, 0.05) == pytest.approx(float(expected), rel=1e-5)
