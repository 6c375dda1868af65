from __future__ import annotations

import numpy as np
import pytest

from cv_folds.near_duplicates.inverted_file import build_inverted_file, nearest_centres
from cv_folds.near_duplicates.projection import SCALE
from cv_folds.near_duplicates.settings import SearchSettings


def clouds(seed, n=600, dimensions=12):
    """Descriptors in clouds, and their owners."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(0, 60, (20, dimensions))
    made = middles[rng.integers(0, 20, n)] + rng.normal(0, 12, (n, dimensions))
    return np.clip(np.rint(made), -127, 127).astype(np.int8), rng.integers(0, 60, n)


@pytest.mark.parametrize("seed", range(10))
def test_searching_every_cell_is_the_search_of_everything(seed):
    descriptors, owners = clouds(seed)
    settings = SearchSettings(cells=6, probes=6, neighbours=4, farthest_neighbour=0.05)
    file = build_inverted_file(descriptors, owners, settings)
    assert sorted(file.features.tolist()) == list(range(len(descriptors)))
    queries = descriptors[::7].astype(np.float32)
    found = file.nearest(queries, owners[::7], settings)
    distances = ((queries[:, None] - descriptors[None].astype(np.float32)) ** 2).sum(axis=2) / SCALE**2
    for query in range(len(queries)):
        allowed = np.flatnonzero((owners != owners[::7][query]) & (distances[query] < 0.05))
        best = allowed[np.lexsort((allowed, distances[query][allowed]))][:4]
        mine = found.query == query
        np.testing.assert_allclose(found.distance[mine], distances[query][best], atol=1e-4)
        ties = len(set(distances[query][allowed].tolist())) < len(allowed)
        assert ties or found.feature[mine].tolist() == best.tolist()


def test_few_probes_find_most_of_it():
    descriptors, owners = clouds(3, n=3000)
    exact, quick = (
        build_inverted_file(descriptors, owners, settings).nearest(descriptors.astype(np.float32), owners, settings)
        for settings in (SearchSettings(cells=20, probes=20), SearchSettings(cells=20, probes=2))
    )
    pairs = [set(zip(found.query.tolist(), found.feature.tolist(), strict=True)) for found in (exact, quick)]
    assert len(pairs[0] & pairs[1]) > 0.9 * len(pairs[0])


def test_crowds_at_one_place_do_not_hide_other_owners():
    """Features of one owner that are nearer than all others give way."""
    descriptors = np.zeros((12, 8), np.int8)
    descriptors[8:, 0] = np.arange(2, 6)
    owners = np.array([0] * 8 + [1, 2, 3, 4])
    settings = SearchSettings(neighbours=2, farthest_neighbour=1.0)
    found = build_inverted_file(descriptors, owners, settings).nearest(
        np.zeros((1, 8), np.float32), owners[:1], settings
    )
    assert found.feature.tolist() == [8, 9]


def test_no_features_at_all():
    settings = SearchSettings()
    file = build_inverted_file(np.zeros((0, 8), np.int8), np.zeros(0, np.int64), settings)
    assert len(file.nearest(np.zeros((0, 8), np.float32), np.zeros(0, np.int64), settings).query) == 0


def test_the_same_seed_gives_the_same_cells():
    descriptors, owners = clouds(0)
    settings = SearchSettings(cells=8)
    one, other = (build_inverted_file(descriptors, owners, settings) for _ in range(2))
    assert np.array_equal(one.centres, other.centres)
    assert np.array_equal(one.features, other.features)


def test_nearest_centres_are_nearest():
    rng = np.random.default_rng(0)
    vectors, centres = rng.normal(size=(50, 5)).astype(np.float32), rng.normal(size=(9, 5)).astype(np.float32)
    distances = ((vectors[:, None] - centres[None]) ** 2).sum(axis=2)
    assert np.array_equal(nearest_centres(vectors, centres, 3), np.argsort(distances, axis=1)[:, :3])
    assert nearest_centres(vectors, centres, 20).shape == (50, 9)
