"""How often held-out lesions are warned of, in numbers and in the report."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_set_coverage import simulated

from ensemble.held_out_warnings import HeldOutWarnings
from ensemble.predictions import Predictions
from reports.uncertainty import WarningShares
from reports.warning_shares import measure_warnings
from reports.warning_tables import warnings_table, warnings_text


def flagged(predictions: Predictions, seed: int = 0, share: float = 0.2) -> HeldOutWarnings:
    rng = np.random.default_rng(seed)
    n = len(predictions.image_ids)
    return HeldOutWarnings(
        image_ids=predictions.image_ids,
        distances=rng.normal(size=n),
        spreads=rng.random(n),
        far=rng.random(n) < share,
        divided=rng.random(n) < share,
    )


def measure(predictions: Predictions, warnings: HeldOutWarnings) -> WarningShares:
    return measure_warnings(
        predictions, warnings, "stack", aimed=0.05, resamples=100, generator=np.random.default_rng(0)
    )


def over_lesions(predictions: Predictions, values: np.ndarray, rows: np.ndarray) -> float:
    groups = predictions.groups[rows]
    return float(np.mean([values[rows][groups == group].mean() for group in np.unique(groups)]))


def test_values_are_means_over_lesions() -> None:
    predictions = simulated(np.random.default_rng(1))
    warnings = flagged(predictions)
    found = measure(predictions, warnings)
    everywhere = np.ones(len(predictions.labels), dtype=bool)
    warned = warnings.far | warnings.divided
    right = predictions.probabilities["stack"].argmax(axis=1) == predictions.labels
    for estimate, values, rows in (
        (found.far, warnings.far, everywhere),
        (found.divided, warnings.divided, everywhere),
        (found.accuracy_warned, right, warned),
        (found.accuracy_others, right, ~warned),
        (found.per_class["a"], warned, predictions.labels == 0),
    ):
        assert estimate.value == pytest.approx(over_lesions(predictions, values, rows), abs=1e-12)
        assert estimate.low < estimate.value < estimate.high
    assert found.per_class["c"].reason == "no image of this class"


def test_rows_are_joined_by_id() -> None:
    predictions = simulated(np.random.default_rng(2))
    warnings = flagged(predictions)
    order = np.random.default_rng(3).permutation(len(predictions.image_ids))
    assert measure(predictions, warnings.take(predictions.image_ids[order])) == measure(predictions, warnings)


def test_what_was_not_measured_has_a_reason_and_no_value() -> None:
    predictions = simulated(np.random.default_rng(4))
    n = len(predictions.image_ids)
    nothing = np.zeros(n, dtype=bool)
    none = HeldOutWarnings(
        image_ids=predictions.image_ids,
        distances=np.full(n, np.nan),
        spreads=np.zeros(n),
        far=nothing,
        divided=nothing,
    )
    found = measure(predictions, none)
    assert (found.far.value, found.far.reason) == (None, "no distances were stored by this run")
    assert (found.divided.value, found.divided.reason) == (None, "one backbone has nobody to disagree with")
    assert (found.accuracy_warned.value, found.accuracy_warned.reason) == (None, "no image was warned of")
    assert found.accuracy_others.value is not None


def test_the_json_and_the_table_say_the_same() -> None:
    predictions = simulated(np.random.default_rng(5))
    found = measure(predictions, flagged(predictions))
    form = json.loads(json.dumps(found.to_json()))
    (row,) = warnings_table(found).rows
    keys = ("distance", "spread", "accuracy_warned", "accuracy_others")
    assert [cell.value for cell in row[1:5]] == [form[key]["value"] for key in keys]
    assert "5 %" in warnings_text(found).text.replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\xa0", " ")
