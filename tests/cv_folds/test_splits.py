from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cv_folds_samples import image_row, random_dataset, small_folds
from sklearn.model_selection import StratifiedGroupKFold

from cv_folds.arrays import frozen
from cv_folds.data.dataset import build_dataset
from cv_folds.errors import DataError, UsageError
from cv_folds.splits import Folds, inner_split, make_folds, torn_groups

SEEDS = range(60)


def fold_count(seed):
    return int(np.random.default_rng(seed).integers(2, 11))


def lesions_of(folds, rows):
    return set(folds.groups[rows].tolist())


def few_lesions(tmp_path, **lesions):
    file = tmp_path / "image.png"
    file.touch()
    rows = [
        image_row(f"{name}_{lesion}_{image}", f"{name}_{lesion}", name, file)
        for name, count in lesions.items()
        for lesion in range(count)
        for image in range(3)
    ]
    return build_dataset(rows, name="x", root=tmp_path, demo=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_promises_of_the_folds(tmp_path, seed):
    n_folds = fold_count(seed)
    dataset = random_dataset(tmp_path, seed, fewest_lesions=n_folds)
    folds = make_folds(dataset, n_folds=n_folds, seed=seed)
    # Every image in exactly one fold, rows as in the dataset.
    assert folds.image_ids.tolist() == dataset.image_ids.tolist()
    assert folds.folds.shape == (len(dataset),)
    assert set(folds.folds.tolist()) == set(range(n_folds))
    # No lesion in two folds.
    for fold in range(n_folds):
        assert not lesions_of(folds, folds.folds == fold) & lesions_of(folds, folds.folds != fold)
    # Every class in every fold.
    for fold in range(n_folds):
        assert set(folds.labels[folds.folds == fold].tolist()) == set(range(len(dataset.classes)))
    # The same seed, the same folds.
    np.testing.assert_array_equal(make_folds(dataset, n_folds=n_folds, seed=seed).folds, folds.folds)


@pytest.mark.parametrize("seed", SEEDS)
def test_merged_lesions_stay_together(tmp_path, seed):
    n_folds = fold_count(seed)
    dataset = random_dataset(tmp_path, seed, fewest_lesions=2 * n_folds)
    # Two lesions of one class become one group each.
    groups = frozen([f"{name[: name.rindex('_')]}_{int(name.rsplit('_')[-1]) // 2}" for name in dataset.lesion_ids])
    folds = make_folds(dataset, n_folds=n_folds, seed=seed, groups=groups)
    assert len(set(zip(groups.tolist(), folds.folds.tolist(), strict=True))) == len(set(groups.tolist()))
    assert folds.lesion_ids.tolist() == dataset.lesion_ids.tolist()
    assert folds.groups.tolist() == groups.tolist()


@pytest.mark.parametrize("seed", range(10))
def test_folds_are_those_of_scikit_learn(tmp_path, seed):
    dataset = random_dataset(tmp_path, seed, fewest_lesions=5)
    folds = make_folds(dataset, n_folds=5, seed=seed)
    reference = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(reference.split(np.empty(len(dataset)), dataset.labels, dataset.lesion_ids)):
        np.testing.assert_array_equal(np.flatnonzero(folds.folds == fold), held_out)


@pytest.mark.parametrize("seed", range(10))
def test_classes_are_balanced_over_the_folds(tmp_path, seed):
    dataset = random_dataset(tmp_path, seed, fewest_lesions=20)
    folds = make_folds(dataset, n_folds=5, seed=seed)
    counts = np.array([[row[name] for name in dataset.classes] for row in folds.table()])
    ideal = counts.sum(axis=0) / 5
    # A lesion has up to seven images and cannot be divided.
    assert np.abs(counts - ideal).max() <= 7


def test_folds_of_a_small_data_set_never_change(tmp_path):
    # Runs are resumed and compared by their folds: another division needs a new version, not a new number here.
    dataset = few_lesions(tmp_path, akiec=8, bcc=11, mel=19, nv=60)
    folds = make_folds(dataset, n_folds=5, seed=42)
    assert hashlib.sha256(folds.folds.astype("<i8").tobytes()).hexdigest()[:16] == "e4aa71d2ad5daf9b"
    split = inner_split(folds, 2, parts=8, seed=42)
    assert hashlib.sha256(split.validation.astype("<i8").tobytes()).hexdigest()[:16] == "3763523e5cf0796c"


def test_another_seed_gives_other_folds(tmp_path):
    dataset = random_dataset(tmp_path, 1, fewest_lesions=8)
    divisions = {make_folds(dataset, n_folds=5, seed=seed).folds.tobytes() for seed in range(5)}
    assert len(divisions) == 5


def test_fewer_lesions_than_folds_names_every_class_and_the_mend(tmp_path):
    dataset = few_lesions(tmp_path, nv=12, df=3, vasc=4)
    with pytest.raises(UsageError) as caught:
        make_folds(dataset, n_folds=5, seed=0)
    message = str(caught.value)
    assert "--folds 5" in message
    assert "df: 3 lesions" in message
    assert "vasc: 4 lesions" in message
    assert "nv" not in message
    assert "Use --folds 3 or fewer" in message
    assert make_folds(dataset, n_folds=3, seed=0).n_folds == 3


def test_a_class_of_one_lesion_can_only_be_left_out(tmp_path):
    dataset = few_lesions(tmp_path, nv=12, df=1)
    with pytest.raises(UsageError) as caught:
        make_folds(dataset, n_folds=5, seed=0)
    assert "df: 1 lesion" in str(caught.value)
    assert "1 lesions" not in str(caught.value)
    assert "Use --folds" not in str(caught.value)
    assert "leave out the class" in str(caught.value).lower()


@pytest.mark.parametrize("n_folds", [1, 0, -3])
def test_fewer_than_two_folds(tmp_path, n_folds):
    with pytest.raises(UsageError, match=f"--folds {n_folds}: .*at least 2"):
        make_folds(few_lesions(tmp_path, nv=9, mel=9), n_folds=n_folds, seed=0)


def test_groups_with_two_classes_that_starve_a_fold_are_refused(tmp_path):
    dataset = few_lesions(tmp_path, nv=2, mel=2)
    groups = frozen([name.rsplit("_")[-1] for name in dataset.lesion_ids])
    folds = make_folds(dataset, n_folds=2, seed=0, groups=groups)
    assert not torn_groups(folds.groups, folds.folds)
    with pytest.raises(UsageError, match="mel: 1 lesion"):
        make_folds(dataset, n_folds=2, seed=0, groups=frozen(np.where(dataset.labels == 0, "one", dataset.lesion_ids)))


def test_folds_refuse_a_torn_group_an_absent_class_and_a_foreign_number():
    folds = small_folds()
    moved = folds.folds.copy()
    moved[0] = 2
    with pytest.raises(DataError, match=r"groups that stand in more than one fold:\n  lesion_000$"):
        replace(folds, folds=frozen(moved))
    with pytest.raises(DataError, match="fold 1 has no image of nv"):
        replace(folds, folds=frozen(np.where((folds.labels == 2) & (folds.folds == 1), 0, folds.folds)))
    with pytest.raises(DataError, match="between 0 and 1"):
        replace(folds, n_folds=2)
    with pytest.raises(DataError, match="fold 3 has no image"):
        replace(folds, n_folds=4)


def test_folds_refuse_an_image_twice():
    folds = small_folds()
    twice = folds.image_ids.copy()
    twice[4] = twice[3]
    with pytest.raises(DataError, match=r"more than once:\n  image_003$"):
        replace(folds, image_ids=frozen(twice))


@pytest.mark.parametrize("seed", range(20))
def test_torn_groups_are_those_in_two_folds(seed):
    rng = np.random.default_rng(seed)
    groups, folds = rng.integers(0, 30, 60).astype(np.str_), rng.integers(0, 3, 60)
    expected = [name for name in np.unique(groups).tolist() if len(set(folds[groups == name].tolist())) > 1]
    assert torn_groups(groups, folds) == expected


def test_table_counts_lesions_images_and_classes(tmp_path):
    dataset = random_dataset(tmp_path, 3, fewest_lesions=6, n_classes=3)
    folds = make_folds(dataset, n_folds=4, seed=0)
    table = folds.table()
    assert [row["fold"] for row in table] == [0, 1, 2, 3]
    assert sum(row["images"] for row in table) == len(dataset)
    assert sum(row["lesions"] for row in table) == dataset.n_lesions
    for name, count in dataset.class_counts().items():
        assert sum(row[name] for row in table) == count


def test_folds_csv_holds_every_row_in_order(tmp_path):
    dataset = random_dataset(tmp_path, 4, fewest_lesions=6, n_classes=3)
    folds = make_folds(dataset, n_folds=4, seed=0)
    folds.write_csv(tmp_path / "folds.csv")
    with (tmp_path / "folds.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["image_id", "lesion_id", "group", "label", "fold"]
    assert [row["image_id"] for row in rows] == dataset.image_ids.tolist()
    assert [row["lesion_id"] for row in rows] == dataset.lesion_ids.tolist()
    assert [row["group"] for row in rows] == dataset.lesion_ids.tolist()
    assert [row["label"] for row in rows] == [dataset.classes[label] for label in dataset.labels]
    assert [int(row["fold"]) for row in rows] == folds.folds.tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_promises_of_the_inner_split(tmp_path, seed):
    n_folds = fold_count(seed)
    dataset = random_dataset(tmp_path, seed, fewest_lesions=max(n_folds, 8))
    folds = make_folds(dataset, n_folds=n_folds, seed=seed)
    fold = seed % n_folds
    split = inner_split(folds, fold, parts=8, seed=seed)
    train, validation = set(split.train.tolist()), set(split.validation.tolist())
    held_out = set(np.flatnonzero(folds.folds == fold).tolist())
    assert not train & validation
    assert not (train | validation) & held_out
    assert train | validation | held_out == set(range(len(dataset)))
    assert not lesions_of(folds, split.train) & lesions_of(folds, split.validation)
    assert set(folds.labels[split.train].tolist()) == set(range(len(dataset.classes)))
    again = inner_split(folds, fold, parts=8, seed=seed)
    np.testing.assert_array_equal(again.train, split.train)
    np.testing.assert_array_equal(again.validation, split.validation)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_promises_of_the_inner_split_hold_when_two_folds_are_held_out(tmp_path, seed):
    n_folds = max(3, fold_count(seed))
    dataset = random_dataset(tmp_path, seed, fewest_lesions=max(n_folds, 8))
    folds = make_folds(dataset, n_folds=n_folds, seed=seed)
    pair = sorted(np.random.default_rng(seed).choice(n_folds, size=2, replace=False).tolist())
    split = inner_split(folds, pair[0], second=pair[1], parts=2, seed=seed)
    train, validation = set(split.train.tolist()), set(split.validation.tolist())
    assert not train & validation
    assert validation
    assert train | validation == set(np.flatnonzero(~np.isin(folds.folds, pair)).tolist())
    assert not lesions_of(folds, split.train) & lesions_of(folds, split.validation)
    assert set(folds.labels[split.train].tolist()) == set(range(len(dataset.classes)))


@pytest.mark.parametrize("seed", range(10))
def test_an_eighth_of_every_class_chooses_the_epoch(tmp_path, seed):
    dataset = random_dataset(tmp_path, seed, fewest_lesions=40)
    folds = make_folds(dataset, n_folds=5, seed=seed)
    for fold in range(5):
        split = inner_split(folds, fold, parts=8, seed=seed)
        outside = np.bincount(folds.labels[folds.folds != fold])
        chosen = np.bincount(folds.labels[split.validation], minlength=len(outside))
        assert np.abs(chosen - outside / 8).max() <= 7


def test_folds_do_not_share_their_inner_choice(tmp_path):
    dataset = random_dataset(tmp_path, 2, fewest_lesions=20)
    folds = make_folds(dataset, n_folds=5, seed=0)
    chosen = {inner_split(folds, fold, parts=8, seed=0).validation.tobytes() for fold in range(5)}
    assert len(chosen) == 5
    assert (
        inner_split(folds, 0, parts=8, seed=1).validation.tobytes()
        != inner_split(folds, 0, parts=8, seed=0).validation.tobytes()
    )


def test_what_the_held_out_fold_holds_does_not_move_the_inner_split(tmp_path):
    dataset = random_dataset(tmp_path, 5, fewest_lesions=10, n_classes=4)
    folds = make_folds(dataset, n_folds=5, seed=0)
    labels = folds.labels.copy()
    labels[folds.folds == 1] = np.random.default_rng(0).permutation(labels[folds.folds == 1])
    other = replace(folds, labels=frozen(labels))
    before, after = inner_split(folds, 1, parts=8, seed=0), inner_split(other, 1, parts=8, seed=0)
    np.testing.assert_array_equal(before.train, after.train)
    np.testing.assert_array_equal(before.validation, after.validation)


def test_the_only_lesion_of_a_class_stays_in_train(tmp_path):
    dataset = few_lesions(tmp_path, nv=40, df=2)
    folds = make_folds(dataset, n_folds=2, seed=0)
    for fold in range(2):
        split = inner_split(folds, fold, parts=8, seed=0)
        assert Counter(folds.labels[split.train].tolist())[0] == 3
        assert set(folds.labels[split.validation].tolist()) == {1}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_class_with_few_lesions_stays_in_train(tmp_path, seed):
    rng = np.random.default_rng(seed)
    dataset = few_lesions(tmp_path, nv=40, df=int(rng.integers(2, 6)), vasc=int(rng.integers(2, 6)))
    folds = make_folds(dataset, n_folds=2, seed=seed)
    split = inner_split(folds, 0, parts=8, seed=seed)
    assert set(folds.labels[split.train].tolist()) == {0, 1, 2}


def test_too_few_lesions_for_the_inner_split_names_the_setting(tmp_path):
    folds = make_folds(few_lesions(tmp_path, nv=4, df=4), n_folds=2, seed=0)
    assert len(inner_split(folds, 0, parts=2, seed=0).validation)
    with pytest.raises(UsageError, match=r"training\.validation_parts = 8: .* 4 lesions with 12 images"):
        inner_split(folds, 0, parts=8, seed=0)
    with pytest.raises(UsageError, match=r"training\.validation_parts = 2: .* 0 lesions with 0 images"):
        inner_split(make_folds(few_lesions(tmp_path, nv=2, df=2), n_folds=2, seed=0), 0, parts=2, seed=0)


@pytest.mark.parametrize("seed", range(20))
def test_a_group_of_two_classes_is_not_divided_when_one_has_no_other(seed):
    # Outside fold 1, group_00 is all there is of class 0, and holds images of class 1 too.
    names = np.repeat([f"group_{index:02d}" for index in range(24)], 4)
    labels = np.ones(96, np.int64)
    labels[[0, 1, 92, 93]] = 0
    folds = Folds(
        image_ids=frozen([f"image_{index:02d}" for index in range(96)]),
        lesion_ids=frozen(names),
        groups=frozen(names),
        labels=frozen(labels),
        classes=("df", "nv"),
        folds=frozen(np.arange(96) >= 88, np.int64),
        n_folds=2,
    )
    split = inner_split(folds, 1, parts=2, seed=seed)
    assert set(range(4)) <= set(split.train.tolist())
    assert not lesions_of(folds, split.train) & lesions_of(folds, split.validation)
