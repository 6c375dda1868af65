from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cv_folds.arrays import frozen
from cv_folds.errors import DataError
from cv_folds.out_of_fold import FoldLogits, pool
from cv_folds.splits import Folds

CLASSES = ("mel", "nv")
BACKBONES = ("deep", "wide")
N_FOLDS = 3


@pytest.fixture
def folds() -> Folds:
    """Twelve lesions of two images, four lesions a fold, two of each class."""
    lesions = np.repeat([f"lesion_{index:02d}" for index in range(12)], 2)
    return Folds(
        image_ids=frozen([f"image_{index:02d}" for index in range(24)]),
        lesion_ids=frozen(lesions),
        groups=frozen(lesions),
        labels=frozen(np.repeat(np.arange(12) % 2, 2), np.int64),
        classes=CLASSES,
        folds=frozen(np.repeat(np.arange(12) // 4, 2), np.int64),
        n_folds=N_FOLDS,
    )


def parts_of(folds: Folds, seed: int = 0) -> list[FoldLogits]:
    """One part a job, jobs and images in random order."""
    rng = np.random.default_rng(seed)
    parts = [
        FoldLogits(
            backbone=backbone,
            fold=fold,
            classes=CLASSES,
            image_ids=rng.permutation(folds.image_ids[folds.folds == fold]),
            logits=rng.normal(size=(int((folds.folds == fold).sum()), 2)),
        )
        for backbone in BACKBONES
        for fold in range(N_FOLDS)
    ]
    return [parts[index] for index in rng.permutation(len(parts))]


def rows(part: FoldLogits, keep: np.ndarray | list[int]) -> FoldLogits:
    return replace(part, image_ids=part.image_ids[keep], logits=part.logits[keep])


@pytest.mark.parametrize("seed", range(10))
def test_pooling_joins_by_image_id_whatever_the_order(folds, seed):
    parts = parts_of(folds, seed)
    table = pool(folds, parts, BACKBONES)
    assert table.logits.shape == (24, 2, 2)
    assert (table.backbones, table.classes) == (BACKBONES, CLASSES)
    for part in parts:
        for name, logits in zip(part.image_ids, part.logits, strict=True):
            row = np.flatnonzero(table.image_ids == name)[0]
            assert table.folds[row] == part.fold
            np.testing.assert_array_equal(table.logits[row, BACKBONES.index(part.backbone)], logits)
    for column in ("image_ids", "lesion_ids", "groups", "labels", "folds"):
        np.testing.assert_array_equal(getattr(table, column), getattr(folds, column))
    assert not table.logits.flags.writeable


def test_backbones_stand_in_the_order_asked_for(folds):
    parts = parts_of(folds)
    forward, backward = pool(folds, parts, BACKBONES), pool(folds, parts, BACKBONES[::-1])
    np.testing.assert_array_equal(forward.logits[:, ::-1], backward.logits)


@pytest.mark.parametrize("index", range(6))
def test_a_missing_job_is_named(folds, index):
    parts = parts_of(folds)
    gone = parts.pop(index)
    with pytest.raises(DataError, match=rf"run again to finish them:\n  {gone.backbone}, fold {gone.fold}$"):
        pool(folds, parts, BACKBONES)


def test_a_job_given_twice_is_refused(folds):
    parts = parts_of(folds)
    with pytest.raises(DataError, match=f"{parts[2].backbone}, fold {parts[2].fold}: predicted twice"):
        pool(folds, [*parts, parts[2]], BACKBONES)


@pytest.mark.parametrize("change", [{"backbone": "tall"}, {"fold": 3}])
def test_an_unknown_job_is_refused(folds, change):
    parts = parts_of(folds)
    with pytest.raises(DataError, match="do not belong to this run"):
        pool(folds, [*parts, replace(parts[0], **change)], BACKBONES)


def test_an_image_predicted_twice_is_named(folds):
    parts = parts_of(folds)
    parts[1] = rows(parts[1], [0, 1, 2, 3, 4, 5, 6, 7, 4])
    with pytest.raises(DataError, match=f"images predicted twice:\n  {parts[1].image_ids[4]}"):
        pool(folds, parts, BACKBONES)


def test_an_image_never_predicted_is_named(folds):
    parts = parts_of(folds)
    lost = parts[1].image_ids[5]
    parts[1] = rows(parts[1], [0, 1, 2, 3, 4, 6, 7])
    with pytest.raises(DataError, match=f"images never predicted:\n  {lost}"):
        pool(folds, parts, BACKBONES)


@pytest.mark.parametrize("stranger", ["image_of_nobody", None])
def test_an_image_that_the_model_was_trained_on_is_named(folds, stranger):
    parts = parts_of(folds)
    part = parts[1]
    name = stranger or folds.image_ids[folds.folds != part.fold][0]
    parts[1] = replace(
        part, image_ids=np.append(part.image_ids, name), logits=np.concatenate([part.logits, [[0.0, 0.0]]])
    )
    with pytest.raises(DataError, match=f"images of another fold.*\n  {name}"):
        pool(folds, parts, BACKBONES)


def test_folds_mixed_up_are_refused(folds):
    parts = sorted(parts_of(folds), key=lambda part: (part.backbone, part.fold))
    parts[:2] = [replace(parts[0], fold=1), replace(parts[1], fold=0)]
    with pytest.raises(DataError, match="deep, fold 0: images never predicted"):
        pool(folds, parts, BACKBONES)


@pytest.mark.parametrize("classes", [CLASSES[::-1], ("bcc", "mel")])
def test_another_class_order_is_refused(folds, classes):
    parts = parts_of(folds)
    parts[3] = replace(parts[3], classes=classes)
    with pytest.raises(DataError, match="are not the run's"):
        pool(folds, parts, BACKBONES)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_named(folds, value):
    part = parts_of(folds)[0]
    logits = part.logits.copy()
    logits[3, 1] = value
    with pytest.raises(DataError, match=f"logits of 1 images are not finite:\n  {part.image_ids[3]}"):
        replace(part, logits=logits)


@pytest.mark.parametrize("shape", [(8, 3), (7, 2), (8,), (8, 2, 1)])
def test_logits_of_another_shape_are_refused(folds, shape):
    with pytest.raises(DataError, match="logits of shape"):
        replace(parts_of(folds)[0], logits=np.zeros(shape))


def test_a_file_gives_back_what_was_saved(folds, tmp_path):
    part = parts_of(folds)[0]
    path = tmp_path / "deep" / "oof.npz"
    part.save(path)
    back = FoldLogits.load(path)
    assert (back.backbone, back.fold, back.classes) == (part.backbone, part.fold, part.classes)
    np.testing.assert_array_equal(back.image_ids, part.image_ids)
    np.testing.assert_array_equal(back.logits, part.logits)
    assert back.logits.dtype == np.float64
    assert [file.name for file in path.parent.iterdir()] == ["oof.npz"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_named(folds, tmp_path, share):
    path = tmp_path / "oof.npz"
    parts_of(folds)[0].save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"oof\.npz is no out-of-fold file.*run again"):
        FoldLogits.load(path)


def test_every_flipped_byte_is_found_or_harmless(folds, tmp_path):
    part = parts_of(folds)[0]
    path = tmp_path / "oof.npz"
    part.save(path)
    content = path.read_bytes()
    found = 0
    for position in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            back = FoldLogits.load(path)
        except DataError:
            found += 1
        else:
            np.testing.assert_array_equal(back.logits, part.logits)
            np.testing.assert_array_equal(back.image_ids, part.image_ids)
    assert found > 0


def test_files_of_another_kind_are_named(folds, tmp_path):
    path = tmp_path / "oof.npz"
    with pytest.raises(DataError, match="no out-of-fold file"):
        FoldLogits.load(path)
    np.savez(path, backbone=np.array("deep"))
    with pytest.raises(DataError, match="no out-of-fold file"):
        FoldLogits.load(path)
    np.savez(path, **{**vars(parts_of(folds)[0]), "logits": np.array([object()])})
    with pytest.raises(DataError, match="no out-of-fold file"):
        FoldLogits.load(path)
    path.unlink()
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)
    with pytest.raises(DataError, match="no out-of-fold file"):
        FoldLogits.load(path)
