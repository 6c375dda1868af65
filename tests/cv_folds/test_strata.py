from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cv_folds_samples import random_dataset

from cv_folds.arrays import frozen
from cv_folds.data.dataset import LesionDataset
from cv_folds.splits import image_level_folds, make_folds
from cv_folds.strata import COLUMNS, make_strata


def with_columns(dataset: LesionDataset, seed: int) -> LesionDataset:
    """Give every lesion a sex and a dx_type, some of them rare."""
    rng = np.random.default_rng(seed)
    lesions = np.unique(dataset.lesion_ids)
    sexes = dict(zip(lesions, rng.choice(["male", "female", ""], len(lesions), p=[0.5, 0.4, 0.1]), strict=True))
    types = dict(
        zip(lesions, rng.choice(["histo", "follow_up", "confocal"], len(lesions), p=[0.6, 0.35, 0.05]), strict=True)
    )
    return replace(
        dataset,
        sexes=frozen([sexes[name] for name in dataset.lesion_ids], np.str_),
        dx_types=frozen([types[name] for name in dataset.lesion_ids], np.str_),
    )


def test_without_columns_the_strata_are_the_diagnoses(tmp_path):
    dataset = random_dataset(tmp_path, 0, fewest_lesions=5)
    strata = make_strata(dataset, dataset.lesion_ids, (), fewest=5)
    np.testing.assert_array_equal(strata.labels, dataset.labels)
    assert strata.rare == ()


@pytest.mark.parametrize("seed", range(10))
def test_a_stratum_is_a_combination_or_a_diagnosis_and_large_enough_or_named(tmp_path, seed):
    dataset = with_columns(random_dataset(tmp_path, seed, fewest_lesions=8), seed)
    strata = make_strata(dataset, dataset.lesion_ids, ("dx_type", "sex"), fewest=5)
    combinations = list(zip(dataset.labels.tolist(), dataset.dx_types.tolist(), dataset.sexes.tolist(), strict=True))
    lesions = {key: set() for key in combinations}
    for key, lesion in zip(combinations, dataset.lesion_ids.tolist(), strict=True):
        lesions[key].add(lesion)
    rare = {key for key, inside in lesions.items() if len(inside) < 5}
    assert len(strata.rare) == len(rare)
    # Images share a stratum exactly when they share a combination, or a diagnosis whose combinations are rare.
    keys = [key[:1] if key in rare else key for key in combinations]
    assert (
        len(set(zip(keys, strata.labels.tolist(), strict=True))) == len(set(keys)) == len(set(strata.labels.tolist()))
    )


@pytest.mark.parametrize("seed", range(40))
def test_folds_over_strata_keep_every_promise(tmp_path, seed):
    rng = np.random.default_rng(seed)
    n_folds = int(rng.integers(2, 8))
    dataset = with_columns(random_dataset(tmp_path, seed, fewest_lesions=n_folds), seed)
    columns = list(COLUMNS)[: int(rng.integers(1, 4))]
    strata = make_strata(dataset, dataset.lesion_ids, columns, fewest=n_folds)
    # Construction refuses torn groups and classes that a fold lacks.
    folds = make_folds(dataset, n_folds=n_folds, seed=seed, strata=strata.labels)
    assert set(folds.folds.tolist()) == set(range(n_folds))


def test_a_column_that_is_stratified_by_is_spread_more_evenly(tmp_path):
    dataset = with_columns(random_dataset(tmp_path, 3, fewest_lesions=40, n_classes=2), 3)
    by_sex = make_strata(dataset, dataset.lesion_ids, ("sex",), fewest=5)

    def unevenness(strata, seed):
        folds = make_folds(dataset, n_folds=5, seed=seed, strata=strata)
        counts = [Counter(dataset.sexes[folds.folds == fold].tolist())["female"] for fold in range(5)]
        return np.std(counts)

    plain = np.mean([unevenness(None, seed) for seed in range(8)])
    assert np.mean([unevenness(by_sex.labels, seed) for seed in range(8)]) < plain / 2


@pytest.mark.parametrize("seed", range(5))
def test_folds_of_images_are_stratified_by_the_same_columns(tmp_path, seed):
    dataset = with_columns(random_dataset(tmp_path, seed, fewest_lesions=8), seed)
    strata = make_strata(dataset, dataset.image_ids, ("sex", "dx_type"), fewest=4)
    folds = image_level_folds(dataset, dataset.lesion_ids, n_folds=4, seed=seed, strata=strata.labels)
    counts = np.array([np.bincount(strata.labels[folds.folds == fold], minlength=2) for fold in range(4)])
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_the_rare_combination_is_named_with_its_number(tmp_path):
    dataset = random_dataset(tmp_path, 1, fewest_lesions=6, n_classes=2)
    sexes = np.where(dataset.lesion_ids == dataset.lesion_ids[0], "", "male")
    strata = make_strata(replace(dataset, sexes=frozen(sexes)), dataset.lesion_ids, ("sex",), fewest=2)
    assert strata.rare == (f"{dataset.classes[dataset.labels[0]]}, not given: 1",)
