from __future__ import annotations

import pytest
from near_duplicate_samples import dataset_of, skin, view

from cv_folds.near_duplicates import across as module
from cv_folds.near_duplicates.across import near_duplicates_across
from cv_folds.near_duplicates.search import near_duplicates

VIEWS = {"turned": {"degrees": 37}, "mirrored": {"mirrored": True, "brightness": 0.8}, "nearer": {"zoom": 1.5}}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two sets whose ids are the same by chance; three lesions are in both, and each set holds a pair of its own."""
    folder = tmp_path_factory.mktemp("sets")
    new = {f"image_{seed}": view(skin(seed), **how) for seed, how in enumerate(VIEWS.values())}
    new |= {"image_5": view(skin(50)), "image_6": view(skin(50), degrees=90), "image_7": view(skin(51))}
    known = {f"image_{9 - seed}": view(skin(seed)) for seed in range(len(VIEWS))}
    known |= {"image_0": view(skin(60)), "image_1": view(skin(60), zoom=1.4), "image_2": view(skin(61))}
    return dataset_of(folder / "new", new), dataset_of(folder / "known", known)


@pytest.fixture(scope="module")
def found(sets, tmp_path_factory):
    return near_duplicates_across(*sets, root=tmp_path_factory.mktemp("cache"), workers=2)


def test_what_both_sets_show_is_found_and_nothing_within_one(found):
    pairs = {(pair.image_a, pair.image_b): pair for pair in found if pair.verdict == "confirmed"}
    assert set(pairs) == {("image_0", "image_9"), ("image_1", "image_8"), ("image_2", "image_7")}
    assert pairs["image_1", "image_8"].mirrored
    assert abs(pairs["image_0", "image_9"].degrees) == pytest.approx(37, abs=2)


def test_a_pair_of_one_set_is_one_for_the_search_within_it(sets, tmp_path):
    within = near_duplicates(sets[0], root=tmp_path, workers=2)
    assert [(pair.image_a, pair.image_b) for pair in within] == [("image_5", "image_6")]


def test_the_result_is_kept_and_does_not_depend_on_threads(sets, found, tmp_path, monkeypatch):
    assert near_duplicates_across(*sets, root=tmp_path, workers=1) == found
    monkeypatch.setattr(module, "examine", lambda *_, **__: pytest.fail("searched again"))
    assert near_duplicates_across(*sets, root=tmp_path, workers=2) == found
