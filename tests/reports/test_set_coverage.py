"""Coverage and size of prediction sets on lesions that did not calibrate them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ensemble.conformal import calibrate_sets
from ensemble.predictions import Predictions
from reports.set_coverage import SET_METHODS, measure_sets
from reports.set_tables import sets_table, sets_text


def simulated(rng: np.random.Generator, n_groups: int = 200, n_folds: int = 4, n_classes: int = 3) -> Predictions:
    group = np.repeat(np.arange(n_groups), rng.integers(1, 4, n_groups))
    labels = rng.integers(2, size=n_groups)[group]
    logits = rng.normal(size=(len(group), n_classes))
    logits[np.arange(len(group)), labels] += 1.5
    odds = np.exp(logits)
    return Predictions(
        image_ids=np.array([f"i{index}" for index in range(len(group))]),
        lesion_ids=group.astype(str),
        groups=group.astype(str),
        folds=(group % n_folds).astype(np.int64),
        labels=labels.astype(np.int64),
        classes=("a", "b", "c")[:n_classes],
        probabilities={"stack": odds / odds.sum(axis=1, keepdims=True)},
        kinds={"stack": "ensemble"},
    )


def measure(predictions: Predictions, resamples: int = 100):
    return measure_sets(
        predictions,
        "stack",
        aimed=0.8,
        deployed="lac",
        resamples=resamples,
        generator=np.random.default_rng(0),
    )


def test_the_coverage_is_near_what_was_aimed_at() -> None:
    rng = np.random.default_rng(1)
    found = [measure(simulated(rng), resamples=2).methods["lac"].coverage.value for _ in range(60)]
    assert abs(np.mean(found) - 0.8) < 4 * np.std(found) / math.sqrt(60) + 0.01


def test_values_are_means_over_lesions_of_sets_that_other_folds_calibrated() -> None:
    predictions = simulated(np.random.default_rng(2))
    scores = measure(predictions)
    for method in SET_METHODS:
        hits, sizes = {}, {}
        for fold in range(4):
            out = predictions.folds == fold
            rows = predictions.probabilities["stack"]
            sets = calibrate_sets(
                rows[~out], predictions.labels[~out], predictions.groups[~out], coverage=0.8, method=method
            )
            for row, label, group in zip(rows[out], predictions.labels[out], predictions.groups[out], strict=True):
                inside = sets.members(row[None])[0]
                hits.setdefault(group, []).append(inside[label])
                sizes.setdefault(group, []).append(inside.sum())
        found = scores.methods[method]
        assert found.coverage.value == pytest.approx(np.mean([np.mean(hit) for hit in hits.values()]), abs=1e-12)
        assert found.size.value == pytest.approx(np.mean([np.mean(size) for size in sizes.values()]), abs=1e-12)
        assert found.coverage.low < found.coverage.value < found.coverage.high
        assert found.per_class["c"].value is None
        assert found.per_class["c"].reason == "no image of this class"
        assert found.never_excluded == (("c",) if method == "class_conditional" else ())


def test_one_fold_cannot_calibrate_itself() -> None:
    assert measure(simulated(np.random.default_rng(3), n_folds=1)) is None


def test_one_lesion_a_fold_has_no_interval_that_means_anything() -> None:
    scores = measure(simulated(np.random.default_rng(4), n_groups=2, n_folds=2)).methods["lac"]
    # Nothing can be excluded: every set holds every class in every resample.
    assert scores.coverage.value == 1.0
    assert scores.size.value == 3.0
    assert scores.coverage.reason == "every resample gives the same value"


def test_the_json_and_the_table_say_the_same() -> None:
    sets = measure(simulated(np.random.default_rng(5)))
    form = json.loads(json.dumps(sets.to_json()))
    table = sets_table(sets)
    assert [row[1].value for row in table.rows] == [form["methods"][name]["coverage"]["value"] for name in SET_METHODS]
    assert form["methods"]["class_conditional"]["never_excluded"] == ["c"]
    assert [row[0].note for row in table.rows] == [
        None,
        "too few lesions for a threshold, so that no set is without it: c",
    ]
    assert "80 %" in sets_text(sets).text
