from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
from ensemble_samples import synthetic_oof
from pydantic import ValidationError
from scipy.special import log_softmax
from scipy.stats import gmean
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from cv_folds.errors import DataError
from ensemble.combiners import COMBINERS
from ensemble.inner_folds import inner_folds
from ensemble.member_outputs import FLOOR
from ensemble.penalised import ABSENT
from ensemble.settings import CombinerName, EnsembleSettings
from ensemble.stacking import Stack
from ensemble.voting import LogVote, SoftVote

QUICK = EnsembleSettings(penalties=(1e-2, 1e-1, 1.0), tree_rounds=3, selection_rounds=5)


def assert_probabilities(rows: np.ndarray, shape: tuple[int, int]) -> None:
    assert rows.shape == shape
    assert rows.dtype == np.float64
    assert (rows > 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-12)


def numpy_soft_vote(logits: np.ndarray) -> np.ndarray:
    votes = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    return votes.sum(axis=1) / logits.shape[1]


def reference_stack(oof, penalty: float, rows: np.ndarray | slice = slice(None)):
    """Scikit-learn's own pipeline: fit on `rows`, predict everything."""
    features = np.maximum(log_softmax(oof.logits, axis=2), np.log(FLOOR)).reshape(len(oof.logits), -1)
    model = LogisticRegression(C=penalty, tol=1e-8, max_iter=10_000).fit(features[rows], oof.labels[rows])
    return model.predict_proba(features)


def test_registry_and_settings_name_the_same_combiners():
    assert tuple(COMBINERS) == get_args(CombinerName)


@pytest.mark.parametrize("name", COMBINERS)
@pytest.mark.parametrize("n_backbones", [1, 2, 3])
@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c", "d")])
def test_every_combiner_gives_probabilities(name, n_backbones, classes):
    oof = synthetic_oof(1, n_backbones=n_backbones, classes=classes)
    combiner = COMBINERS[name].fit(oof.logits, oof.labels, oof.groups, QUICK)
    assert (combiner.n_backbones, combiner.n_classes) == (n_backbones, len(classes))
    assert_probabilities(combiner.combine(oof.logits), (len(oof.labels), len(classes)))
    assert combiner.combine(oof.logits[:0]).shape == (0, len(classes))


@pytest.mark.parametrize("name", COMBINERS)
def test_extreme_logits_stay_probabilities(name):
    oof = synthetic_oof(2)
    combiner = COMBINERS[name].fit(oof.logits * 200, oof.labels, oof.groups, QUICK)
    rows = combiner.combine(oof.logits * 200)
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", COMBINERS)
def test_degenerate_rows_can_be_fitted(name):
    oof = synthetic_oof(4, n_backbones=3)
    one = np.flatnonzero(oof.labels == 2)[:5]
    logits = {
        "a constant member": np.where(np.arange(3)[None, :, None] == 1, 0.3, oof.logits),
        "all members constant": np.zeros_like(oof.logits),
        "identical members": np.repeat(oof.logits[:, :1], 3, axis=1),
    }
    for what, rows in logits.items():
        fitted = COMBINERS[name].fit(rows, oof.labels, oof.groups, QUICK)
        assert np.isfinite(fitted.combine(rows)).all(), what
        fitted = fitted.refit(rows[oof.labels != 0], oof.labels[oof.labels != 0], oof.groups[oof.labels != 0])
        np.testing.assert_allclose(fitted.combine(rows).sum(axis=1), 1, rtol=0, atol=1e-12, err_msg=what)
    for few in (one[:1], one, np.arange(2), np.flatnonzero(oof.groups == oof.groups[0])):
        fitted = COMBINERS[name].fit(oof.logits[few], oof.labels[few], oof.groups[few], QUICK)
        assert_probabilities(fitted.combine(oof.logits), (len(oof.labels), 3))
        again = COMBINERS[name].from_parameters(json.loads(json.dumps(fitted.parameters())))
        np.testing.assert_array_equal(again.combine(oof.logits), fitted.combine(oof.logits))


