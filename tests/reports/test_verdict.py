"""Three sentences, and what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cv_folds.leakage import Leakage
from ensemble.predictions import ModelKind
from reports.effects import BestCombiner, Effects
from reports.elsewhere import evaluate as evaluate_given
from reports.results import Estimate, Evaluation
from reports.run_folder import RunFolder, read_run_folder
from reports.verdict import Verdict, origin_verdict, run_verdict

SENTENCE = re.compile(r"[.!?](?=\s|$)")


def folder_of(run: Any) -> RunFolder:
    return read_run_folder(run.path, run.evaluation.classes)


def judged(run: Any, evaluation: Evaluation | None = None, folder: RunFolder | None = None, **parts: Any) -> Verdict:
    verdict = run_verdict(
        folder or folder_of(run), evaluation or run.evaluation, parts.get("predictions", run.predictions)
    )
    assert len(SENTENCE.findall(verdict.text)) == 3, verdict.text
    for sentence in (verdict.measured, verdict.combining, verdict.caveat):
        assert sentence.endswith(".")
        assert len(SENTENCE.findall(sentence)) == 1
    return verdict


def with_best(evaluation: Evaluation, **fields: Any) -> Evaluation:
    best = {
        "model": "stack",
        "against": "soft_vote",
        "difference": Estimate(value=-0.01, low=-0.02, high=0.003),
        "comparisons": 1,
        "evidence": "no evidence of a difference",
        "sentence": "",
        "by": "cross-fitted log_loss",
    }
    return replace(evaluation, effects=Effects(calibration={}, decisions={}, best=BestCombiner(**best | fields)))


def scores(evaluation: Evaluation, model: str, **overall: Estimate) -> Evaluation:
    found = evaluation.models[model]
    return replace(
        evaluation, models={**evaluation.models, model: replace(found, overall={**found.overall, **overall})}
    )


def recalls(evaluation: Evaluation, model: str, values: Mapping[str, float]) -> Evaluation:
    found = evaluation.models[model]
    per_class = {
        name: {**metrics, "recall": Estimate(value=values.get(name, 0.9), low=0.1, high=0.95)}
        for name, metrics in found.per_class.items()
    }
    return replace(evaluation, models={**evaluation.models, model: replace(found, per_class=per_class)})


def test_what_was_measured_and_how_good(run: Any) -> None:
    folder = replace(folder_of(run), settings={"ensemble.deployed": "stack"})
    said = judged(run, folder=folder).measured
    stack = run.evaluation.models["stack"].overall
    assert said.startswith("In 4-fold cross-validation by lesion on HAM10000 (")
    assert "160 lesions, 7 classes), stack, the ensemble that the predictor uses, reached a macro F1 of" in said
    for metric in ("macro_f1", "balanced_accuracy"):
        estimate = stack[metric]
        assert f"{estimate.value:.3f} (95 % interval {estimate.low:.3f} to {estimate.high:.3f})" in said
    # A setting that names no model of this run is not believed.
    assert "predictor uses" not in judged(run, folder=replace(folder, settings={"ensemble.deployed": "gone"})).measured


def test_a_score_without_interval_says_why(run: Any) -> None:
    alone = Estimate(value=0.7, reason="an interval needs at least two lesions")
    folder = replace(folder_of(run), settings={"ensemble.deployed": "stack"})
    said = judged(run, scores(run.evaluation, "stack", macro_f1=alone), folder).measured
    assert "macro F1 of 0.700 (no interval: an interval needs at least two lesions)" in said


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {},
            "no evidence of a difference from plain soft voting (−0.0100, 95 % interval −0.0200 to +0.0030).",
        ),
        (
            {"difference": Estimate(value=-0.02, low=-0.03, high=-0.01), "evidence": "difference", "comparisons": 6},
            "soft voting (−0.0200, 95 % interval −0.0300 to −0.0100, widened for a choice among 6 comparisons).",
        ),
        (
            {"model": "soft_vote", "against": "stack"},
            "but there is no evidence of a difference from stack, the next best (",
        ),
        (
            {
                "difference": Estimate(value=-0.01, reason="an interval needs at least two lesions"),
                "evidence": "undefined",
            },
            "and whether that differs from plain soft voting is not known (an interval needs at least two lesions).",
        ),
        (
            {"difference": Estimate(value=0.0, reason="every resample gives the same value"), "evidence": "undefined"},
            ", and so has plain soft voting.",
        ),
    ],
)
def test_the_best_combiner_against_plain_soft_voting(run: Any, fields: dict[str, Any], expected: str) -> None:
    said = judged(run, with_best(run.evaluation, **fields)).combining
    assert expected in said
    first = "Plain soft voting has" if fields.get("model") == "soft_vote" else "Of the ensembles, stack has"
    assert said.startswith(f"{first} the lowest cross-fitted log-loss (")
    assert ("no evidence of a difference" in said) == (fields.get("evidence") is None)
    assert ("better" in said) == (fields.get("evidence") == "difference")


def test_without_ensembles_the_best_model_is_compared_with_the_next(make_run: Callable[..., Any], run: Any) -> None:
    said = judged(run).combining
    assert " has the highest macro AUC (" in said
    only = {"resnet50": run.evaluation.models["resnet50"]}
    assert judged(run, replace(run.evaluation, models=only)).combining == (
        "There is nothing to compare resnet50 with, since no other model was scored."
    )


def test_an_only_ensemble_has_nothing_to_be_compared_with_but_the_backbones(run: Any) -> None:
    evaluation = with_best(run.evaluation, against=None, difference=None, evidence="undefined")
    assert " has the highest macro AUC (" in judged(run, evaluation).combining


def test_caveats_come_in_the_order_of_their_weight(run: Any) -> None:
    folder = folder_of(run)
    leak = Leakage(groups=3, images=7, n_groups=160, n_images=300)
    audit = folder.audit
    failed = replace_model(audit, checks=(replace_model(audit.checks[0], status="failed"), *audit.checks[1:]))
    constant = np.tile(np.eye(7)[5], (len(run.predictions.labels), 1))
    collapsed = replace(run.predictions, probabilities={**run.predictions.probabilities, "resnet50": constant})
    weak = recalls(run.evaluation, "stack", {"df": 0.2})
    model = {"ensemble.deployed": "stack"}

    def said(evaluation: Evaluation = weak, predictions: Any = run.predictions, **changes: Any) -> str:
        return judged(run, evaluation, replace(folder, settings=model, **changes), predictions=predictions).caveat

    assert said().startswith("The weakest class is df, with only 20 % of its ")
    assert "(nv)" in said(predictions=collapsed)
    unfinished = replace_model(folder.record, status="interrupted")
    assert "ended early (status: interrupted)" in said(predictions=collapsed, record=unfinished)
    assert said(predictions=collapsed, record=unfinished, audit=failed).startswith(
        "Leakage checks failed (No lesion is in two folds)"
    )
    leaky = replace_model(failed, allowed_leakage=leak)
    assert said(audit=leaky).startswith("The folds leak (7 of 300 images, of 3 of 160 lesions")
    demo = replace(weak, demo=True)
    assert "says anything about skin lesions" in said(demo, audit=leaky, predictions=collapsed)


def test_a_division_that_leaks_is_not_called_one_by_lesion(run: Any) -> None:
    folder = folder_of(run)
    leak = Leakage(groups=3, images=7, n_groups=160, n_images=300)
    assert "cross-validation by lesion on" in judged(run, run.evaluation, folder).measured
    leaky = replace(folder, audit=replace_model(folder.audit, allowed_leakage=leak))
    assert "cross-validation with lesions on both sides on" in judged(run, run.evaluation, leaky).measured


def replace_model(record: Any, **changes: Any) -> Any:
    return record.model_copy(update=changes)


def test_weak_class_bad_calibration_and_neither(run: Any) -> None:
    folder = replace(folder_of(run), settings={"ensemble.deployed": "stack"})
    good, bad = Estimate(value=0.03, low=0.02, high=0.04), Estimate(value=0.12, low=0.1, high=0.14)
    strong = recalls(run.evaluation, "stack", {"mel": 0.8})
    weak = recalls(run.evaluation, "stack", {"mel": 0.49})
    said = judged(run, scores(strong, "stack", ece=good), folder).caveat
    assert said.startswith("The weakest class is mel, with 80 % of its ")
    assert said.endswith("data divided within themselves do not show how the model does elsewhere.")
    said = judged(run, scores(strong, "stack", ece=bad), folder).caveat
    assert "off by 0.120 (95 % interval 0.100 to 0.140) on average" in said
    assert "only 49 %" in judged(run, scores(weak, "stack", ece=bad), folder).caveat


def test_an_absent_class_is_named(run: Any) -> None:
    stack = run.evaluation.models["stack"]
    nothing = {**stack.per_class["df"], "support": Estimate(value=0, reason="a count")}
    models = {**run.evaluation.models, "stack": replace(stack, per_class={**stack.per_class, "df": nothing})}
    folder = replace(folder_of(run), settings={"ensemble.deployed": "stack"})
    assert judged(run, replace(run.evaluation, models=models), folder).caveat.startswith("No image is of df, so that ")


@pytest.mark.parametrize("n_models", [1, 2, 3])
@pytest.mark.parametrize("n_groups", [1, 30])
def test_given_predictions_have_three_sentences_too(run: Any, n_models: int, n_groups: int) -> None:
    generator = np.random.default_rng(n_models)
    labels = generator.integers(0, 3, 60)
    labels[:3] = (0, 1, 2)
    rows = {
        f"model v{place}": generator.dirichlet([1, 1, 1], 60) * 0.5 + 0.5 * np.eye(3)[labels]
        for place in range(n_models)
    }
    scored = evaluate_given(labels, rows, np.arange(60) % n_groups, resamples=100)
    predictions = replace(
        run.predictions,
        image_ids=np.array([str(row) for row in range(60)]),
        labels=labels,
        classes=("0", "1", "2"),
        probabilities=rows,
        kinds=dict.fromkeys(rows, kind()),
    )
    verdict = origin_verdict(scored, predictions)
    assert len(SENTENCE.findall(verdict.text)) == 3, verdict.text
    assert verdict.measured.startswith("On the given predictions (60 images of ")
    assert "is not known" in verdict.caveat
    external = origin_verdict(replace(scored, protocol="external"), predictions)
    assert external.measured.startswith("On images from elsewhere")
    assert "is not known" not in external.caveat
    assert len(SENTENCE.findall(external.text)) == 3


def kind() -> ModelKind:
    return "model"


def test_a_hold_out_is_called_one(run: Any) -> None:
    folder = folder_of(run)
    part = replace(folder.folds, folds=np.minimum(folder.folds.folds, 2), n_folds=3, holdout=True)
    said = judged(run, folder=replace(folder, folds=part)).measured
    assert said.startswith("On the test part of one division by lesion on HAM10000 (")
    best = with_best(run.evaluation, by="log_loss on the test part")
    combining = judged(run, best, folder=replace(folder, folds=part)).combining
    assert combining.startswith("Of the ensembles, stack has the lowest log-loss on the test part (")
