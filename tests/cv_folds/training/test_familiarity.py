"""Distances that a job keeps of the images it had not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cv_folds.errors import DataError
from cv_folds.training.familiarity import familiarity_of
from cv_folds.training.features import FeatureStatistics, estimate_statistics
from cv_folds.training.fold_distances import FoldDistances
from cv_folds.training.predict import Seen


def seen(n: int, seed: int) -> Seen:
    rng = np.random.default_rng(seed)
    features, appearance = (torch.from_numpy(rng.normal(size=(n, d))).float() for d in (30, 8))
    return Seen(logits=torch.zeros(n, 2), features=features, appearance=appearance)


def test_every_image_is_measured_in_both_ways() -> None:
    learned, first, second = seen(100, 0), seen(4, 1), seen(3, 2)
    unseen = [(np.array(["p", "q", "r", "s"]), first), (np.array(["t", "u", "v"]), second)]
    found = familiarity_of(learned, "a", 1, unseen)
    assert (found.distances.backbone, found.distances.fold) == ("a", 1)
    assert found.distances.image_ids.tolist() == list("pqrstuv")
    for kind in ("features", "appearance"):
        statistics = estimate_statistics(getattr(learned, kind))
        both = torch.cat([getattr(first, kind), getattr(second, kind)])
        np.testing.assert_array_equal(getattr(found.distances, kind), statistics.distances(both))


def test_all_of_it_comes_back(tmp_path: Path) -> None:
    stored = familiarity_of(seen(100, 0), "a", 1, [(np.array(["x", "y"]), seen(2, 1))])
    assert sorted(stored.save(tmp_path)) == sorted(path.name for path in tmp_path.iterdir())
    again = FoldDistances.load(tmp_path / "distances.npz")
    assert (again.backbone, again.fold, again.image_ids.tolist()) == ("a", 1, ["x", "y"])
    for kind in ("features", "appearance"):
        np.testing.assert_array_equal(getattr(again, kind), getattr(stored.distances, kind))
        statistics = FeatureStatistics.from_bytes((tmp_path / f"{kind}.safetensors").read_bytes(), kind)
        assert torch.equal(statistics.mean, getattr(stored, kind).mean)
    file = tmp_path / "distances.npz"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"distances\.npz is no file of distances"):
        FoldDistances.load(file)


@pytest.mark.parametrize("wrong", [np.array([1.0]), np.array([1.0, np.nan])])
def test_distances_that_do_not_fit_are_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    fitting = np.array([1.0, 2.0])
    FoldDistances(backbone="a", fold=0, image_ids=np.array(["x", "y"]), features=fitting, appearance=wrong).save(
        tmp_path / "distances.npz"
    )
    with pytest.raises(DataError, match="do not fit its images"):
        FoldDistances.load(tmp_path / "distances.npz")
