"""The nested estimate beside the usual one: its numbers and its page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cv_folds.arrays import frozen
from cv_folds.errors import DataError
from ensemble.predictions import Predictions
from reports.evaluation import evaluate
from reports.metrics import OVERALL_METRICS
from reports.nested import measure_nested
from reports.nested_tables import NESTED_METRICS, nested_table, nested_text
from reports.settings import ReportSettings

FEW = ReportSettings(resamples=200)


def measured(usual: Predictions, nested: Predictions) -> Any:
    return measure_nested(usual, nested, settings=FEW, generator=np.random.default_rng(0))


def ensembles(predictions: Predictions, noise: float, seed: int = 0) -> Predictions:
    """Return the ensembles alone, their probabilities mixed with noise, in another order of rows."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(predictions.image_ids))
    names = [name for name, kind in predictions.kinds.items() if kind == "ensemble"]

    def mixed(rows: Any) -> Any:
        return frozen(((1 - noise) * rows + noise * rng.dirichlet(np.ones(rows.shape[1]), len(rows)))[order])

    columns = ("image_ids", "lesion_ids", "groups", "folds", "labels")
    return replace(
        predictions,
        **{name: frozen(getattr(predictions, name)[order]) for name in columns},
        probabilities={name: mixed(predictions.probabilities[name]) for name in names},
        kinds=dict.fromkeys(names, "ensemble"),
    )


def test_equal_predictions_do_not_differ(run: Any) -> None:
    nested = measured(run.predictions, ensembles(run.predictions, 0.0))
    assert list(nested.models) == ["soft_vote", "stack"]
    for scores in nested.models.values():
        for score in scores.values():
            assert score.difference.value == pytest.approx(0, abs=1e-9)
            assert score.difference.reason == "every resample gives the same value"


def test_both_estimates_are_those_of_an_evaluation_and_the_difference_pairs_the_lesions(run: Any) -> None:
    poor = ensembles(run.predictions, 0.4)
    nested = measured(run.predictions, poor)
    usual = evaluate(run.predictions, demo=False, settings=FEW, generator=np.random.default_rng(0)).models
    alone = evaluate(poor, demo=False, settings=FEW, generator=np.random.default_rng(0)).models
    for model, scores in nested.models.items():
        assert set(scores) == set(OVERALL_METRICS)
        for metric, score in scores.items():
            assert score.usual == usual[model].overall[metric]
            assert score.nested.value == pytest.approx(alone[model].overall[metric].value, abs=1e-12)
            assert score.nested.low == pytest.approx(alone[model].overall[metric].low, abs=1e-12)
            assert score.difference.value == pytest.approx(score.usual.value - score.nested.value)
        loss = scores["log_loss"]
        assert loss.difference.low < loss.difference.value < loss.difference.high < 0
        # Paired: far narrower than if the lesions of both were drawn apart.
        assert loss.difference.high - loss.difference.low < loss.usual.high - loss.usual.low


def test_another_set_of_images_is_refused(run: Any) -> None:
    other = ensembles(run.predictions, 0.0)
    other = replace(other, image_ids=frozen([f"{name}x" for name in other.image_ids]))
    with pytest.raises(DataError, match=r"same images and models; run `hamcv ensemble` again"):
        measured(run.predictions, other)
    unknown = ensembles(run.predictions, 0.0)
    unknown = replace(unknown, probabilities={"other": unknown.probabilities["stack"]}, kinds={"other": "ensemble"})
    with pytest.raises(DataError, match="same images and models"):
        measured(run.predictions, unknown)


@pytest.mark.parametrize(
    ("noise", "words"),
    [(0.0, "no interval: every resample gives the same value"), (0.4, "so that the usual one is too good")],
)
def test_the_sentences_say_which_way_the_usual_estimate_errs(run: Any, noise: float, words: str) -> None:
    nested = measured(run.predictions, ensembles(run.predictions, noise))
    text = " ".join(paragraph.text for paragraph in nested_text(nested, "soft_vote"))
    assert text.count(words) == 2
    assert "The log-loss of stack is" in text
    assert "6 more trainings a backbone" in text
    backwards = measured(ensembles(run.predictions, 0.4), ensembles(run.predictions, 0.0))
    assert "so that the usual one is too poor" in nested_text(backwards, "stack")[0].text


def test_an_undefined_score_is_no_difference(run: Any) -> None:
    nested = measured(run.predictions, ensembles(run.predictions, 0.1))
    stack = dict(nested.models["stack"])
    stack["macro_f1"] = replace(
        stack["macro_f1"],
        nested=replace(stack["macro_f1"].nested, value=None, reason="only one class is ever predicted"),
        difference=replace(stack["macro_f1"].difference, value=None, reason="only one class is ever predicted"),
    )
    nested = replace(nested, models={"stack": stack})
    assert "cannot be compared: only one class is ever predicted." in nested_text(nested, "stack")[0].text
    assert nested_table(nested).rows[0][1].note == "only one class is ever predicted"


def test_the_table_has_both_values_and_metrics_json_every_score(run: Any) -> None:
    nested = measured(run.predictions, ensembles(run.predictions, 0.3))
    table = nested_table(nested)
    assert [column.label for column in table.columns[1:3]] == ["Macro F1", "Balanced accuracy"]
    assert [row[0].text for row in table.rows] == ["soft_vote", "stack"]
    score, cell = nested.models["stack"]["log_loss"], table.rows[1][1 + NESTED_METRICS.index("log_loss")]
    assert cell.detail.endswith(f"{score.nested.value:.3f} → {score.usual.value:.3f}")
    assert cell.best
    content = replace(run.evaluation, nested=nested).to_json()["nested"]
    assert set(content["soft_vote"]) == set(OVERALL_METRICS)
    assert content["stack"]["ece"]["difference"] == nested.models["stack"]["ece"].difference.to_json()
    assert set(content["soft_vote"]["ece"]) == {"usual", "nested", "difference"}
    assert "nested" not in run.evaluation.to_json()
