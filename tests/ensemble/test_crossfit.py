from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ensemble_samples import synthetic_oof
from scipy.special import softmax

from cv_folds.out_of_fold import OutOfFold
from ensemble import workers
from ensemble.calibration.registry import CALIBRATORS
from ensemble.combiners import COMBINERS
from ensemble.conformal import calibrate_sets
from ensemble.crossfit import CrossFitted, cross_fit
from ensemble.deployed import fit_deployed
from ensemble.inner_folds import inner_folds
from ensemble.priors import prior_shift
from ensemble.settings import EnsembleSettings
from ensemble.stacking import Stack
from ensemble.voting import SoftVote

QUICK = EnsembleSettings(combiners=("soft_vote", "stack"), penalties=(1e-2, 1.0), tree_rounds=3, selection_rounds=5)
ALL = QUICK.model_copy(update={"combiners": tuple(COMBINERS)})


def select(oof: OutOfFold, keep: np.ndarray) -> OutOfFold:
    columns = {name: getattr(oof, name)[keep] for name in ("image_ids", "lesion_ids", "groups", "labels", "folds")}
    return replace(oof, logits=oof.logits[keep], **columns)


def tables(fitted: CrossFitted) -> dict[str, np.ndarray]:
    kinds = {
        "calibrated": fitted.predictions.probabilities,
        "combined": fitted.combined,
        "uncalibrated": fitted.uncalibrated.probabilities,
    }
    return {f"{kind}/{model}": rows for kind, table in kinds.items() for model, rows in table.items()}


@pytest.mark.parametrize("calibration", CALIBRATORS)
@pytest.mark.parametrize(("seed", "n_folds"), [(0, 3), (1, 2)])
def test_nothing_about_a_fold_enters_its_own_probabilities_but_its_logits(calibration, seed, n_folds):
    settings = ALL.model_copy(update={"calibration": calibration})
    oof = synthetic_oof(seed, n_folds=n_folds)
    rng = np.random.default_rng(seed)
    before = cross_fit(oof, settings, power=0.5)
    fold = int(rng.integers(n_folds))
    inside = oof.folds == fold
    labels = oof.labels.copy()
    labels[inside] = rng.permutation((labels[inside] + 1) % 3)
    after = cross_fit(replace(oof, labels=labels), settings, power=0.5)
    for name, rows in tables(after).items():
        np.testing.assert_array_equal(rows[inside], tables(before)[name][inside], err_msg=name)
    np.testing.assert_array_equal(after.priors[fold].natural, before.priors[fold].natural)
    # One changed row of logits changes that row alone.
    first = np.flatnonzero(inside)[0]
    logits = oof.logits.copy()
    logits[first] *= -1
    moved = cross_fit(replace(oof, logits=logits), settings, power=0.5)
    others = inside & (np.arange(len(inside)) != first)
    for name, rows in tables(moved).items():
        np.testing.assert_array_equal(rows[others], tables(before)[name][others], err_msg=name)


def test_labels_of_the_other_folds_matter_to_prior_combiner_and_calibrator():
    oof = synthetic_oof(0)
    labels = np.where(oof.folds == 1, (oof.labels + 1) % 3, oof.labels)
    before, after = (tables(cross_fit(one, QUICK, power=0.5)) for one in (oof, replace(oof, labels=labels)))
    rest = oof.folds != 1
    for name in ("calibrated/backbone_0", "combined/soft_vote", "calibrated/stack", "uncalibrated/stack"):
        assert (after[name] != before[name])[rest].any()
        assert not (after[name] != before[name])[~rest].any()
    assert not (after["uncalibrated/backbone_0"] != before["uncalibrated/backbone_0"]).any()


