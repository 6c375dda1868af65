"""Runs on different images, or folds that cannot be paired: every run has resamples of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from ensemble.predictions import Predictions
from reports.compared_run import ComparedRun
from reports.comparisons import compare
from reports.delong import Areas, correlated_areas
from reports.evaluation import Measured, measure
from reports.families import Family, Pair, family_of
from reports.levels import Unit
from reports.metrics import Scores
from reports.paired_tests import PairedOutcome, normal_test, not_tested
from reports.results import Comparison
from reports.settings import ReportSettings


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What two runs that are compared without pairs have in common."""

    first: str
    """Label of a run."""
    other: str
    """Label of the other."""
    images: int
    """Image ids in both."""
    lesions: int
    """Lesion ids in both."""

    def to_json(self) -> dict[str, str | int]:
        """Return the form used in ``compare.json``."""
        return {"first": self.first, "other": self.other, "images": self.images, "lesions": self.lesions}


def shared(first: ComparedRun, other: ComparedRun) -> Shared:
    """Count the ids that two runs have in common."""
    ours, theirs = first.predictions, other.predictions
    return Shared(
        first=first.label,
        other=other.label,
        images=len(np.intersect1d(ours.image_ids, theirs.image_ids)),
        lesions=len(np.intersect1d(ours.lesion_ids, theirs.lesion_ids)),
    )


def measure_apart(
    runs: Sequence[ComparedRun], *, settings: ReportSettings, generator: np.random.Generator
) -> dict[str, Measured]:
    """Score every run on its own images, with resamples that are independent of those of the others.

    Parameters
    ----------
    runs : sequence of ComparedRun
        The runs.
    settings : ReportSettings
        How many resamples the intervals take.
    generator : numpy.random.Generator
        Parent of one source of resamples a run.

    Returns
    -------
    dict
        Label to all scores.
    """
    return {
        run.label: measure(run.predictions, settings=settings, generator=own)
        for run, own in zip(runs, generator.spawn(len(runs)), strict=True)
    }


def compare_apart(pairs: Sequence[Pair], measured: Mapping[str, Measured]) -> tuple[Comparison, ...]:
    """Compare runs by the differences of resamples that have nothing to do with each other.

    Parameters
    ----------
    pairs : sequence of (str, str)
        Labels: the run whose value counts positive, and the one that is subtracted.
    measured : mapping
        From `measure_apart`.
    """
    resampled: dict[str, Scores] = {label: found.overall_resampled[label] for label, found in measured.items()}
    if any(not len(scores.overall["accuracy"]) for scores in resampled.values()):
        # A run with a single lesion has no resamples, and no difference from it has.
        resampled = {label: _without_resamples(scores) for label, scores in resampled.items()}
    return compare(pairs, {label: found.overall[label] for label, found in measured.items()}, resampled)


def _without_resamples(scores: Scores) -> Scores:
    return Scores(
        overall={metric: values[:0] for metric, values in scores.overall.items()},
        per_class={metric: values[:0] for metric, values in scores.per_class.items()},
    )


def tests_apart(pairs: Sequence[Pair], measured: Mapping[str, Measured]) -> tuple[Family, ...]:
    """Test the differences between runs on samples that are taken for independent.

    Parameters
    ----------
    pairs, measured
        As for `compare_apart`.

    Returns
    -------
    tuple of Family
        DeLong's test of malignant against benign, per image with groups of lesions as clusters, and per lesion.
        McNemar's test and the test over folds need pairs, and are not made.
    """
    return (
        family_of("delong_independent", "malignant_auc", "image", pairs, lambda pair: _delong(pair, "image", measured)),
        family_of(
            "delong_independent", "malignant_auc", "lesion", pairs, lambda pair: _delong(pair, "lesion", measured)
        ),
    )


def _delong(pair: Pair, unit: Unit, measured: Mapping[str, Measured]) -> PairedOutcome:
    found: list[Areas] = []
    for label in pair:
        one = measured[label]
        if one.classes.undefined is not None:
            return not_tested(one.classes.undefined)
        if unit not in one.tables:
            return not_tested(f"{label}: {one.no_lesions or 'there are no lesions'}")
        table = one.tables[unit]
        positive = one.classes.malignant[table.labels]
        if not positive.any() or positive.all():
            return not_tested(f"{label}: no image of a {'benign' if positive.any() else 'malignant'} class")
        found.append(_area(table, label, one.classes.malignant, positive))
    return independent_delong_test(*found)


def _area(table: Predictions, label: str, malignant: BoolArray, positive: BoolArray) -> Areas:
    scores: FloatArray = table.probabilities[label][:, malignant].sum(axis=1)
    clusters: IntArray = np.unique(table.groups, return_inverse=True)[1]
    return correlated_areas(scores[np.newaxis], positive, clusters)


def independent_delong_test(first: Areas, second: Areas) -> PairedOutcome:
    """Compare two areas under the ROC curve that come from different samples.

    Parameters
    ----------
    first, second : Areas
        One area each, from `reports.delong.correlated_areas`.

    Returns
    -------
    PairedOutcome
        With the standard normal statistic z and the normal interval of the difference. The variances add up. Where
        both samples share lesions, on which good models are right and wrong together, that is more than the variance
        of the difference: the test then finds too little.
    """
    difference = float(first.auc[0] - second.auc[0])
    variance = float(first.covariance[0, 0] + second.covariance[0, 0])
    if np.isnan(variance):
        return not_tested("the test needs at least two malignant and two benign lesions in both", difference)
    return normal_test(difference, variance, without="the areas have no variance")
