"""Scores of parts of the images, against scikit-learn on these parts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score, roc_auc_score
from sklearn_reference import as_predictions, random_labels, random_probabilities

from cv_folds.arrays import frozen
from cv_folds.clinical import ClinicalTable
from ensemble.predictions import Predictions
from reports.attributes import MOST_LEVELS, NOT_KNOWN, Attribute, attributes_of
from reports.document import Document, Figure, Table
from reports.evaluation import evaluate
from reports.figures.style import model_looks
from reports.figures.subgroup_forest import GREY
from reports.html import render_html
from reports.intervals import percentile_interval, resample_groups
from reports.malignant import MalignantClasses, malignant_classes
from reports.measure_subgroups import measure_subgroups
from reports.results import Evaluation
from reports.settings import ReportSettings
from reports.subgroup_section import subgroup_section
from reports.subgroups import SMALL, SUBGROUP_METRICS, Subgroups

MALIGNANT = malignant_classes(("class-0", "class-1", "class-2"), ("class-0",))


def made(seed: int = 0, *, lesions: int = 120, model: str = "stack") -> Predictions:
    """One to three images a lesion."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(lesions), generator.integers(1, 4, lesions))
    labels = random_labels(lesions, 3, generator)[groups]
    rows = {model: random_probabilities(labels, 3, generator)}
    return as_predictions(labels, rows, groups=groups, folds=groups % 3)


def halves(predictions: Predictions, seed: int = 1) -> Attribute:
    """Two groups that cut through lesions."""
    codes = np.random.default_rng(seed).integers(0, 2, len(predictions.labels))
    return Attribute(name="half", title="Half", levels=("one", "two"), codes=frozen(codes, np.int64))


def measured(
    predictions: Predictions, *attributes: Attribute, classes: MalignantClasses = MALIGNANT, resamples: int = 200
) -> Subgroups:
    models = tuple(predictions.probabilities)
    generator = np.random.default_rng(3)
    return measure_subgroups(predictions, attributes, models, classes, resamples=resamples, generator=generator)