@pytest.mark.parametrize("name", COMBINERS)
def test_travelling_as_json_changes_no_bit(name):
    oof = synthetic_oof(3)
    combiner = COMBINERS[name].fit(oof.logits, oof.labels, oof.groups, QUICK)
    again = COMBINERS[name].from_parameters(json.loads(json.dumps(combiner.parameters())))
    np.testing.assert_array_equal(again.combine(oof.logits), combiner.combine(oof.logits))
    assert again.parameters() == combiner.parameters()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("soft_vote", {"n_classes": 0}),
        ("soft_vote", {"n_classes": True}),
        ("soft_vote", {"n_backbones": "2"}),
        ("soft_vote", {"weights": [1.0]}),
        ("log_vote", {"n_classes": 1.5}),
        ("log_vote", {"weights": [1.0]}),
        ("weighted_vote", {"weights": []}),
        ("weighted_vote", {"weights": [0.5, 0.4]}),
        ("weighted_vote", {"weights": [1.5, -0.5]}),
        ("weighted_vote", {"weights": [0.5, float("nan")]}),
        ("weighted_vote", {"n_classes": 0}),
        ("greedy", {"counts": []}),
        ("greedy", {"counts": [0, 0]}),
        ("greedy", {"counts": [2, -1]}),
        ("greedy", {"counts": [1.5, 1.0]}),
        ("stack", {"penalty": -1.0}),
        ("stack", {"intercepts": [0.0]}),
        ("stack", {"intercepts": [0.0, float("nan"), 0.0]}),
        ("stack", {"coefficients": [[0.0], [0.0], [0.0]]}),
        ("stack", {"coefficients": []}),
        ("stack", {"present": []}),
        ("stack", {"n_backbones": 3}),
        ("stack", {"surprise": 1}),
        ("stack_meta", {"age_deviation": 0.0}),
        ("stack_meta", {"age_mean": float("inf")}),
        ("stack_meta", {"sexes": ["one more"]}),
        ("stack_meta", {"sites": None}),
        ("stack_meta", {"rare": 0}),
        ("stack_meta", {"coefficients": [[0.0]]}),
        ("stack_trees", {"rounds": 0}),
        ("stack_trees", {"baseline": [0.0]}),
        ("stack_trees", {"present": [False, False, False]}),
        ("stack_trees", {"present": [True, True, False]}),
        ("stack_trees", {"trees": [[1.0]]}),
        ("stack_trees", {"trees": 3}),
    ],
)
def test_malformed_parameters_are_refused_by_name(name, changes):
    oof = synthetic_oof(3)
    parameters = COMBINERS[name].fit(oof.logits, oof.labels, oof.groups, QUICK).parameters()
    with pytest.raises(DataError, match=name):
        COMBINERS[name].from_parameters(parameters | changes)
    del parameters[min(parameters.keys() & changes, default="n_backbones")]
    with pytest.raises(DataError, match=name):
        COMBINERS[name].from_parameters(parameters)


@pytest.mark.parametrize("name", COMBINERS)
def test_a_refit_on_the_same_rows_is_the_fit(name):
    oof = synthetic_oof(9)
    combiner = COMBINERS[name].fit(oof.logits, oof.labels, oof.groups, QUICK)
    again = combiner.refit(oof.logits, oof.labels, oof.groups)
    np.testing.assert_array_equal(again.combine(oof.logits), combiner.combine(oof.logits))


@pytest.mark.parametrize("name", COMBINERS)
def test_a_refit_learns_from_its_own_rows_alone(name):
    oof = synthetic_oof(9, n_lesions=90)
    few = EnsembleSettings(penalties=(0.1,), tree_rounds=1, selection_rounds=1)
    first, others = oof.folds == 0, oof.folds != 0
    combiner = COMBINERS[name].fit(oof.logits[first], oof.labels[first], oof.groups[first], few)
    again = combiner.refit(oof.logits[others], oof.labels[others], oof.groups[others])
    alone = COMBINERS[name].fit(oof.logits[others], oof.labels[others], oof.groups[others], few)
    np.testing.assert_array_equal(again.combine(oof.logits), alone.combine(oof.logits))


