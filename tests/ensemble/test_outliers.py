"""Limits for distance and spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ensemble_samples import distances_of, pooled, synthetic_oof
from scipy.stats import zscore

from cv_folds.arrays import frozen
from cv_folds.errors import DataError
from cv_folds.out_of_fold import OutOfFold
from cv_folds.training.fold_distances import FoldDistances
from ensemble.disagreement import spread_of
from ensemble.lesion_quantile import lesion_quantile
from ensemble.outliers import Limit, OutlierRule, fit_outliers, limit_of
from ensemble.pooled_distances import PooledDistances, pool_distances


@pytest.mark.parametrize("n", [3, 20, 99, 250])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_with_one_image_a_lesion_the_quantile_is_the_usual_order_statistic(n, level):
    values = np.random.default_rng(n).normal(size=n)
    rank = math.ceil(round((n + 1) * level, 9))
    expected = np.sort(values)[rank - 1] if rank <= n else None
    assert lesion_quantile(values, np.arange(n).astype(str), level) == expected


def test_of_new_lesions_the_stated_share_is_beyond_the_limit():
    rng = np.random.default_rng(1)

    def draw(n_groups: int) -> tuple[np.ndarray, np.ndarray]:
        # Unusual lesions are photographed more often: images are no substitute for lesions.
        level = rng.normal(size=n_groups)
        group = np.repeat(np.arange(n_groups), np.where(level > 1, 4, 1))
        return level[group] + 0.1 * rng.normal(size=len(group)), group.astype(str)

    beyond = []
    for _ in range(400):
        limit = limit_of(*draw(80), 0.1)
        assert limit.beyond == 0.1
        values, groups = draw(80)
        beyond.append(np.mean([(values[groups == group] > limit.value).mean() for group in np.unique(groups)]))
    error = np.std(beyond) / math.sqrt(len(beyond))
    assert 0.1 - 1 / 81 - 3 * error <= np.mean(beyond) <= 0.1 + 3 * error


def test_too_few_lesions_give_the_largest_value_and_say_how_rare_more_is():
    limit = limit_of(np.array([0.5, 2.0, 1.0, 1.5]), np.array(["a", "a", "b", "c"]), 0.01)
    assert limit == Limit(value=2.0, beyond=0.25)
    assert limit.words == "75 % of training lesions are below 2"


def test_distances_are_joined_by_id_whatever_their_order():
    oof = synthetic_oof(0)
    parts = distances_of(oof, 0)
    known = pool_distances(parts[::-1], oof.backbones).take(oof.image_ids)
    assert known.image_ids.tolist() == oof.image_ids.tolist()
    assert known.folds.tolist() == oof.folds.tolist()
    for part in parts:
        column = oof.backbones.index(part.backbone)
        pairs = zip(part.features.tolist(), part.appearance.tolist(), strict=True)
        stored = dict(zip(part.image_ids.tolist(), pairs, strict=True))
        rows = np.flatnonzero(oof.folds == part.fold)
        assert known.distances[rows, column].tolist() == [[*stored[name]] for name in oof.image_ids[rows].tolist()]


def test_distances_that_do_not_fit_are_refused():
    oof = synthetic_oof(0)
    parts = distances_of(oof, 0)
    with pytest.raises(DataError, match="backbone_0, fold 0: distances given twice"):
        pool_distances([*parts, parts[0]], oof.backbones)
    with pytest.raises(DataError, match="fold 0: distances of backbone_1, not of backbone_0, backbone_1"):
        pool_distances(parts[1:], oof.backbones)
    shorter = FoldDistances(
        backbone="backbone_1",
        fold=0,
        image_ids=parts[1].image_ids[1:],
        features=parts[1].features[1:],
        appearance=parts[1].appearance[1:],
    )
    with pytest.raises(DataError, match="distances of other images"):
        pool_distances([parts[0], shorter, *parts[2:]], oof.backbones)
    with pytest.raises(DataError, match="not stored:\n  unheard-of"):
        pooled(oof).take(np.array(["unheard-of"]))


def test_the_rule_standardises_every_member_averages_over_backbones_and_takes_the_larger_kind():
    oof = synthetic_oof(2, n_lesions=150)
    # One image a lesion, so that plain means are those over lesions.
    oof = OutOfFold(**{**vars(oof), "groups": oof.image_ids, "lesion_ids": oof.image_ids})
    known = pooled(oof).take(oof.image_ids)
    rule = fit_outliers(oof, known, share=0.05)
    logs = np.log(known.distances)
    distances = np.empty(len(oof.image_ids))
    for fold in range(3):
        rows = oof.folds == fold
        distances[rows] = zscore(logs[rows], axis=0).mean(axis=1).max(axis=1)
        for column, backbone in enumerate(oof.backbones):
            for kind, name in enumerate(("features", "appearance")):
                scale = getattr(rule.scales[backbone, fold], name)
                assert scale.mean == pytest.approx(logs[rows, column, kind].mean())
                assert scale.deviation == pytest.approx(logs[rows, column, kind].std())
        # The same when asked for as a new image, here one that has the members of one fold only.
        members = [(backbone, fold) for backbone in oof.backbones]
        np.testing.assert_allclose(rule.distance_of(known.distances[rows], members), distances[rows])
    n = len(distances)
    assert rule.distance is not None
    assert rule.distance.value == pytest.approx(np.sort(distances)[math.ceil(0.95 * (n + 1)) - 1])
    spread = spread_of(oof.logits[:, None, None])
    assert rule.spread is not None
    assert rule.spread.value == pytest.approx(np.sort(spread)[math.ceil(0.95 * (n + 1)) - 1])


def test_repeating_an_image_within_its_lesion_changes_nothing():
    oof = synthetic_oof(3)
    known = pooled(oof).take(oof.image_ids)
    twice = OutOfFold(
        **{
            name: frozen(np.concatenate([value, value])) if isinstance(value, np.ndarray) else value
            for name, value in vars(oof).items()
        }
        | {"image_ids": frozen([*oof.image_ids, *(f"again-{name}" for name in oof.image_ids)])}
    )
    repeated = PooledDistances(
        image_ids=twice.image_ids,
        folds=twice.folds,
        backbones=known.backbones,
        distances=np.concatenate([known.distances, known.distances]),
    )
    once, again = (fit_outliers(*pair, share=0.1) for pair in ((oof, known), (twice, repeated)))
    assert once.distance is not None
    assert again.distance is not None
    assert again.distance.value == pytest.approx(once.distance.value)
    assert again.spread == once.spread
    for key, scales in once.scales.items():
        assert again.scales[key].features.mean == pytest.approx(scales.features.mean)
        assert again.scales[key].appearance.deviation == pytest.approx(scales.appearance.deviation)


def test_without_stored_distances_only_the_spread_can_warn():
    rule = fit_outliers(synthetic_oof(4), None, share=0.1)
    assert (rule.scales, rule.distance) == ({}, None)
    assert rule.warning(None, 1.0) is not None
    assert rule.warning(None, 0.0) is None


def test_one_backbone_has_nobody_to_disagree_with():
    oof = synthetic_oof(5, n_backbones=1)
    rule = fit_outliers(oof, pooled(oof), share=0.1)
    assert rule.spread is None
    assert rule.distance is not None
    assert rule.warning(rule.distance.value, math.log(3)) is None


def test_members_for_which_all_images_lie_equally_far():
    oof = synthetic_oof(6)
    known = pooled(oof)
    same = PooledDistances(
        image_ids=known.image_ids,
        folds=known.folds,
        backbones=known.backbones,
        distances=np.zeros_like(known.distances),
    )
    rule = fit_outliers(oof, same, share=0.1)
    assert rule.distance == Limit(value=0.0, beyond=0.1)
    assert all(np.isfinite(scales.standardise(np.array([[0.0, 1.0]]))).all() for scales in rule.scales.values())


def test_a_warning_says_what_is_unusual():
    limits = {"distance": Limit(value=2.5, beyond=0.01), "spread": Limit(value=0.4, beyond=0.01)}
    rule = OutlierRule(scales={}, **limits)
    assert rule.warning(2.5, 0.4) is None
    far = "unlike the training images (distance 14.2, 99 % of training lesions are below 2.5)"
    split = "the members disagree (spread 0.8 nats, 99 % of training lesions are below 0.4)"
    assert rule.warning(14.23, 0.1) == far
    assert rule.warning(0.0, 0.8) == split
    assert rule.warning(14.23, 0.8) == f"{far}; {split}"
