"""Score parts of the images on the same resamples of lesions as the whole."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from ensemble.predictions import Predictions
from reports.attributes import Attribute
from reports.confusion_metrics import confusion_metrics, ratio
from reports.group_means import GroupMeans
from reports.intervals import percentile_interval
from reports.malignant import MalignantClasses
from reports.ranking import Ranking, descend, rank, ranking_metrics
from reports.results import Estimate
from reports.subgroups import CLASS_MEANS, SUBGROUP_METRICS, AttributeScores, GroupScores, Subgroups

RESAMPLES_AT_A_TIME = 250


def measure_subgroups(
    predictions: Predictions,
    attributes: Sequence[Attribute],
    models: Sequence[str],
    classes: MalignantClasses,
    *,
    resamples: int,
    generator: np.random.Generator,
) -> Subgroups:
    """Score models on every group of every attribute.

    Parameters
    ----------
    predictions : Predictions
        Probabilities of images that the models had not seen.
    attributes : sequence of Attribute
        How these images are divided.
    models : sequence of str
        Which models to score.
    classes : MalignantClasses
        Which classes are malignant.
    resamples : int
        Lesion resamples behind every interval.
    generator : numpy.random.Generator
        Source of the resamples; in the state in which `reports.evaluation.evaluate` had it, they are the same.

    Returns
    -------
    Subgroups
        The resamples draw from all lesions, so that the size of a group varies as it would in another sample. A score
        is undefined in a resample where it would be on the images of the group themselves: a mean over the classes
        when one has no image, what concerns malignant images when there is none.
    """
    drawn = GroupMeans.of(predictions, resamples=resamples, generator=generator)
    return Subgroups(
        models=tuple(models),
        attributes={
            attribute.name: _attribute_scores(predictions, attribute, models, classes, drawn)
            for attribute in attributes
        },
    )


def _attribute_scores(
    predictions: Predictions,
    attribute: Attribute,
    models: Sequence[str],
    classes: MalignantClasses,
    drawn: GroupMeans,
) -> AttributeScores:
    if attribute.reason is not None:
        return AttributeScores(title=attribute.title, groups={}, reason=attribute.reason)
    by_model = {
        model: _model_scores(predictions, predictions.probabilities[model], attribute, classes, drawn)
        for model in models
    }
    groups: dict[str, GroupScores] = {}
    for code, level in enumerate(attribute.levels):
        inside = attribute.codes == code
        counts = np.bincount(predictions.labels[inside], minlength=len(predictions.classes))
        groups[level] = GroupScores(
            n_images=int(inside.sum()),
            n_lesions=len(np.unique(predictions.lesion_ids[inside])),
            absent=tuple(itertools.compress(predictions.classes, counts == 0)),
            models={model: scores[code] for model, scores in by_model.items()},
        )
    return AttributeScores(title=attribute.title, groups=groups, reason=None)


def _model_scores(
    predictions: Predictions,
    probabilities: FloatArray,
    attribute: Attribute,
    classes: MalignantClasses,
    drawn: GroupMeans,
) -> list[dict[str, Estimate]]:
    """Return the estimates of one model in every group."""
    n_groups = int(drawn.group.max()) + 1
    table = _Table.of(predictions.labels, probabilities, attribute, classes, drawn.group, n_groups)
    point = table.score(np.ones((n_groups, 1), dtype=np.int32))
    parts = [
        table.score(np.ascontiguousarray(drawn.counts[start : start + RESAMPLES_AT_A_TIME].T))
        for start in range(0, len(drawn.counts), RESAMPLES_AT_A_TIME)
    ]
    return [
        {
            metric: _estimate(
                float(point[metric][code, 0]),
                np.concatenate([np.empty(0), *(part[metric][code] for part in parts)]),
                _why_undefined(metric, predictions.labels[attribute.codes == code], predictions.classes, classes),
            )
            for metric in SUBGROUP_METRICS
        }
        for code in range(len(attribute.levels))
    ]


@dataclass(frozen=True, kw_only=True)
class _Table:
    """What has to be known of one model's predictions to score the groups of one attribute on any resample."""

    confusion: Any
    """(l * c * c, n_groups) sparse: images by level, label and prediction."""
    rankings: tuple[Ranking, ...]
    """Of the summed probability of the malignant classes, one a level."""
    malignant: BoolArray
    """(c,) which classes are malignant."""

    @classmethod
    def of(
        cls,
        labels: IntArray,
        probabilities: FloatArray,
        attribute: Attribute,
        classes: MalignantClasses,
        groups: IntArray,
        n_groups: int,
    ) -> _Table:
        c, levels = probabilities.shape[1], range(len(attribute.levels))
        rows = (attribute.codes * c + labels) * c + probabilities.argmax(axis=1)
        score, is_malignant = probabilities[:, classes.malignant].sum(axis=1), classes.malignant[labels]
        inside = [attribute.codes == code for code in levels]
        return cls(
            confusion=csr_array(
                (np.ones(len(labels), dtype=np.int32), (rows, groups)), shape=(len(levels) * c * c, n_groups)
            ),
            rankings=tuple(rank(score[rows], is_malignant[rows], groups[rows], n_groups) for rows in inside),
            malignant=classes.malignant,
        )

    def score(self, counts: NDArray[np.int32]) -> dict[str, FloatArray]:
        """Return each of `SUBGROUP_METRICS` as (l, r) values, NaN where undefined, for (n_groups, r) counts."""
        c, r = len(self.malignant), counts.shape[1]
        confusion = (self.confusion @ counts).astype(np.float64).reshape(-1, c, c, r).transpose(0, 3, 1, 2)
        flat = confusion.reshape(-1, c, c)
        matrix = confusion_metrics(flat)
        complete = (flat.sum(axis=2) > 0).all(axis=1)
        labelled, called = flat.sum(axis=2), flat[:, :, self.malignant].sum(axis=2)
        malignant, benign = labelled[:, self.malignant].sum(axis=1), labelled[:, ~self.malignant].sum(axis=1)
        found, alarms = called[:, self.malignant].sum(axis=1), called[:, ~self.malignant].sum(axis=1)
        values = {
            "accuracy": matrix.accuracy,
            "macro_f1": np.where(complete, matrix.macro_f1, np.nan),
            "balanced_accuracy": np.where(complete, matrix.balanced_accuracy, np.nan),
            "malignant_auc": np.concatenate(
                [ranking_metrics(ranking, descend(ranking, counts)).auc for ranking in self.rankings]
            ),
            "malignant_sensitivity": ratio(found, malignant),
            "malignant_specificity": ratio(benign - alarms, benign),
        }
        return {metric: values[metric].reshape(-1, r) for metric in SUBGROUP_METRICS}


def _estimate(value: float, resampled: FloatArray, reason: str | None) -> Estimate:
    if reason is not None:
        return Estimate(value=None, reason=reason)
    assert not np.isnan(value)
    interval = percentile_interval(resampled)
    return Estimate(value=value, low=interval.low, high=interval.high, reason=interval.reason)


def _why_undefined(metric: str, labels: IntArray, classes: Sequence[str], malignant: MalignantClasses) -> str | None:
    counts = np.bincount(labels, minlength=len(classes))
    if metric in CLASS_MEANS:
        absent = list(itertools.compress(classes, counts == 0))
        return f"no image of {', '.join(absent)}" if absent else None
    if not metric.startswith("malignant_"):
        return None
    if malignant.undefined is not None:
        return malignant.undefined
    if metric != "malignant_specificity" and not counts[malignant.malignant].any():
        return "no image of a malignant class"
    if metric != "malignant_sensitivity" and not counts[~malignant.malignant].any():
        return "every image is of a malignant class"
    return None
