from __future__ import annotations

import numpy as np
import pytest

from cv_folds.near_duplicates.motion import Matches, align, motions_of, support


def moved(points, scale, angle, u, v):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    x, y, size, direction = points.T
    return np.stack([c * x - s * y + u, s * x + c * y + v, size * scale, direction + angle], axis=1)


def random_points(rng, n):
    return np.column_stack(
        [rng.uniform(0, 200, n), rng.uniform(0, 150, n), rng.uniform(2, 12, n), rng.uniform(-np.pi, np.pi, n)]
    )


def matches_of(pairs):
    """Put [(a, b), ...] into one `Matches`."""
    return Matches(
        pair=np.repeat(np.arange(len(pairs)) * 3, [len(a) for a, _ in pairs]),
        a=np.concatenate([a for a, _ in pairs]).astype(np.float32),
        b=np.concatenate([b for _, b in pairs]).astype(np.float32),
        weight=np.ones(sum(len(a) for a, _ in pairs)),
    )


def planted(rng, n_true, n_false, noise=0.5):
    scale, angle = np.exp(rng.uniform(-1, 1)), rng.uniform(-np.pi, np.pi)
    b = random_points(rng, n_true + n_false)
    a = moved(b, scale, angle, *rng.uniform(-50, 50, 2))
    a[:n_true, :2] += rng.normal(0, noise * max(scale, 1), (n_true, 2))
    a[:n_true, 2] *= np.exp(rng.normal(0, 0.05, n_true))
    a[:n_true, 3] += rng.normal(0, 0.05, n_true)
    a[n_true:] = random_points(rng, n_false)
    order = rng.permutation(len(a))
    return a[order], b[order], order < n_true, scale, angle


@pytest.mark.parametrize("seed", range(20))
def test_a_planted_motion_is_found_among_chance(seed):
    rng = np.random.default_rng(seed)
    cases = [planted(rng, 12, 30) for _ in range(4)]
    found = align(matches_of([(a, b) for a, b, *_ in cases]))
    assert found.pair.tolist() == [0, 3, 6, 9]
    for row, (_, _, _, scale, angle) in enumerate(cases):
        assert found.motions.scale()[row] == pytest.approx(scale, rel=0.05)
        assert np.cos(found.motions.angle()[row] - angle) > 0.995
    true = np.concatenate([case[2] for case in cases])
    assert found.inliers[true].mean() > 0.9
    assert found.inliers[~true].mean() < 0.1
    assert found.n_inliers.sum() == found.inliers.sum()


@pytest.mark.parametrize("seed", range(5))
def test_chance_gives_few_inliers(seed):
    rng = np.random.default_rng(100 + seed)
    found = align(matches_of([(random_points(rng, 40), random_points(rng, 40)) for _ in range(10)]))
    assert found.n_inliers.max(initial=0) <= 4


@pytest.mark.parametrize("seed", range(10))
def test_support_counts_what_a_loop_counts(seed):
    rng = np.random.default_rng(seed)
    a, b, *_ = planted(rng, 6, 8, noise=2.0)
    matches = matches_of([(a, b)])
    own = motions_of(matches)
    x, y = matches.b[:, 0], matches.b[:, 1]
    for i, total in enumerate(support(matches).tolist()):
        expected = 0
        for j in range(len(matches)):
            scale = own.scale()[i]
            miss = np.hypot(
                own.c[i] * x[j] - own.s[i] * y[j] + own.u[i] - matches.a[j, 0],
                own.s[i] * x[j] + own.c[i] * y[j] + own.v[i] - matches.a[j, 1],
            )
            turn = np.angle(np.exp(1j * (own.angle()[i] - own.angle()[j])))
            ratio = abs(np.log(scale / own.scale()[j]))
            expected += miss < 4 * max(scale, 1) and abs(turn) < 0.5 and ratio < 0.5
        plausible = 0.25 <= own.scale()[i] <= 4
        assert total == (expected if plausible else 0)


def test_one_point_matched_many_times_is_one_piece_of_evidence():
    rng = np.random.default_rng(0)
    b = np.repeat(random_points(rng, 1), 6, axis=0)
    a = b.copy()
    a[:, 0] += np.arange(6) / 10
    assert support(matches_of([(a, b)])).max() == 1


def test_too_large_a_scale_is_no_motion():
    rng = np.random.default_rng(0)
    b = random_points(rng, 10)
    assert support(matches_of([(moved(b, 6.0, 0.3, 0, 0), b)])).max() == 0
    assert len(align(matches_of([(moved(b, 6.0, 0.3, 0, 0), b)])).pair) == 0


def test_no_matches():
    none = np.zeros((0, 4), np.float32)
    found = align(Matches(pair=np.zeros(0, np.int64), a=none, b=none, weight=np.zeros(0)))
    assert len(found.pair) == len(found.inliers) == 0
