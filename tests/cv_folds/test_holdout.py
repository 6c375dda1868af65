from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cv_folds_samples import job_spec, random_dataset, small_folds

from cv_folds.arrays import frozen
from cv_folds.errors import DataError, UsageError
from cv_folds.fold_file import read_fold_file
from cv_folds.holdout import make_holdout, make_image_level_holdout
from cv_folds.out_of_fold import FoldLogits, pool
from cv_folds.splits import HOLDOUT_PARTS, TEST, TRAIN, VALIDATION, Folds, image_level_folds, inner_split, make_folds
from cv_folds.training.jobs import finished, run_job
from cv_folds.training.record import LOGITS_FILE, OTHER_FILES, RESULT_FILES, VALIDATION_FILE
from reports.run_folder import read_folds


def three_parts() -> Folds:
    """Return small folds as one fixed division: 45 lesions of three classes, a third in each part."""
    return replace(small_folds(), holdout=True)


@pytest.mark.parametrize("seed", range(40))
def test_the_promises_of_the_parts(tmp_path, seed):
    rng = np.random.default_rng(seed)
    dataset = random_dataset(tmp_path, seed, fewest_lesions=3)
    shares = rng.integers(10, 60, 3)
    folds = make_holdout(dataset, shares=shares.tolist(), seed=seed, groups=dataset.lesion_ids)
    # Construction refuses torn groups and classes that a part lacks.
    assert folds.holdout
    assert folds.held_out == (TEST,)
    sizes = np.bincount(folds.folds, minlength=3)
    assert sizes.sum() == len(dataset)
    biggest = np.unique(dataset.lesion_ids, return_counts=True)[1].max()
    for label in range(len(dataset.classes)):
        of_class = np.bincount(folds.folds[folds.labels == label], minlength=3)
        assert (of_class <= of_class.sum() * shares / shares.sum() + biggest).all()
    again = make_holdout(dataset, shares=shares.tolist(), seed=seed, groups=dataset.lesion_ids)
    np.testing.assert_array_equal(again.folds, folds.folds)


def test_shares_are_kept_where_lesions_are_many(tmp_path):
    dataset = random_dataset(tmp_path, 4, fewest_lesions=60, n_classes=3)
    folds = make_holdout(dataset, shares=(20, 20, 60), seed=0, groups=dataset.lesion_ids)
    np.testing.assert_allclose(np.bincount(folds.folds) / len(dataset), [0.2, 0.2, 0.6], atol=0.02)
    others = {
        make_holdout(dataset, shares=(20, 20, 60), seed=seed, groups=dataset.lesion_ids).folds.tobytes()
        for seed in range(4)
    }
    assert len(others) == 4


def test_a_class_of_two_lesions_is_refused(tmp_path):
    dataset = random_dataset(tmp_path, 0, fewest_lesions=5, n_classes=2)
    groups = dataset.lesion_ids.copy()
    groups[dataset.labels == 0] = np.where(np.arange((dataset.labels == 0).sum()) % 2, "one", "two")
    with pytest.raises(UsageError, match="class_0: 2"):
        make_holdout(dataset, shares=(20, 20, 60), seed=0, groups=frozen(groups))


@pytest.mark.parametrize("seed", range(20))
def test_validation_and_test_part_hold_single_images_only(tmp_path, seed):
    dataset = random_dataset(tmp_path, seed, fewest_lesions=40, n_classes=3)
    groups = dataset.lesion_ids
    folds = make_holdout(dataset, shares=(10, 10, 80), seed=seed, groups=groups, single_image=True)
    several = {group for group, count in zip(*np.unique(groups, return_counts=True), strict=True) if count > 1}
    assert several
    outside = folds.folds != TRAIN
    assert not several & set(groups[outside].tolist())
    assert several <= set(groups[~outside].tolist())
    for label in range(3):
        of_class = np.bincount(folds.folds[folds.labels == label], minlength=3)
        alone = sum(group not in several for group in groups[dataset.labels == label].tolist())
        for part in (TEST, VALIDATION):
            assert 1 <= of_class[part] <= of_class.sum() / 10 + 1
            assert of_class[part] >= min(of_class.sum() / 10, alone / 3) - 1