@pytest.mark.parametrize("seed", range(5))
def test_soft_vote_is_the_mean_of_softmaxes(seed):
    oof = synthetic_oof(seed, n_backbones=3)
    votes = SoftVote.fit(oof.logits, oof.labels, oof.groups, QUICK).combine(oof.logits)
    np.testing.assert_allclose(votes, numpy_soft_vote(oof.logits), rtol=1e-12)


@pytest.mark.parametrize("scale", [1, 100])
def test_log_vote_is_the_geometric_mean(scale):
    oof = synthetic_oof(0, n_backbones=3)
    votes = np.exp(log_softmax(oof.logits * scale, axis=2))
    means = gmean(np.maximum(votes, FLOOR), axis=1)
    combined = LogVote.fit(oof.logits, oof.labels, oof.groups, QUICK).combine(oof.logits * scale)
    np.testing.assert_allclose(combined, means / means.sum(axis=1, keepdims=True), rtol=1e-10)


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c"), tuple("abcdefg")])
@pytest.mark.parametrize("penalty", [1e-3, 1.0, 100.0])
def test_stack_is_the_regression_of_scikit_learn(classes, penalty):
    oof = synthetic_oof(4, classes=classes, n_lesions=100)
    stack = Stack.fit(oof.logits, oof.labels, oof.groups, EnsembleSettings(penalties=(penalty,)))
    np.testing.assert_allclose(stack.combine(oof.logits), reference_stack(oof, penalty), rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_penalty_is_the_best_of_the_inner_cross_validation(seed):
    oof = synthetic_oof(seed, n_lesions=90)
    settings = EnsembleSettings(penalties=(100.0, 1e-4, 1e-2, 1.0))
    inner = inner_folds(oof.labels, oof.groups, most=settings.inner_folds)
    losses = {}
    for penalty in settings.penalties:
        rows = np.empty((len(oof.labels), len(oof.classes)))
        for fold in range(inner.max() + 1):
            rows[inner == fold] = reference_stack(oof, penalty, inner != fold)[inner == fold]
        losses[penalty] = log_loss(oof.labels, rows)
    chosen = Stack.fit(oof.logits, oof.labels, oof.groups, settings).regression.penalty
    assert losses[chosen] == pytest.approx(min(losses.values()), rel=1e-4)
    assert losses[chosen] < 0.99 * max(losses.values())


def test_a_class_with_one_lesion_can_be_fitted():
    oof = synthetic_oof(5)
    keep = (oof.labels != 0) | (oof.groups == oof.groups[oof.labels == 0][0])
    stack = Stack.fit(oof.logits[keep], oof.labels[keep], oof.groups[keep], QUICK)
    assert stack.regression.present.all()
    assert_probabilities(stack.combine(oof.logits), (len(oof.labels), 3))


@pytest.mark.parametrize("absent", [[0], [1], [2], [0, 2], [0, 1, 3], [1, 2, 3]])
def test_an_absent_class_keeps_its_column_near_zero(absent):
    oof = synthetic_oof(6, classes=("a", "b", "c", "d"))
    keep = ~np.isin(oof.labels, absent)
    stack = Stack.fit(oof.logits[keep], oof.labels[keep], oof.groups[keep], QUICK)
    rows = stack.combine(oof.logits)
    assert_probabilities(rows, (len(oof.labels), 4))
    assert (rows[:, absent] == ABSENT).all()
    again = Stack.from_parameters(stack.parameters())
    np.testing.assert_array_equal(again.combine(oof.logits), rows)


def test_a_constant_member_changes_nothing():
    oof = synthetic_oof(7)
    constant = np.broadcast_to([0.3, -1.0, 2.0], (len(oof.labels), 1, 3))
    wide = np.concatenate([oof.logits, constant], axis=1)
    settings = EnsembleSettings(penalties=(0.1,))
    alone = Stack.fit(oof.logits, oof.labels, oof.groups, settings).combine(oof.logits)
    beside = Stack.fit(wide, oof.labels, oof.groups, settings)
    np.testing.assert_allclose(beside.combine(wide), alone, rtol=0, atol=1e-6)
    np.testing.assert_allclose(beside.regression.coefficients[:, -3:], 0, atol=1e-7)


@pytest.mark.parametrize("shift", [1.0, 1000.0])
def test_a_member_that_failed_in_another_fold_does_not_explode(shift):
    oof = synthetic_oof(8)
    noise = np.random.default_rng(0).normal(scale=1e-4, size=(len(oof.labels), 1, 3))
    settings = EnsembleSettings(penalties=(100.0,))
    stack = Stack.fit(np.concatenate([oof.logits, noise], axis=1), oof.labels, oof.groups, settings)
    elsewhere = np.concatenate([oof.logits, noise + np.array([shift, 0.0, -shift])], axis=1)
    alone = Stack.fit(oof.logits, oof.labels, oof.groups, settings).combine(oof.logits)
    assert log_loss(oof.labels, stack.combine(elsewhere)) < log_loss(oof.labels, alone) + 0.5


def test_all_members_constant_gives_the_prevalence():
    oof = synthetic_oof(7)
    stack = Stack.fit(np.zeros_like(oof.logits), oof.labels, oof.groups, QUICK)
    prevalence = np.bincount(oof.labels) / len(oof.labels)
    np.testing.assert_allclose(stack.combine(np.zeros((1, 2, 3)))[0], prevalence, atol=1e-6)


def test_identical_members_share_the_weight():
    oof = synthetic_oof(8)
    twice = np.repeat(oof.logits[:, :1], 2, axis=1)
    stack = Stack.fit(twice, oof.labels, oof.groups, EnsembleSettings(penalties=(1.0,)))
    np.testing.assert_allclose(stack.regression.coefficients[:, :3], stack.regression.coefficients[:, 3:], atol=1e-5)
    vote = SoftVote.fit(twice, oof.labels, oof.groups, QUICK).combine(twice)
    np.testing.assert_allclose(vote, numpy_soft_vote(oof.logits[:, :1]), rtol=1e-12)


def test_a_single_group_leaves_the_strongest_penalty():
    logits = np.random.default_rng(0).normal(size=(4, 1, 2))
    groups = np.array(["g"] * 4)
    assert Stack.fit(logits, np.array([0, 1, 0, 1]), groups, QUICK).regression.penalty == 1e-2


@pytest.mark.parametrize(
    "wrong",
    [
        {"combiners": ()},
        {"combiners": ("stack", "stack")},
        {"combiners": ("boost",)},
        {"combiners": ("soft_vote",)},
        {"penalties": ()},
        {"penalties": (0.0,)},
        {"penalties": (float("inf"),)},
        {"inner_folds": 1},
        {"tree_rounds": 0},
        {"selection_rounds": 0},
        {"rare_level": 0},
        {"coverage": 1.0},
        {"unknown": 1},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        EnsembleSettings(**wrong)


def test_settings_allow_voting_alone():
    assert EnsembleSettings(combiners=("soft_vote",), deployed="soft_vote").deployed == "soft_vote"


def test_settings_without_clinical_values_keep_what_is_deployed():
    assert "stack_meta" in EnsembleSettings().combiners
    others = tuple(name for name in COMBINERS if name != "stack_meta")
    assert EnsembleSettings().without_clinical() == EnsembleSettings(combiners=others)
    needed = EnsembleSettings(deployed="stack_meta")
    assert needed.without_clinical() == needed
