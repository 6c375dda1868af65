from __future__ import annotations

import numpy as np
import pytest
import torch
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from sklearn.utils.class_weight import compute_class_weight
from torch.utils.data import WeightedRandomSampler

from cv_folds.training.resampling import aimed_weights, class_weights, draw_epoch, epoch_size
from cv_folds.training.settings import TrainingSettings

KINDS = ("weighted", "over", "under", "none")


def labels_of(*counts: int, seed: int = 0) -> torch.Tensor:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


def drawn(labels: torch.Tensor, kind: str, seed: int = 0) -> torch.Tensor:
    settings = TrainingSettings(resampling=kind)
    positions = draw_epoch(labels, settings, torch.Generator().manual_seed(seed))
    assert positions.dtype == torch.int64
    assert positions.shape == (epoch_size(labels, settings),)
    assert positions.min() >= 0
    assert positions.max() < len(labels)
    return positions


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_decides_everything(kind):
    labels = labels_of(30, 7, 3)
    np.random.seed(0)  # noqa: NPY002 - the legacy global state must have no influence
    first = drawn(labels, kind, seed=5)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(7)
    assert torch.equal(drawn(labels, kind, seed=5), first)
    assert not torch.equal(drawn(labels, kind, seed=6), first)


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_is_in_random_order(kind):
    labels = labels_of(200, 100, 100)
    shown = labels[drawn(labels, kind)]
    # Sorted by class there would be two changes of class.
    assert int((shown.diff() != 0).sum()) > 100


def test_weighted_draws_as_a_weighted_random_sampler():
    labels = labels_of(60, 9, 2)
    weights = 1 / torch.bincount(labels).double()[labels]
    generator = torch.Generator().manual_seed(3)
    expected = list(WeightedRandomSampler(weights, len(labels), replacement=True, generator=generator))
    assert drawn(labels, "weighted", seed=3).tolist() == expected


def test_weighted_shows_every_class_alike():
    labels = labels_of(6000, 600, 60)
    shares = torch.bincount(labels[drawn(labels, "weighted")]) / len(labels)
    assert (shares - 1 / 3).abs().max() < 4 * (1 / 3 * 2 / 3 / len(labels)) ** 0.5


def test_an_empty_class_in_between_is_no_trouble():
    labels = labels_of(20, 0, 5)
    for kind in KINDS:
        assert set(labels[drawn(labels, kind)].tolist()) == {0, 2}
    assert epoch_size(labels, TrainingSettings(resampling="over")) == 40
    assert epoch_size(labels, TrainingSettings(resampling="under")) == 10


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("kind", "sampler"), [("over", RandomOverSampler), ("under", RandomUnderSampler)])
def test_over_and_under_sampling_give_imbalanced_learns_counts(seed, kind, sampler):
    rng = np.random.default_rng(seed)
    labels = labels_of(*rng.integers(1, 80, rng.integers(2, 8)).tolist(), seed=seed)
    _, expected = sampler(random_state=0).fit_resample(labels.numpy()[:, None], labels.numpy())
    positions = drawn(labels, kind, seed)
    np.testing.assert_array_equal(torch.bincount(labels[positions]), np.bincount(expected))
    if kind == "over":
        assert set(positions.tolist()) == set(range(len(labels)))
    else:
        assert len(set(positions.tolist())) == len(positions)


def test_over_and_under_sampling_choose_anew_every_epoch():
    labels = labels_of(50, 8)
    generator = torch.Generator().manual_seed(0)
    for kind in ("over", "under"):
        settings = TrainingSettings(resampling=kind)
        first, second = (sorted(draw_epoch(labels, settings, generator).tolist()) for _ in range(2))
        assert first != second


def test_none_shows_every_image_once():
    labels = labels_of(30, 7, 3)
    assert sorted(drawn(labels, "none").tolist()) == list(range(40))


@pytest.mark.parametrize("seed", range(10))
def test_class_weights_are_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    labels = labels_of(*rng.integers(0, 50, 6).tolist(), 1)
    weights = class_weights(labels, 9)
    present = np.unique(labels)
    np.testing.assert_allclose(
        weights[torch.from_numpy(present)],
        compute_class_weight("balanced", classes=present, y=labels.numpy()),
        rtol=1e-6,
    )
    absent = np.setdiff1d(np.arange(9), present)
    assert (weights[torch.from_numpy(absent)] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exponent", [0.25, 1.0])
def test_weighted_validation_images_have_the_class_shares_that_training_shows(kind, exponent):
    counts = (400, 70, 30)
    labels = labels_of(*counts)
    settings = TrainingSettings(resampling=kind, resampling_exponent=exponent)
    shown = torch.zeros(3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        shown += torch.bincount(labels[draw_epoch(labels, settings, generator)], minlength=3)
    weights = aimed_weights(labels, 3, settings) * torch.tensor(counts)
    assert torch.allclose(weights / weights.sum(), shown / shown.sum(), atol=0.01)


def test_a_class_without_validation_images_has_no_weight():
    assert aimed_weights(labels_of(5, 0, 2), 3, TrainingSettings(resampling_exponent=0.5))[1] == 0
    assert aimed_weights(labels_of(5, 0, 2), 3, TrainingSettings(resampling="over"))[1] == 0