def by_scikit_learn(labels: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    called = rows.argmax(axis=1)
    whole = len(np.unique(labels)) == rows.shape[1]
    kinds = len(np.unique(labels == 0)) == 2
    return {
        "accuracy": accuracy_score(labels, called) if len(labels) else np.nan,
        "macro_f1": f1_score(labels, called, average="macro", labels=[0, 1, 2], zero_division=0) if whole else np.nan,
        "balanced_accuracy": balanced_accuracy_score(labels, called) if whole else np.nan,
        "malignant_auc": roc_auc_score(labels == 0, rows[:, 0]) if kinds else np.nan,
        "malignant_sensitivity": recall_score(labels == 0, called == 0) if (labels == 0).any() else np.nan,
        "malignant_specificity": recall_score(labels != 0, called != 0) if (labels != 0).any() else np.nan,
    }


@pytest.mark.parametrize("seed", range(2))
def test_values_and_intervals_are_those_of_scikit_learn_on_the_repeated_rows(seed: int) -> None:
    predictions = made(seed, lesions=60)
    attribute = halves(predictions)
    found = measured(predictions, attribute, resamples=60).attributes["half"].groups
    names, groups = np.unique(predictions.groups, return_inverse=True)
    rows = predictions.probabilities["stack"]
    blocks = resample_groups(len(names), len(groups), resamples=60, generator=np.random.default_rng(3))
    drawn = np.concatenate(list(blocks))
    for code, level in enumerate(attribute.levels):
        inside = attribute.codes == code
        point = by_scikit_learn(predictions.labels[inside], rows[inside])
        repeated = [np.repeat(np.arange(len(groups)), counts[groups] * inside) for counts in drawn]
        resampled = [by_scikit_learn(predictions.labels[which], rows[which]) for which in repeated]
        for metric in SUBGROUP_METRICS:
            estimate = found[level].models["stack"][metric]
            interval = percentile_interval(np.array([values[metric] for values in resampled]))
            assert estimate.value == pytest.approx(point[metric], abs=1e-12)
            assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_the_order_of_the_rows_does_not_matter() -> None:
    predictions = made(5)
    attribute = halves(predictions)
    order = np.random.default_rng(0).permutation(len(predictions.labels))
    columns = {
        name: getattr(predictions, name)[order] for name in ("image_ids", "lesion_ids", "groups", "folds", "labels")
    }
    rows = {"stack": predictions.probabilities["stack"][order]}
    shuffled = measured(
        replace(predictions, **columns, probabilities=rows), replace(attribute, codes=attribute.codes[order])
    )
    assert shuffled == measured(predictions, attribute)


def test_what_a_group_lacks_is_undefined_with_a_reason() -> None:
    predictions = made(6)
    codes = frozen((predictions.labels == 0).astype(np.int64) + 2 * (predictions.labels == 1), np.int64)
    classes = Attribute(name="class", title="Class", levels=("second", "zeroth", "first"), codes=codes)
    found = measured(predictions, classes).attributes["class"].groups
    assert found["zeroth"].absent == ("class-1", "class-2")
    scores = found["zeroth"].models["stack"]
    assert scores["macro_f1"].value is None
    assert scores["balanced_accuracy"].reason == "no image of class-1, class-2"
    assert scores["malignant_auc"].reason == "every image is of a malignant class"
    assert scores["malignant_specificity"].reason == "every image is of a malignant class"
    assert scores["malignant_sensitivity"].low is not None
    other = found["first"].models["stack"]
    assert other["malignant_auc"].reason == other["malignant_sensitivity"].reason == "no image of a malignant class"
    assert other["accuracy"].low is not None


@pytest.mark.parametrize("names", [(), ("class-0", "class-1", "class-2")])
def test_without_malignant_and_benign_classes_the_reason_is_given(names: tuple[str, ...]) -> None:
    predictions = made(7)
    classes = malignant_classes(predictions.classes, names)
    scores = (
        measured(predictions, halves(predictions), classes=classes).attributes["half"].groups["one"].models["stack"]
    )
    for metric in ("malignant_auc", "malignant_sensitivity", "malignant_specificity"):
        assert scores[metric].value is None
        assert scores[metric].reason == classes.undefined
    assert scores["macro_f1"].low is not None


def test_one_lesion_has_scores_without_intervals() -> None:
    labels = np.zeros(4, dtype=np.int64)
    rows = np.tile([0.6, 0.3, 0.1], (4, 1))
    predictions = as_predictions(labels, {"stack": rows}, groups=np.zeros(4, dtype=np.int64))
    scores = measured(predictions, halves(predictions, seed=0)).attributes["half"].groups["one"].models["stack"]
    assert (scores["accuracy"].value, scores["accuracy"].low) == (1.0, None)
    assert scores["accuracy"].reason == "an interval needs at least two lesions"


def clinical(predictions: Predictions, **columns: Any) -> ClinicalTable:
    blank = ClinicalTable.blank(predictions.image_ids)
    return replace(blank, **{name: frozen(values) for name, values in columns.items()})


def divided(predictions: Predictions, **columns: Any) -> dict[str, Attribute]:
    return {attribute.name: attribute for attribute in attributes_of(predictions, clinical(predictions, **columns))}


def test_without_metadata_only_the_images_of_a_lesion_divide() -> None:
    predictions = made(8)
    found = divided(predictions)
    assert {name: attribute.reason for name, attribute in found.items()} == {
        "sex": "not known of any image",
        "age": "not known of any image",
        "localization": "not known of any image",
        "dx_type": "not known of any image",
        "images_per_lesion": None,
    }
    lesions, images = np.unique(predictions.lesion_ids, return_counts=True)
    many = dict(zip(lesions.tolist(), images.tolist(), strict=True))
    expected = [str(many[lesion]).replace("3", "3 or more") for lesion in predictions.lesion_ids.tolist()]
    attribute = found["images_per_lesion"]
    assert [attribute.levels[code] for code in attribute.codes.tolist()] == expected


def test_age_bands_begin_at_their_lower_end_and_empty_ones_are_left_out() -> None:
    predictions = made(9)
    ages = np.full(len(predictions.labels), np.nan)
    ages[:6] = (0, 29.5, 30, 44, 75, 90)
    attribute = divided(predictions, ages=ages)["age"]
    assert attribute.levels == ("under 30", "30–44", "75 and over", NOT_KNOWN)
    assert attribute.codes[:7].tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_values_are_ordered_by_lesions_and_the_rarest_taken_together() -> None:
    predictions = made(10, lesions=200)
    lesion = np.unique(predictions.lesion_ids, return_inverse=True)[1]
    # Site k has one lesion more than site k + 1 down to one; what is left over is not known.
    ends = np.cumsum(np.arange(MOST_LEVELS + 2, 0, -1))
    place = np.searchsorted(ends, np.minimum(lesion, 199), side="right")
    words = np.array([f"site {number}" for number in range(len(ends))])
    sites = np.where(place < len(ends), words[np.minimum(place, len(ends) - 1)], "")
    attribute = divided(predictions, localizations=sites)["localization"]
    known = len(set(sites.tolist()) - {""})
    assert attribute.levels[:3] == ("site 0", "site 1", "site 2")
    if known > MOST_LEVELS:
        assert len(attribute.levels) - (NOT_KNOWN in attribute.levels) == MOST_LEVELS
    assert [attribute.levels[code] == sites[row] for row, code in enumerate(attribute.codes) if code < 3].count(
        False
    ) == 0


def test_rare_values_are_one_group() -> None:
    predictions = made(11, lesions=MOST_LEVELS + 5)
    lesion = np.unique(predictions.lesion_ids, return_inverse=True)[1]
    attribute = divided(predictions, localizations=np.array([f"site {number:02d}" for number in lesion]))[
        "localization"
    ]
    assert len(attribute.levels) == MOST_LEVELS
    assert attribute.levels[-1] == "6 rarer values"
    assert len(np.unique(lesion[attribute.codes == MOST_LEVELS - 1])) == 6


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    predictions = made(12, lesions=150)
    settings = ReportSettings(resamples=200, malignant=("class-0",))
    scores = evaluate(predictions, demo=False, settings=settings, generator=np.random.default_rng(3))
    lesion = np.unique(predictions.lesion_ids, return_inverse=True)[1]
    sites = np.where(lesion < 12, "<b>&amp;", "back")
    columns = {"sexes": np.where(lesion % 2, "male", "female"), "localizations": sites}
    attributes = attributes_of(predictions, clinical(predictions, **columns))
    return replace(scores, subgroups=measured(predictions, *attributes))


def test_numbers_of_the_section_are_those_of_the_subgroups(evaluation: Evaluation) -> None:
    subgroups = evaluation.subgroups
    assert subgroups is not None
    section = subgroup_section(evaluation, model_looks({"stack": "ensemble"}))
    table = next(block for block in section.blocks if isinstance(block, Table))
    rows = iter(table.rows)
    for scores in subgroups.comparable.values():
        for name, group in scores.groups.items():
            row = next(rows)
            assert (row[0].text, row[1].text, row[3].value) == (scores.title, name, group.n_lesions)
            assert [cell.value for cell in row[4:]] == [
                group.models["stack"][metric].value for metric in SUBGROUP_METRICS
            ]
            assert (row[1].detail == "few lesions") == (group.n_lesions < SMALL)
    assert next(rows, None) is None
    figure = next(block for block in section.blocks if isinstance(block, Figure))
    assert GREY in figure.svg
    assert "age in years (not known of any image)" in section.blocks[0].text  # type: ignore[union-attr]


def test_values_of_the_data_stay_text(evaluation: Evaluation) -> None:
    section = subgroup_section(evaluation, model_looks({"stack": "ensemble"}))
    page = render_html(
        Document(title="t", subtitle="s", banner=None, date=datetime(2025, 3, 1, tzinfo=UTC), sections=(section,))
    )
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;amp;" in page


def test_json_holds_null_and_reasons_and_no_nan(evaluation: Evaluation) -> None:
    content = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))["subgroups"]
    assert content["small"] == SMALL
    assert content["attributes"]["age"] == {"groups": None, "reason": "not known of any image"}
    groups = content["attributes"]["localization"]["groups"]
    assert list(groups) == ["back", "<b>&amp;"]
    assert groups["<b>&amp;"]["small"]
    assert set(groups["back"]["models"]["stack"]) == set(SUBGROUP_METRICS)


