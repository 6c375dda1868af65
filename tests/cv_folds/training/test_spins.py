"""Images predicted several times under random flips and turns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cv_folds_samples import coloured_pixels, job_spec, small_folds
from torch import nn

from cv_folds.out_of_fold import FoldLogits
from cv_folds.training.augment import augment
from cv_folds.training.jobs import run_job
from cv_folds.training.loop import Fitted, fit
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.predict import predict_logits
from cv_folds.training.record import APPEARANCE_FILE, FEATURES_FILE, MODEL_FILE
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.spins import draw_spins
from cv_folds.training.store import ResidentPixels
from cv_folds.training.view import ImageView

N = 20


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(392, 3))


def view(rows: range = range(N)) -> ImageView:
    folds = small_folds()
    store = ResidentPixels(torch.from_numpy(coloured_pixels(folds)))
    return ImageView(store, torch.tensor(rows), torch.from_numpy(folds.labels.copy())[torch.tensor(rows)])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("batch_size", [1, 7, N, 100])
def test_probabilities_are_averaged_over_the_repetitions(batch_size):
    spins = draw_spins(N, 5, generator())
    assert spins is not None
    logits = predict_logits(network(), view(), batch_size=batch_size, normalisation=IMAGENET, spins=spins)
    pixels = view().pixels(torch.arange(N))
    with torch.inference_mode():
        model = network().eval()
        rounds = [model(augment(pixels, one, IMAGENET)).softmax(1) for one in spins.rounds]
    assert len(rounds) == 5
    torch.testing.assert_close(logits.exp(), torch.stack(rounds).mean(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(logits.softmax(1), logits.exp())
    plain = predict_logits(network(), view(), batch_size=batch_size, normalisation=IMAGENET)
    assert not torch.allclose(plain.softmax(1), logits.exp(), atol=1e-3)


def test_they_are_flips_and_turns_in_all_directions_and_nothing_else():
    spins = draw_spins(5_000, 2, generator())
    assert spins is not None
    for one in spins.rounds:
        assert one.angle.min() < -3.1
        assert one.angle.max() > 3.1
        for flips in (one.flip_x, one.flip_y):
            assert abs(float((flips < 0).float().mean()) - 0.5) < 0.03
        for name in ("scale", "brightness", "contrast", "saturation"):
            assert torch.equal(getattr(one, name), torch.ones(5_000)), name
    assert not torch.equal(spins.rounds[0].angle, spins.rounds[1].angle)


def test_without_them_nothing_is_drawn():
    stream = generator()
    before = stream.get_state()
    assert draw_spins(N, 0, stream) is None
    assert torch.equal(stream.get_state(), before)


def trained(seed: int = 0, **settings: object) -> Fitted:
    torch.manual_seed(1)
    return fit(
        network(),
        view(range(60)),
        view(range(60, 90)),
        settings=TrainingSettings(image_size=32, epochs=2, batch_size=12, ema_decay=0.9, **settings),
        from_scratch=True,
        normalisation=IMAGENET,
        generator=generator(seed),
        on_step=lambda _: None,
        on_epoch=lambda _: None,
    )


def test_they_move_the_validation_figures_and_not_the_training_before_them():
    plain, spun = trained(), trained(validation_spins=3)
    assert spun.history[0].train_loss == plain.history[0].train_loss
    assert spun.history[0].validation_loss != plain.history[0].validation_loss
    again = trained(validation_spins=3)
    assert [row.validation_loss for row in again.history] == [row.validation_loss for row in spun.history]


def test_held_out_images_are_spun_when_asked_for_and_the_network_is_the_same(tmp_path):
    plain = job_spec(tmp_path, settings=TrainingSettings(image_size=32, epochs=1, batch_size=16))
    spun = replace(plain, run=tmp_path / "spun", settings=plain.settings.model_copy(update={"held_out_spins": 3}))
    again = replace(spun, run=tmp_path / "again")
    records = [run_job(spec) for spec in (plain, spun, again)]
    for name in (MODEL_FILE, FEATURES_FILE, APPEARANCE_FILE):
        assert records[0].files[name] == records[1].files[name]
    logits = [FoldLogits.load(spec.folder / "oof.npz").logits for spec in (plain, spun, again)]
    assert not np.allclose(logits[0], logits[1], atol=1e-3)
    np.testing.assert_array_equal(logits[1], logits[2])
    np.testing.assert_allclose(np.exp(logits[1]).sum(axis=1), 1, atol=1e-5)
