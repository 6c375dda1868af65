"""Warnings of held-out images by limits that had not seen them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ensemble_samples import pooled, synthetic_oof

from cv_folds.arrays import frozen
from cv_folds.errors import DataError
from ensemble.disagreement import spread_of
from ensemble.held_out_warnings import HeldOutWarnings, warn_held_out, warn_test_part
from ensemble.outliers import fit_outliers, limit_of, standardise


def test_every_fold_is_held_against_limits_of_the_others():
    oof = synthetic_oof(0, n_lesions=150)
    known = pooled(oof).take(oof.image_ids)
    found = warn_held_out(oof, known, share=0.1)
    spreads = spread_of(oof.logits[:, None, None])
    np.testing.assert_allclose(found.spreads, spreads)
    np.testing.assert_allclose(found.distances, standardise(known, oof.groups).distances)
    for fold in range(3):
        out = oof.folds == fold
        for flags, values in ((found.far, found.distances), (found.divided, found.spreads)):
            limit = limit_of(values[~out], oof.groups[~out], 0.1).value
            np.testing.assert_array_equal(flags[out], values[out] > limit)
    assert 0 < found.far.mean() < 0.3
    assert 0 < found.divided.mean() < 0.3


def test_about_the_stated_share_is_warned_of():
    far, divided = [], []
    for seed in range(40):
        oof = synthetic_oof(seed, n_lesions=150)
        found = warn_held_out(oof, pooled(oof, seed), share=0.1)
        _, lesion, sizes = np.unique(oof.groups, return_inverse=True, return_counts=True)
        for flags, shares in ((found.far, far), (found.divided, divided)):
            shares.append((np.bincount(lesion, weights=flags) / sizes).mean())
    for shares in (far, divided):
        # Two standard errors of the mean are far below 0.02.
        assert 0.08 < np.mean(shares) < 0.12


def test_an_image_of_a_fold_does_not_move_the_limits_of_its_own_fold():
    oof = synthetic_oof(1)
    known = pooled(oof).take(oof.image_ids)
    before = warn_held_out(oof, known, share=0.1)
    changed = oof.logits.copy()
    changed[np.flatnonzero(oof.folds == 0)[0]] *= -50
    after = warn_held_out(replace(oof, logits=frozen(changed)), known, share=0.1)
    same = (oof.folds == 0) & (after.spreads == before.spreads)
    assert same.sum() == (oof.folds == 0).sum() - 1
    np.testing.assert_array_equal(after.divided[same], before.divided[same])


def test_a_test_part_is_held_against_the_limits_of_its_predictor():
    both = synthetic_oof(2, n_lesions=150)
    # One training for a fixed division: all images have the members of fold 0.
    known = replace(pooled(both).take(both.image_ids), folds=both.folds * 0)
    parts = [
        replace(
            both,
            **{
                name: getattr(both, name)[both.folds == fold]
                for name in ("image_ids", "lesion_ids", "groups", "labels", "folds", "logits")
            },
        )
        for fold in (1, 0)
    ]
    found = warn_test_part(*parts, known, share=0.1)
    validation, test = parts
    rule = fit_outliers(validation, known, share=0.1)
    assert found.image_ids.tolist() == test.image_ids.tolist()
    members = [(name, 0) for name in both.backbones]
    np.testing.assert_allclose(found.distances, rule.distance_of(known.take(test.image_ids).distances, members))
    assert rule.distance is not None
    np.testing.assert_array_equal(found.far, found.distances > rule.distance.value)
    assert rule.spread is not None
    np.testing.assert_array_equal(found.divided, found.spreads > rule.spread.value)


def test_what_is_not_known_is_no_warning():
    oof = synthetic_oof(3, n_backbones=1)
    found = warn_held_out(oof, None, share=0.1)
    assert np.isnan(found.distances).all()
    assert not found.far.any()
    assert not found.spreads.any()
    assert not found.divided.any()
    alone = warn_test_part(oof, oof, None, share=0.1)
    assert not alone.far.any()
    assert not alone.divided.any()


@pytest.mark.parametrize("with_distances", [True, False])
def test_the_table_comes_back_to_the_bit_and_is_joined_by_id(tmp_path: Path, with_distances):
    oof = synthetic_oof(4)
    found = warn_held_out(oof, pooled(oof) if with_distances else None, share=0.2)
    found.write_csv(tmp_path / "warnings.csv")
    back = HeldOutWarnings.read_csv(tmp_path / "warnings.csv")
    order = np.random.default_rng(0).permutation(len(oof.image_ids))
    taken = back.take(oof.image_ids[order])
    for name, values in vars(found).items():
        np.testing.assert_array_equal(getattr(back, name), values)
        np.testing.assert_array_equal(getattr(taken, name), values[order])
    with pytest.raises(DataError, match="does not hold image 'nobody'"):
        back.take(np.array(["nobody"]))


@pytest.mark.parametrize(
    ("old", "new"), [("far", "near"), (",0,", ",2,"), ("image_0001", "image_0001,x"), ("0.", "zero")]
)
def test_a_damaged_table_is_named(tmp_path: Path, old, new):
    file = tmp_path / "warnings.csv"
    oof = synthetic_oof(4)
    warn_held_out(oof, pooled(oof), share=0.2).write_csv(file)
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=r"warnings\.csv cannot be read"):
        HeldOutWarnings.read_csv(file)
    file.unlink()
    with pytest.raises(DataError, match=r"warnings\.csv cannot be read"):
        HeldOutWarnings.read_csv(file)