def test_nothing_is_shown_when_nothing_divides(evaluation: Evaluation) -> None:
    looks = model_looks({"stack": "ensemble"})
    assert subgroup_section(replace(evaluation, subgroups=None), looks).blocks == ()
    predictions = made(13)
    lesions = frozen([f"lesion {row}" for row in range(len(predictions.labels))])
    alone = replace(predictions, lesion_ids=lesions, groups=lesions)
    nothing = measured(alone, *attributes_of(alone, ClinicalTable.blank(alone.image_ids)))
    assert {scores.reason for scores in nothing.attributes.values()} == {
        "not known of any image",
        "every image is in the group 1",
    }
    assert subgroup_section(replace(evaluation, subgroups=nothing), looks).blocks == ()


def test_many_attributes_take_several_figures_that_each_fit_on_a_page(evaluation: Evaluation) -> None:
    predictions = made(8)
    generator = np.random.default_rng(0)
    many = [
        Attribute(
            name=f"column {number}",
            title=f"A column of a name that is longer than a label, {number}",
            levels=tuple(f"value {level}" for level in range(18)),
            codes=frozen(generator.permutation(np.arange(len(predictions.labels)) % 18), np.int64),
        )
        for number in range(5)
    ]
    subgroups = measured(predictions, *many, resamples=20)
    section = subgroup_section(replace(evaluation, subgroups=subgroups), model_looks({"stack": "ensemble"}))
    figures = [block for block in section.blocks if isinstance(block, Figure)]
    assert [figure.name for figure in figures] == [f"subgroup-forest-stack-{number}" for number in (1, 2, 3)]
    assert [figure.svg.count("value 17") for figure in figures] == [2, 2, 1]
    heights = [float(re.search(r'height="([\d.]+)pt"', figure.svg)[1]) for figure in figures]  # type: ignore[index]
    assert max(heights) < 680, "an A4 page has 740 points between its margins, and the caption takes some"