def test_a_class_without_single_images_is_refused(tmp_path):
    dataset = random_dataset(tmp_path, 0, fewest_lesions=9, n_classes=2)
    groups = dataset.lesion_ids.copy()
    rows = np.flatnonzero(dataset.labels == 1)
    groups[rows] = [f"pair_{number // 2}" for number in range(len(rows))]
    with pytest.raises(UsageError, match=r"class_1: \d\n.*holdout = lesion"):
        make_holdout(dataset, shares=(10, 10, 80), seed=0, groups=frozen(groups), single_image=True)


@pytest.mark.parametrize("seed", range(10))
def test_an_image_level_holdout_leaks_and_keeps_its_shares(tmp_path, seed):
    dataset = random_dataset(tmp_path, seed, fewest_lesions=20, n_classes=3)
    folds = make_image_level_holdout(dataset, shares=(20, 20, 60), seed=seed, groups=dataset.lesion_ids)
    assert folds.leaks
    assert folds.holdout
    np.testing.assert_array_equal(folds.groups, dataset.lesion_ids)
    with pytest.raises(DataError, match="more than one fold"):
        replace(folds, leaks=False)
    for label in range(3):
        of_class = np.bincount(folds.folds[folds.labels == label], minlength=3)
        assert (abs(of_class - of_class.sum() * np.array([0.2, 0.2, 0.6])) <= 1).all()


def test_parts_are_written_as_words_and_read_back(tmp_path):
    dataset = random_dataset(tmp_path, 2, fewest_lesions=5)
    folds = make_holdout(dataset, shares=(20, 20, 60), seed=1, groups=dataset.lesion_ids)
    folds.write_csv(tmp_path / "folds.csv")
    assert set(HOLDOUT_PARTS) == {line.rsplit(",")[-1] for line in (tmp_path / "folds.csv").read_text().split()[1:]}
    assert read_folds(tmp_path / "folds.csv", dataset.classes).to_csv() == folds.to_csv()
    again = read_fold_file(tmp_path / "folds.csv", dataset, dataset.lesion_ids, n_folds=5, holdout=True)
    assert again.to_csv() == folds.to_csv()
    assert again.holdout
    (tmp_path / "folds.csv").write_text(folds.to_csv().replace(",train\n", ",7\n").replace(",test\n", ",TEST\n"))
    with pytest.raises(DataError, match="parts that are not train, validation or test"):
        read_fold_file(tmp_path / "folds.csv", dataset, dataset.lesion_ids, n_folds=5, holdout=True)


def test_the_inner_split_is_that_of_the_parts():
    folds = three_parts()
    split = inner_split(folds, TEST, parts=8, seed=0)
    np.testing.assert_array_equal(split.train, np.flatnonzero(folds.folds == TRAIN))
    np.testing.assert_array_equal(split.validation, np.flatnonzero(folds.folds == VALIDATION))


def test_a_job_predicts_test_and_validation_part_and_is_whole_with_both(tmp_path):
    folds = three_parts()
    spec = job_spec(tmp_path, folds=folds, fold=TEST)
    assert spec.digest() != job_spec(tmp_path, folds=replace(folds, holdout=False), fold=TEST).digest()
    record = run_job(spec)
    assert set(record.files) == {*RESULT_FILES, *OTHER_FILES}
    for name, part in ((LOGITS_FILE, TEST), (VALIDATION_FILE, VALIDATION)):
        stored = FoldLogits.load(spec.folder / name)
        assert stored.image_ids.tolist() == folds.image_ids[folds.folds == part].tolist()
        pooled = pool(folds, [stored], [spec.backbone], held_out=(part,))
        assert pooled.image_ids.tolist() == stored.image_ids.tolist()
        np.testing.assert_array_equal(pooled.logits[:, 0], stored.logits)
    assert finished(spec) is not None
    (spec.folder / VALIDATION_FILE).unlink()
    assert finished(spec) is None


@pytest.mark.parametrize("seed", range(10))
def test_image_level_folds_leak_and_are_stratified(tmp_path, seed):
    dataset = random_dataset(tmp_path, seed, fewest_lesions=8)
    folds = image_level_folds(dataset, dataset.lesion_ids, n_folds=4, seed=seed)
    assert folds.leaks
    counts = np.array([[row[name] for name in dataset.classes] for row in folds.table()])
    assert (np.ptp(counts, axis=0) <= 1).all()
    several = np.unique(dataset.lesion_ids, return_counts=True)[1].max() > 1
    assert several
    with pytest.raises(DataError, match="more than one fold"):
        replace(folds, leaks=False)
    assert not make_folds(dataset, n_folds=4, seed=seed).leaks
