from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ensemble_samples import synthetic_oof
from sklearn.linear_model import LogisticRegression

from cv_folds.arrays import frozen
from cv_folds.clinical import ClinicalTable
from cv_folds.out_of_fold import OutOfFold
from ensemble.clinical_features import ClinicalCoding
from ensemble.crossfit import cross_fit
from ensemble.member_outputs import member_features
from ensemble.settings import EnsembleSettings
from ensemble.stack_meta import StackMeta
from ensemble.stacking import Stack

SETTINGS = EnsembleSettings(penalties=(0.1,), rare_level=5)


def clinical_of(oof: OutOfFold, seed: int = 0) -> ClinicalTable:
    """Values that are the same for all images of a lesion, ages that say something about the class."""
    rng = np.random.default_rng(seed)
    lesions, first, of_row = np.unique(oof.groups, return_index=True, return_inverse=True)
    ages = rng.normal(40 + 12 * oof.labels[first], 8).round()
    ages[rng.random(len(ages)) < 0.15] = np.nan
    sites = rng.choice(["back", "face", "ear", ""], size=len(lesions), p=[0.5, 0.35, 0.03, 0.12])
    return ClinicalTable(
        image_ids=oof.image_ids,
        ages=frozen(ages[of_row]),
        sexes=frozen(rng.choice(["male", "female", ""], size=len(lesions), p=[0.5, 0.4, 0.1])[of_row], np.str_),
        localizations=frozen(sites[of_row], np.str_),
        dx_types=frozen(["histo"] * len(of_row)),
    )


def combined(oof: OutOfFold, clinical: ClinicalTable) -> dict[str, np.ndarray]:
    """The cross-fitted probabilities of both stacks, not calibrated."""
    settings = SETTINGS.model_copy(update={"combiners": ("stack", "stack_meta")})
    answers = cross_fit(oof, settings, power=0, clinical=clinical, workers=1).combined
    return {name: answers[name] for name in settings.combiners}


def own_features(clinical: ClinicalTable, groups: np.ndarray, fewest: int) -> np.ndarray:
    """The coding again, row by row."""
    known = clinical.ages[~np.isnan(clinical.ages)]
    columns = [
        [0.0 if np.isnan(age) else (age - known.mean()) / known.std() for age in clinical.ages],
        [float(np.isnan(age)) for age in clinical.ages],
    ]
    for values in (clinical.sexes.tolist(), clinical.localizations.tolist()):
        lesions: dict[str, set[str]] = {}
        for value, group in zip(values, groups, strict=True):
            lesions.setdefault(value, set()).add(group)
        frequent = sorted(value for value in lesions if value and len(lesions[value]) >= fewest)
        columns += [[float(value == level) for value in values] for level in frequent]
        columns.append([float(bool(value) and value not in frequent) for value in values])
        columns.append([float(not value) for value in values])
    return np.array(columns).T


@pytest.mark.parametrize("seed", range(5))
def test_the_coding_is_the_one_described(seed):
    oof = synthetic_oof(seed, n_lesions=100)
    clinical = clinical_of(oof, seed)
    coding = ClinicalCoding.learn(clinical, oof.groups, fewest=5)
    features = coding.features(clinical)
    np.testing.assert_allclose(features, own_features(clinical, oof.groups, 5), atol=1e-12)
    assert features.shape[1] == coding.n_features
    assert np.isfinite(features).all()
    assert coding.sexes == ("female", "male")


def test_values_that_were_never_seen_are_the_others():
    oof = synthetic_oof(0, n_lesions=100)
    clinical = clinical_of(oof)
    coding = ClinicalCoding.learn(clinical, oof.groups, fewest=5)
    strange = replace(
        clinical,
        sexes=frozen(["other"] * len(oof.groups)),
        localizations=frozen(["moon"] * len(oof.groups)),
        ages=frozen(np.full(len(oof.groups), np.nan)),
    )
    row = coding.features(strange)[0]
    assert row.tolist() == [0, 1, 0, 0, 1, 0, *[0] * len(coding.sites), 1, 0]