@pytest.mark.parametrize("calibration", ["temperature", "vector", "isotonic"])
def test_each_fold_is_what_the_pipeline_done_by_hand_gives(calibration):
    settings = QUICK.model_copy(update={"calibration": calibration})
    oof = synthetic_oof(1)
    found = cross_fit(oof, settings, power=1.0)
    for fold in range(3):
        rest = oof.folds != fold
        labels, groups, folds = oof.labels[rest], oof.groups[rest], oof.folds[rest]
        counts = np.bincount(labels, minlength=3)
        adjusted = oof.logits + np.log(counts / counts.sum()) - np.log(1 / 3)
        combiner = Stack.fit(adjusted[rest], labels, groups, settings)
        np.testing.assert_allclose(found.combined["stack"][~rest], combiner.combine(adjusted[~rest]), atol=1e-9)
        unseen = np.empty((len(labels), 3))
        for inner in np.unique(folds):
            apart = folds == inner
            again = combiner.refit(adjusted[rest][~apart], labels[~apart], groups[~apart])
            unseen[apart] = again.combine(adjusted[rest][apart])
        calibrator = CALIBRATORS[calibration].fit(unseen, labels, groups, settings, prior_shift(labels, 3, power=1.0))
        expected = calibrator.calibrate(combiner.combine(adjusted[~rest]))
        np.testing.assert_allclose(found.predictions.probabilities["stack"][~rest], expected, atol=1e-6)
        raw = combiner.refit(oof.logits[rest], labels, groups).combine(oof.logits[~rest])
        np.testing.assert_array_equal(found.uncalibrated.probabilities["stack"][~rest], raw)


def test_two_folds_calibrate_on_a_division_of_the_other_one():
    oof = synthetic_oof(2, n_folds=2)
    found = cross_fit(oof, QUICK, power=0.0)
    rest = oof.folds != 0
    labels, groups = oof.labels[rest], oof.groups[rest]
    inner = inner_folds(labels, groups, most=QUICK.inner_folds)
    assert len(np.unique(inner)) > 1
    combiner = Stack.fit(oof.logits[rest], labels, groups, QUICK)
    unseen = np.empty((len(labels), 3))
    for part in np.unique(inner):
        apart = inner == part
        again = combiner.refit(oof.logits[rest][~apart], labels[~apart], groups[~apart])
        unseen[apart] = again.combine(oof.logits[rest][apart])
    calibrator = CALIBRATORS["temperature"].fit(unseen, labels, groups, QUICK)
    expected = calibrator.calibrate(combiner.combine(oof.logits[~rest]))
    np.testing.assert_allclose(found.predictions.probabilities["stack"][~rest], expected, atol=1e-6)


def test_without_resampling_and_calibration_nothing_changes_but_the_combination():
    oof = synthetic_oof(3)
    plain = cross_fit(oof, QUICK.model_copy(update={"calibration": "none"}), power=0.0)
    for name in ("backbone_0", "backbone_1", "soft_vote", "stack"):
        np.testing.assert_array_equal(plain.predictions.probabilities[name], plain.uncalibrated.probabilities[name])
    np.testing.assert_allclose(plain.predictions.probabilities["backbone_1"], softmax(oof.logits[:, 1], axis=1))
    vote = SoftVote.fit(oof.logits, oof.labels, oof.groups, QUICK).combine(oof.logits)
    np.testing.assert_array_equal(plain.predictions.probabilities["soft_vote"], vote)


def test_results_do_not_depend_on_the_number_of_workers(monkeypatch):
    oof = synthetic_oof(4)
    monkeypatch.setattr(workers, "WORTH_A_PROCESS", 1)
    one, two = (tables(cross_fit(oof, ALL, power=0.5, workers=count)) for count in (1, 2))
    assert one.keys() == two.keys()
    for name, rows in one.items():
        np.testing.assert_array_equal(two[name], rows, err_msg=name)


def test_a_group_in_two_folds_is_caught_unless_the_folds_are_meant_to_leak():
    oof = synthetic_oof(2)
    several = np.flatnonzero(oof.groups[1:] == oof.groups[:-1])[0]
    folds = oof.folds.copy()
    folds[several] = (folds[several] + 1) % 3
    with pytest.raises(AssertionError):
        cross_fit(replace(oof, folds=folds), QUICK, power=0.0)
    leaking = cross_fit(replace(oof, folds=folds, leaks=True), QUICK, power=0.0)
    assert np.isfinite(leaking.predictions.probabilities["stack"]).all()


