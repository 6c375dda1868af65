from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cv_folds_samples import small_folds

from cv_folds.arrays import frozen
from cv_folds.errors import DataError
from cv_folds.held_out import fold_pairs, fold_words, held_out_folds
from cv_folds.nested_out_of_fold import pool_pairs
from cv_folds.out_of_fold import FoldLogits, OutOfFold, pool
from cv_folds.splits import Folds

BACKBONES = ("deep", "wide")


def shuffled_folds(seed: int, n_folds: int) -> Folds:
    folds = small_folds(n_lesions=6 * n_folds, n_folds=n_folds)
    order = np.random.default_rng(seed).permutation(len(folds.image_ids))
    columns = ("image_ids", "lesion_ids", "groups", "labels", "folds")
    return replace(folds, **{name: frozen(getattr(folds, name)[order]) for name in columns})


def part(folds: Folds, backbone: str, held_out: tuple[int, ...], rng: np.random.Generator) -> FoldLogits:
    ids = rng.permutation(folds.image_ids[np.isin(folds.folds, held_out)])
    logits = rng.normal(size=(len(ids), len(folds.classes)))
    second = held_out[1] if len(held_out) == 2 else None
    return FoldLogits(
        backbone=backbone, fold=held_out[0], second=second, classes=folds.classes, image_ids=ids, logits=logits
    )


def parts_of(folds: Folds, rng: np.random.Generator) -> list[FoldLogits]:
    """The jobs of all pairs, in random order."""
    parts = [part(folds, name, pair, rng) for name in BACKBONES for pair in fold_pairs(folds.n_folds)]
    return [parts[index] for index in rng.permutation(len(parts))]


def usual_of(folds: Folds, rng: np.random.Generator) -> OutOfFold:
    return pool(
        folds,
        [part(folds, name, (fold,), rng) for name in BACKBONES for fold in range(folds.n_folds)],
        BACKBONES,
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def folds() -> Folds:
    return shuffled_folds(0, 4)


def test_pairs_and_their_names() -> None:
    assert fold_pairs(3) == ((0, 1), (0, 2), (1, 2))
    assert len(fold_pairs(5)) == 10
    assert fold_words(held_out_folds(3, None)) == "fold 3"
    assert fold_words(held_out_folds(0, 12)) == "folds 0 and 12"
    with pytest.raises(AssertionError):
        held_out_folds(2, 2)


@pytest.mark.parametrize("n_folds", [3, 4, 5])
@pytest.mark.parametrize("seed", range(4))
def test_no_network_of_a_table_has_seen_its_fold(seed: int, n_folds: int) -> None:
    rng = np.random.default_rng(seed)
    folds = shuffled_folds(seed, n_folds)
    usual, parts = usual_of(folds, rng), parts_of(folds, rng)
    said = {(one.backbone, *one.held_out): one for one in parts}
    nested = pool_pairs(folds, usual, parts)
    assert nested.logits.shape == (len(folds.image_ids), n_folds, 2, 3)
    for left_out in range(n_folds):
        table = nested.without(left_out)
        for column in ("image_ids", "lesion_ids", "groups", "labels", "folds"):
            np.testing.assert_array_equal(getattr(table, column), getattr(folds, column))
        own = folds.folds == left_out
        np.testing.assert_array_equal(table.logits[own], usual.logits[own])
        for row in np.flatnonzero(~own):
            pair = sorted((left_out, int(folds.folds[row])))
            for column, backbone in enumerate(BACKBONES):
                one = said[backbone, *pair]
                where = np.flatnonzero(one.image_ids == folds.image_ids[row])[0]
                np.testing.assert_array_equal(table.logits[row, column], one.logits[where])
    assert not nested.logits.flags.writeable


def test_a_missing_job_is_named(folds: Folds, rng: np.random.Generator) -> None:
    usual, parts = usual_of(folds, rng), parts_of(folds, rng)
    gone = parts.pop(3)
    with pytest.raises(DataError, match=rf"run again to finish them:\n  {gone.name}$"):
        pool_pairs(folds, usual, parts)


def test_a_job_given_twice_is_refused(folds: Folds, rng: np.random.Generator) -> None:
    usual, parts = usual_of(folds, rng), parts_of(folds, rng)
    with pytest.raises(DataError, match=f"{parts[2].backbone}, folds . and .: predicted twice"):
        pool_pairs(folds, usual, [*parts, parts[2]])


@pytest.mark.parametrize("change", [{"backbone": "tall"}, {"second": 4}, {"second": None}])
def test_a_foreign_job_is_refused(folds: Folds, rng: np.random.Generator, change: dict[str, object]) -> None:
    usual, parts = usual_of(folds, rng), parts_of(folds, rng)
    foreign = replace(parts[0], **change)
    with pytest.raises(DataError, match=f"do not belong to this run:\n  {foreign.name}$"):
        pool_pairs(folds, usual, [*parts, foreign])


def test_a_job_of_a_pair_is_foreign_to_the_usual_table(folds: Folds, rng: np.random.Generator) -> None:
    usual = [part(folds, "deep", (fold,), rng) for fold in range(4)]
    with pytest.raises(DataError, match=r"do not belong to this run:\n  deep, folds 0 and 1$"):
        pool(folds, [*usual, part(folds, "deep", (0, 1), rng)], ["deep"])


def test_folds_mixed_up_are_refused(folds: Folds, rng: np.random.Generator) -> None:
    usual = usual_of(folds, rng)
    parts = sorted(parts_of(folds, rng), key=lambda one: (one.backbone, one.held_out))
    swapped = [replace(parts[0], second=parts[1].second), replace(parts[1], second=parts[0].second)]
    with pytest.raises(DataError, match="deep, folds 0 and 1: images never predicted"):
        pool_pairs(folds, usual, [*swapped, *parts[2:]])


def test_an_image_that_the_network_was_trained_on_is_named(folds: Folds, rng: np.random.Generator) -> None:
    usual, parts = usual_of(folds, rng), parts_of(folds, rng)
    one = parts[0]
    name = folds.image_ids[~np.isin(folds.folds, one.held_out)][0]
    parts[0] = replace(
        one, image_ids=np.append(one.image_ids, name), logits=np.concatenate([one.logits, [[0.0, 0.0, 0.0]]])
    )
    with pytest.raises(DataError, match=f"{one.name}: images of another fold.*\n  {name}"):
        pool_pairs(folds, usual, parts)


def test_another_class_order_is_refused(folds: Folds, rng: np.random.Generator) -> None:
    usual, parts = usual_of(folds, rng), parts_of(folds, rng)
    parts[1] = replace(parts[1], classes=folds.classes[::-1])
    with pytest.raises(DataError, match=f"{parts[1].name}: its classes"):
        pool_pairs(folds, usual, parts)


@pytest.mark.parametrize("held_out", [(1,), (1, 2)])
def test_a_file_keeps_which_folds_were_held_out(folds, rng, held_out, tmp_path) -> None:
    one = part(folds, "deep", held_out, rng)
    one.save(tmp_path / "oof.npz")
    back = FoldLogits.load(tmp_path / "oof.npz")
    assert (back.held_out, back.name) == (held_out, one.name)
    np.testing.assert_array_equal(back.logits, one.logits)
    with np.load(tmp_path / "oof.npz") as stored:
        # Files of usual jobs stay as they always were.
        assert ("second" in stored) is (len(held_out) == 2)