@pytest.mark.parametrize("ages", [[np.nan, np.nan], [50.0, 50.0]])
def test_ages_without_spread_stay_finite(ages):
    clinical = replace(ClinicalTable.blank(frozen(["a", "b"])), ages=frozen(ages))
    coding = ClinicalCoding.learn(clinical, np.array(["x", "y"]), fewest=1)
    np.testing.assert_array_equal(coding.features(clinical)[:, 0], [0, 0])
    assert coding.sexes == coding.sites == ()


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c"), tuple("abcdefg")])
def test_it_is_the_regression_of_scikit_learn(classes):
    oof = synthetic_oof(4, classes=classes, n_lesions=120)
    clinical = clinical_of(oof)
    features = np.hstack([member_features(oof.logits), own_features(clinical, oof.groups, 5)])
    reference = LogisticRegression(C=0.1, solver="newton-cholesky", tol=1e-8).fit(features, oof.labels)
    fitted = StackMeta.fit(oof.logits, oof.labels, oof.groups, SETTINGS, clinical)
    expected = reference.predict_proba(features)
    np.testing.assert_allclose(fitted.combine(oof.logits, clinical), expected, rtol=0, atol=1e-5)


def test_without_clinical_values_it_is_the_stack():
    oof = synthetic_oof(5)
    alone = Stack.fit(oof.logits, oof.labels, oof.groups, SETTINGS).combine(oof.logits)
    blank = ClinicalTable.blank(oof.image_ids)
    for clinical in (None, blank):
        fitted = StackMeta.fit(oof.logits, oof.labels, oof.groups, SETTINGS, clinical)
        np.testing.assert_allclose(fitted.combine(oof.logits), alone, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(fitted.combine(oof.logits, blank), fitted.combine(oof.logits))


def test_ages_that_tell_the_classes_apart_lower_the_cross_fitted_loss():
    oof = synthetic_oof(6, n_lesions=200)
    rows = np.arange(len(oof.labels))
    stack, meta = combined(oof, clinical_of(oof)).values()
    assert -np.log(meta[rows, oof.labels]).mean() < -np.log(stack[rows, oof.labels]).mean() - 0.05


def test_clinical_values_of_the_held_out_fold_stay_out_of_the_fit():
    oof = synthetic_oof(7)
    clinical = clinical_of(oof)
    inside = oof.folds == 1
    changed = replace(
        clinical,
        ages=frozen(np.where(inside, 99.0, clinical.ages)),
        sexes=frozen(np.where(inside, "none", clinical.sexes)),
    )
    rest = ~inside
    before, after = (
        StackMeta.fit(oof.logits[rest], oof.labels[rest], oof.groups[rest], SETTINGS, table.rows(rest))
        for table in (clinical, changed)
    )
    assert before.parameters() == after.parameters()


def test_the_rows_of_cross_fitting_are_found_by_id():
    oof = synthetic_oof(8)
    clinical = clinical_of(oof)
    order = np.random.default_rng(0).permutation(len(clinical))
    shuffled = combined(oof, clinical.rows(order))["stack_meta"]
    np.testing.assert_array_equal(shuffled, combined(oof, clinical)["stack_meta"])


def test_a_refit_learns_its_own_coding():
    oof = synthetic_oof(9, n_lesions=100)
    clinical = clinical_of(oof)
    half = oof.folds == 0
    rows = (oof.logits[half], oof.labels[half], oof.groups[half])
    again = StackMeta.fit(oof.logits, oof.labels, oof.groups, SETTINGS, clinical).refit(*rows, clinical.rows(half))
    assert again.parameters() == StackMeta.fit(*rows, SETTINGS, clinical.rows(half)).parameters()


def test_rows_that_do_not_match_are_caught():
    oof = synthetic_oof(0)
    with pytest.raises(AssertionError):
        StackMeta.fit(oof.logits, oof.labels, oof.groups, SETTINGS, clinical_of(oof).rows(np.arange(3)))