@pytest.mark.parametrize("calibration", CALIBRATORS)
@pytest.mark.parametrize("case", ["class in one fold", "constant member", "identical members", "one backbone"])
def test_degenerate_members_and_folds_leave_probabilities(calibration, case):
    oof = synthetic_oof(3)
    if case == "class in one fold":
        oof = select(oof, (oof.labels != 0) | (oof.folds == 0))
    elif case == "constant member":
        oof = replace(oof, logits=np.concatenate([oof.logits[:, :1], np.ones_like(oof.logits[:, :1])], axis=1))
    elif case == "identical members":
        oof = replace(oof, logits=oof.logits[:, [0, 0]])
    else:
        oof = replace(oof, logits=oof.logits[:, :1], backbones=oof.backbones[:1])
    found = cross_fit(oof, ALL.model_copy(update={"calibration": calibration}), power=0.5)
    for name, rows in tables(found).items():
        assert np.isfinite(rows).all(), name
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-9, err_msg=name)
    if case == "class in one fold":
        assert (found.predictions.probabilities["stack"][oof.folds == 0, 0] < 0.1).all()


def test_the_table_holds_every_backbone_then_every_combiner():
    oof = synthetic_oof(4)
    found = cross_fit(oof, QUICK, power=0.5)
    names = ["backbone_0", "backbone_1", "soft_vote", "stack"]
    for table in (found.predictions, found.uncalibrated):
        assert list(table.probabilities) == names
        assert list(table.kinds.values()) == ["backbone", "backbone", "ensemble", "ensemble"]
        assert table.image_ids.tolist() == oof.image_ids.tolist()
    assert list(found.seconds) == names
    alone = cross_fit(oof, EnsembleSettings(combiners=("soft_vote",), deployed="soft_vote"), power=0.5)
    assert list(alone.predictions.probabilities) == names[:3]


def test_the_deployed_model_is_fitted_on_every_row():
    oof = synthetic_oof(5)
    found = cross_fit(oof, QUICK, power=0.5)
    costs = 1 - np.eye(3)
    deployed = fit_deployed(oof, found, QUICK, power=0.5, costs=costs)
    prior = prior_shift(oof.labels, 3, power=0.5)
    everything = Stack.fit(prior.adjust(oof.logits), oof.labels, oof.groups, QUICK)
    calibrator = CALIBRATORS["temperature"].fit(found.combined["stack"], oof.labels, oof.groups, QUICK, prior)
    expected = calibrator.calibrate(everything.combine(prior.adjust(oof.logits)))
    np.testing.assert_array_equal(deployed.model.probabilities(oof.logits), expected)
    assert (deployed.name, deployed.backbones, deployed.classes) == ("stack", oof.backbones, oof.classes)
    np.testing.assert_array_equal(deployed.rules.natural, prior.natural)
    np.testing.assert_array_equal(deployed.rules.costs, costs)
    assert deployed.prediction_sets == calibrate_sets(
        found.predictions.probabilities["stack"], oof.labels, oof.groups, coverage=0.9
    )


def one_member(seed: int, *, power: float, sharpness: float = 1.0) -> OutOfFold:
    """Rows whose classes are normally distributed, and a network that learned them at the shares of a resampling."""
    rng = np.random.default_rng(seed)
    shares = np.array([0.05, 0.15, 0.8])
    labels = rng.choice(3, size=1500, p=shares)
    logits = 1.5 * (rng.normal(size=(1500, 1, 3)) + 1.5 * np.eye(3)[labels][:, None]) + (1 - power) * np.log(shares)
    names = np.arange(1500).astype(str)
    return replace(
        synthetic_oof(0, n_backbones=1), image_ids=names, lesion_ids=names, groups=names, labels=labels,
        folds=np.arange(1500) % 3, logits=sharpness * logits,
    )  # fmt: skip


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_natural_prevalence_is_restored_and_a_member_that_is_too_sure_is_calibrated(power):
    oof = one_member(0, power=power, sharpness=3.0)
    found = cross_fit(oof, QUICK, power=power)
    prevalence = np.bincount(oof.labels) / len(oof.labels)
    for model in ("backbone_0", "soft_vote", "stack"):
        np.testing.assert_allclose(found.predictions.probabilities[model].mean(axis=0), prevalence, atol=0.02)

    def log_loss(rows: np.ndarray) -> float:
        return -float(np.log(rows[np.arange(len(rows)), oof.labels]).mean())

    # The posterior at the natural shares, which nothing can beat but by chance.
    exact = log_loss(softmax(oof.logits[:, 0] / 3 + power * np.log([0.05, 0.15, 0.8]), axis=1))
    assert exact - 0.005 < log_loss(found.predictions.probabilities["backbone_0"]) < exact + 0.01
    assert log_loss(found.uncalibrated.probabilities["backbone_0"]) > exact + 0.1
