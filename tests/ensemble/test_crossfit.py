from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ensemble_samples import synthetic_oof
from scipy.special import softmax

from ensemble.combiners import COMBINERS
from ensemble.conformal import calibrate_sets
from ensemble.crossfit import cross_fit, ensemble_predictions, fit_deployed
from ensemble.settings import EnsembleSettings
from ensemble.stacking import Stack

QUICK = EnsembleSettings(combiners=("soft_vote", "stack"), penalties=(1e-2, 1.0), tree_rounds=3, selection_rounds=5)


@pytest.mark.parametrize("name", COMBINERS)
@pytest.mark.parametrize("seed", range(6))
def test_the_held_out_fold_is_never_seen(name, seed):
    oof = synthetic_oof(seed)
    rng = np.random.default_rng(seed)
    before = cross_fit(COMBINERS[name], oof, QUICK)
    for fold in range(3):
        inside = oof.folds == fold
        labels = oof.labels.copy()
        labels[inside] = rng.permutation((labels[inside] + 1) % 3)
        np.testing.assert_array_equal(
            cross_fit(COMBINERS[name], replace(oof, labels=labels), QUICK)[inside], before[inside]
        )


def test_labels_of_the_other_folds_matter_to_the_stack():
    oof = synthetic_oof(0)
    labels = np.where(oof.folds == 1, (oof.labels + 1) % 3, oof.labels)
    changed = cross_fit(Stack, replace(oof, labels=labels), QUICK) != cross_fit(Stack, oof, QUICK)
    assert changed[oof.folds != 1].any()
    assert not changed[oof.folds == 1].any()


def test_each_fold_is_combined_by_a_fit_on_the_others():
    oof = synthetic_oof(1)
    together = cross_fit(Stack, oof, QUICK)
    for fold in range(3):
        rest = oof.folds != fold
        fitted = Stack.fit(oof.logits[rest], oof.labels[rest], oof.groups[rest], QUICK)
        np.testing.assert_array_equal(together[~rest], fitted.combine(oof.logits[~rest]))


def test_a_group_in_two_folds_is_caught():
    oof = synthetic_oof(2)
    several = np.flatnonzero(oof.groups[1:] == oof.groups[:-1])[0]
    folds = oof.folds.copy()
    folds[several] = (folds[several] + 1) % 3
    with pytest.raises(AssertionError):
        cross_fit(Stack, replace(oof, folds=folds), QUICK)


def test_a_class_that_only_the_held_out_fold_has():
    oof = synthetic_oof(3)
    keep = (oof.labels != 0) | (oof.folds == 0)
    columns = {name: getattr(oof, name)[keep] for name in ("image_ids", "lesion_ids", "groups", "labels", "folds")}
    oof = replace(oof, logits=oof.logits[keep], **columns)
    rows = cross_fit(Stack, oof, QUICK)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)
    assert (rows[oof.folds == 0, 0] < 1e-6).all()
    assert (rows[oof.folds != 0, 0] > 1e-6).all()


def test_predictions_hold_every_backbone_then_every_combiner():
    oof = synthetic_oof(4)
    table = ensemble_predictions(oof, QUICK)
    assert list(table.probabilities) == ["backbone_0", "backbone_1", "soft_vote", "stack"]
    assert list(table.kinds.values()) == ["backbone", "backbone", "ensemble", "ensemble"]
    np.testing.assert_allclose(table.probabilities["backbone_1"], softmax(oof.logits[:, 1], axis=1))
    np.testing.assert_array_equal(table.probabilities["stack"], cross_fit(Stack, oof, QUICK))
    assert table.image_ids.tolist() == oof.image_ids.tolist()
    alone = ensemble_predictions(oof, EnsembleSettings(combiners=("soft_vote",), deployed="soft_vote"))
    assert list(alone.probabilities) == ["backbone_0", "backbone_1", "soft_vote"]


def test_the_deployed_combiner_is_fitted_on_every_row():
    oof = synthetic_oof(5)
    table = ensemble_predictions(oof, QUICK)
    deployed = fit_deployed(oof, table, QUICK)
    everything = Stack.fit(oof.logits, oof.labels, oof.groups, QUICK)
    np.testing.assert_array_equal(deployed.combiner.combine(oof.logits), everything.combine(oof.logits))
    assert (deployed.name, deployed.backbones, deployed.classes) == ("stack", oof.backbones, oof.classes)
    assert deployed.prediction_sets == calibrate_sets(
        table.probabilities["stack"], oof.labels, oof.groups, coverage=0.9
    )


def test_the_stack_learns_the_prevalence_that_balanced_members_do_not_know():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, size=3000, p=[0.05, 0.15, 0.8])
    logits = rng.normal(size=(3000, 1, 3))
    logits[np.arange(3000), 0, labels] += 1.0
    names = np.arange(3000).astype(str)
    oof = replace(
        synthetic_oof(0, n_backbones=1), image_ids=names, lesion_ids=names, groups=names, labels=labels,
        folds=np.arange(3000) % 3, logits=logits,
    )  # fmt: skip
    table = ensemble_predictions(oof, QUICK)
    prevalence = np.bincount(labels) / len(labels)
    stack, vote = (table.probabilities[name].mean(axis=0) for name in ("stack", "soft_vote"))
    np.testing.assert_allclose(stack, prevalence, atol=0.005)
    assert abs(vote - prevalence).max() > 0.1
