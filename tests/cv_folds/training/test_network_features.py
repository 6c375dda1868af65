"""The distribution of a network's features, and how far an image lies from it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import nn

from cv_folds.errors import DataError
from cv_folds.training.backbones import build_backbone
from cv_folds.training.features import (
    MOST_DIRECTIONS,
    FeatureStatistics,
    FeatureTap,
    estimate_statistics,
    tapped,
)


def draw(n: int, d: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(n, d)) * np.linspace(3, 0.5, d) @ rng.normal(size=(d, d)) + 2).float()


@pytest.mark.parametrize(("n", "d"), [(400, 12), (30, 200), (1000, 90)])
def test_the_distance_is_mahalanobis_under_the_modelled_covariance(n: int, d: int) -> None:
    features = draw(n, d, seed=n)
    statistics = estimate_statistics(features)
    directions, rest = statistics.directions.double(), float(statistics.rest)
    r = len(directions)
    assert r <= min(MOST_DIRECTIONS, (n - 1) // 2, d - 1)
    covariance = directions.T @ torch.diag(statistics.variances.double() - rest) @ directions + rest * torch.eye(d)
    offsets = features.double() - statistics.mean.double()
    expected = (torch.linalg.solve(covariance, offsets.T).T * offsets).sum(1).div(d).sqrt()
    np.testing.assert_allclose(statistics.distances(features), expected, rtol=2e-3)


def test_the_modelled_covariance_is_that_of_principal_components() -> None:
    features = draw(500, 100, seed=1)
    statistics = estimate_statistics(features)
    eigenvalues = np.linalg.eigvalsh(np.cov(features.double().numpy().T, bias=True))[::-1]
    np.testing.assert_allclose(statistics.variances, eigenvalues[:MOST_DIRECTIONS], rtol=1e-3)
    np.testing.assert_allclose(float(statistics.rest), eigenvalues[MOST_DIRECTIONS:].mean(), rtol=1e-3)
    np.testing.assert_allclose(statistics.directions @ statistics.directions.T, np.eye(MOST_DIRECTIONS), atol=1e-4)


def test_other_images_of_the_distribution_lie_near_and_others_far() -> None:
    # One distribution, of which the second half was not used for the estimate.
    features = draw(2000, 80, seed=2)
    statistics = estimate_statistics(features[:1000])
    near = statistics.distances(features[1000:])
    assert 0.8 < float(near.mean()) < 1.3
    assert float(statistics.distances(features[1000:] + 40 * torch.ones(80)).min()) > float(near.max())


@pytest.mark.parametrize("n", [1, 2])
def test_few_or_equal_images(n: int) -> None:
    for features in (draw(n, 6, seed=3), torch.full((n, 6), 2.0)):
        statistics = estimate_statistics(features)
        assert torch.isfinite(statistics.distances(features)).all()
        assert float(statistics.distances(features + 100)[0]) > float(statistics.distances(features)[0])


def test_a_distance_does_not_depend_on_the_others() -> None:
    features = draw(50, 40, seed=4)
    statistics = estimate_statistics(features)
    together = statistics.distances(features)
    assert torch.equal(together, torch.cat([statistics.distances(row[None]) for row in features]))
    assert statistics.distances(features[:0]).shape == (0,)


def test_statistics_that_were_made_ready_give_the_same() -> None:
    features = draw(50, 40, seed=4)
    statistics = estimate_statistics(features)
    assert torch.equal(statistics.ready_on(torch.device("cpu")).distances(features), statistics.distances(features))


def test_bytes_and_back() -> None:
    features = draw(60, 30, seed=5)
    statistics = estimate_statistics(features)
    again = FeatureStatistics.from_bytes(statistics.to_bytes(), "x")
    assert torch.equal(again.distances(features), statistics.distances(features))


def test_damaged_bytes_are_named() -> None:
    statistics = estimate_statistics(draw(60, 30, seed=5))
    content = statistics.to_bytes()
    with pytest.raises(DataError, match="some/file"):
        FeatureStatistics.from_bytes(content[:-40], "some/file")
    wrong = FeatureStatistics(
        mean=statistics.mean,
        directions=statistics.directions[:, :-1],
        variances=statistics.variances,
        rest=statistics.rest,
    )
    with pytest.raises(DataError, match="do not fit"):
        FeatureStatistics.from_bytes(wrong.to_bytes(), "some/file")
    zero = FeatureStatistics(
        mean=statistics.mean,
        directions=statistics.directions,
        variances=statistics.variances,
        rest=torch.tensor(0.0),
    )
    with pytest.raises(DataError, match="positive"):
        FeatureStatistics.from_bytes(zero.to_bytes(), "some/file")


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "resnet18", "efficientnet_b0", "vit_b_16"])
def test_the_logits_are_made_of_the_features(name: str) -> None:
    model = build_backbone(name, 3, image_size=32 if name.startswith("vit") else 64).eval()
    side = 32 if name.startswith("vit") else 64
    with torch.no_grad(), tapped(model) as tap:
        logits = model(torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0)))
        features = tap.take()
        assert features.shape == (2, tap.n_features)
    last = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    weight, bias = last.weight.flatten(1), last.bias
    assert bias is not None
    if isinstance(last, nn.Linear):
        np.testing.assert_allclose(logits, (features @ weight.T + bias).detach(), atol=1e-5)
    else:
        # SqueezeNet rectifies between its last convolution and the mean.
        assert features.shape == (2, last.in_channels)


def test_threads_do_not_see_each_other() -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    tap, found = FeatureTap(model), {}

    def look(index: int, ready: threading.Barrier) -> None:
        model(torch.full((1, 4), float(index)))
        ready.wait()
        found[index] = float(tap.take()[0, 0])

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=look, args=(index, barrier)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: 0.0, 1: 1.0}
    tap.close()
    model(torch.zeros(1, 4))
    with pytest.raises(AttributeError):
        tap.take()
