"""Repetitions and the comparison with folds of images: their numbers and their pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cv_folds.arrays import frozen
from cv_folds.errors import DataError
from ensemble.predictions import Predictions
from reports.inflation import measure_inflation, shared_with_training
from reports.metrics import OVERALL_METRICS, score_images
from reports.protocol_tables import inflation_tables
from reports.repeats import spread_over_repeats
from reports.results import Estimate
from reports.settings import ReportSettings
from reports.wording import METRICS
from reports.write import write_report

FEW = ReportSettings(resamples=200)


def worse(predictions: Predictions, share: float, seed: int = 0) -> Predictions:
    """Mix the probabilities of every model with noise, and shuffle the rows."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(predictions.image_ids))

    def mixed(rows: Any) -> Any:
        noise = rng.dirichlet(np.ones(rows.shape[1]), len(rows))
        return frozen(((1 - share) * rows + share * noise)[order])

    columns = ("image_ids", "lesion_ids", "groups", "folds", "labels")
    return replace(
        predictions,
        **{name: frozen(getattr(predictions, name)[order]) for name in columns},
        probabilities={model: mixed(rows) for model, rows in predictions.probabilities.items()},
    )


def test_repetitions_are_scored_each_on_its_own(run: Any) -> None:
    others = [worse(run.predictions, 0.2, seed) for seed in (1, 2)]
    repeats = spread_over_repeats([run.predictions, *others])
    assert repeats.n == 3
    for model, scores in repeats.models.items():
        assert set(scores) == set(OVERALL_METRICS)
        expected = [
            score_images(one.labels, one.probabilities[model]).overall["macro_f1"][0]
            for one in (run.predictions, *others)
        ]
        assert scores["macro_f1"].values == pytest.approx(expected, abs=1e-12)
        assert scores["macro_f1"].mean == pytest.approx(np.mean(expected))
        assert scores["macro_f1"].deviation == pytest.approx(np.std(expected, ddof=1))


def test_repetitions_of_other_images_are_refused(run: Any) -> None:
    other = replace(run.predictions, image_ids=frozen([f"{name}x" for name in run.predictions.image_ids]))
    with pytest.raises(DataError, match="same images"):
        spread_over_repeats([run.predictions, other])
    with pytest.raises(DataError, match="same images"):
        measure_inflation(run.predictions, other, settings=FEW, generator=np.random.default_rng(0))


def test_no_inflation_between_equal_predictions(run: Any) -> None:
    shuffled = worse(run.predictions, 0.0)
    inflation = measure_inflation(run.predictions, shuffled, settings=FEW, generator=np.random.default_rng(0))
    for scores in inflation.models.values():
        for score in scores.values():
            assert score.difference.value == pytest.approx(0, abs=1e-9)
            assert score.difference.low is None
            assert score.difference.reason == "every resample gives the same value"


def test_inflation_is_the_difference_of_the_scores_and_its_interval_pairs_the_lesions(run: Any) -> None:
    poor = worse(run.predictions, 0.4)
    inflation = measure_inflation(poor, run.predictions, settings=FEW, generator=np.random.default_rng(0))
    for model, scores in inflation.models.items():
        for metric, score in scores.items():
            side = score_images(poor.labels, poor.probabilities[model]).overall[metric][0]
            other = score_images(run.predictions.labels, run.predictions.probabilities[model]).overall[metric][0]
            assert score.grouped == pytest.approx(side)
            assert score.image_level == pytest.approx(other)
            assert score.difference.value == pytest.approx(other - side)
        loss = scores["log_loss"].difference
        assert loss.low is not None
        assert loss.high is not None
        assert loss.low < loss.value < loss.high < 0
    backwards = measure_inflation(run.predictions, poor, settings=FEW, generator=np.random.default_rng(0))
    there, back = inflation.models["stack"]["macro_auc"], backwards.models["stack"]["macro_auc"]
    assert there.difference.value == pytest.approx(-back.difference.value)
    assert there.difference.low == pytest.approx(-back.difference.high)


@pytest.mark.parametrize("seed", range(10))
def test_images_that_share_a_lesion_with_training(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, folds = rng.integers(0, 12, 30).astype(str), rng.integers(0, 3, 30)
    expected = sum(((groups == group) & (folds != fold)).any() for group, fold in zip(groups, folds, strict=True))
    assert shared_with_training(groups, folds) == expected


def test_the_tables_keep_their_width_however_many_models_there_are(run: Any) -> None:
    poor = worse(run.predictions, 0.3)
    few = measure_inflation(poor, run.predictions, settings=FEW, generator=np.random.default_rng(0))
    many = {f"{model}_{number}": scores for model, scores in few.models.items() for number in range(5)}
    tables = inflation_tables(replace(few, models=many))
    assert [column.label for table in tables for column in table.columns[1:]] == [
        METRICS[metric].label for metric in OVERALL_METRICS
    ]
    for table in tables:
        assert len(table.columns) == 6
        assert [row[0].text for row in table.rows] == list(many)
    score = few.models["stack"]["macro_f1"]
    place = OVERALL_METRICS.index("macro_f1") + 1
    cell = next(row[place] for row in tables[0].rows if row[0].text == "stack_0")
    low, high = score.difference.low, score.difference.high
    assert cell.text == f"{score.grouped:.3f} → {score.image_level:.3f}"
    assert cell.detail == f"{score.difference.value:+.3f} [{low:.3f}, {high:.3f}]".replace("-", "−")
    assert cell.value == score.difference.value
    assert cell.best == (low > 0 or high < 0)
    unknown = replace(score, difference=Estimate(value=None, reason="undefined on one kind of folds"), grouped=None)
    tables = inflation_tables(replace(few, models={"one": few.models["stack"] | {"mcc": unknown}}))
    assert tables[1].notes[0] == "undefined on one kind of folds"


def test_the_pages_of_both(make_run: Callable[..., Any]) -> None:
    run = make_run()
    poor = worse(run.predictions, 0.3)
    repeats = spread_over_repeats([run.predictions, poor])
    inflation = measure_inflation(poor, run.predictions, settings=FEW, generator=np.random.default_rng(0))
    evaluation = replace(run.evaluation, repeats=repeats, inflation=replace(inflation, n_shared=37))
    html, pdf = write_report(run.path, evaluation=evaluation, predictions=run.predictions)
    text = html.read_text()
    assert 'id="section-leakage"' in text
    assert 'id="section-repetitions"' in text
    assert f"{100 * 37 / inflation.n_images:.1f} %" in text
    assert "The cross-validation was carried out 2 times" in text
    stack = inflation.models["stack"]["macro_f1"]
    assert f"{stack.grouped:.3f} → {stack.image_level:.3f}" in text
    assert pdf.read_bytes().startswith(b"%PDF")
    content = evaluation.to_json()
    assert content["leakage"]["models"]["stack"]["macro_f1"]["difference"]["value"] == stack.difference.value
    assert content["repeats"]["models"]["stack"]["ece"]["values"] == list(repeats.models["stack"]["ece"].values)
