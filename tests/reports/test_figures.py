"""Figures: same input, same bytes; nothing but vectors and text; every number is the evaluation's."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from ensemble.combiners import COMBINERS
from reports.curves import ConfusionMatrix, compute_curves
from reports.document import Figure
from reports.figures.class_curves import precision_recall_figure, roc_figure
from reports.figures.confusion import confusion_figure
from reports.figures.fold_spread import fold_spread
from reports.figures.forest import MOST_ROWS, class_forests, difference_forest, overall_forest
from reports.figures.reliability import class_reliability_figure, reliability_figure
from reports.figures.style import file_name, grid_shape, model_looks
from reports.figures.training import training_figure
from reports.results import Estimate
from reports.run_folder import read_run_folder
from reports.wording import number


def draw_all(run: Any) -> list[Figure]:
    evaluation, predictions = run.evaluation, run.predictions
    curves, looks = compute_curves(predictions), model_looks(predictions.kinds)
    folder = read_run_folder(run.path, evaluation.classes)
    backbone = next(iter(evaluation.models))
    return [
        overall_forest(evaluation, looks),
        *class_forests(evaluation, looks),
        difference_forest(evaluation.comparisons, looks),
        fold_spread(evaluation, looks),
        confusion_figure("stack", curves.models["stack"].confusion, evaluation.classes),
        roc_figure(curves, evaluation, looks, "stack"),
        precision_recall_figure(curves, evaluation, looks, "stack"),
        reliability_figure(curves, evaluation, looks),
        class_reliability_figure(curves, evaluation, looks["stack"], "stack"),
        training_figure([job for job in folder.histories if job.backbone == backbone], looks[backbone]),
    ]


def texts(figure: Figure) -> list[str]:
    return [
        element.text or "" for element in ElementTree.fromstring(figure.svg).iter("{http://www.w3.org/2000/svg}text")
    ]


@pytest.fixture(scope="module")
def figures(run: Any) -> list[Figure]:
    return draw_all(run)


def test_the_same_input_gives_the_same_bytes_and_leaves_settings_alone(run: Any, figures: list[Figure]) -> None:
    before = dict(matplotlib.rcParams)
    again = draw_all(run)
    assert [figure.svg for figure in again] == [figure.svg for figure in figures]
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_training_loss_of_one_epoch_is_seen_too(run: Any, epochs: int) -> None:
    folder = read_run_folder(run.path, run.evaluation.classes)
    look = model_looks(run.predictions.kinds)[folder.histories[0].backbone]
    job = folder.histories[0]
    short = replace(
        job,
        epochs=job.epochs[:epochs],
        # Then the axes, whose ticks are marks as well, are the same with it and without.
        train_loss=job.validation_loss[:epochs],
        validation_loss=job.validation_loss[:epochs],
        validation_balanced_accuracy=job.validation_balanced_accuracy[:epochs],
        details=job.details.model_copy(update={"best_epoch": 1}),
    )
    absent = replace(short, train_loss=np.full(epochs, np.nan))
    marks, without = (training_figure([each], look).svg.count("<use ") for each in (short, absent))
    assert marks - without == (1 if epochs == 1 else 0)


def test_a_users_matplotlib_settings_change_nothing(run: Any, figures: list[Figure]) -> None:
    with matplotlib.rc_context({"font.size": 20, "lines.linewidth": 5, "axes.grid": True}):
        looks = model_looks(run.predictions.kinds)
        assert overall_forest(run.evaluation, looks).svg == figures[0].svg


def test_figures_are_vectors_with_text_and_a_text_alternative(figures: list[Figure]) -> None:
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        assert "<image" not in figure.svg
        assert "<dc:date>" not in figure.svg
        assert texts(figure)
        assert len(figure.alt) > 40
        assert figure.caption.endswith(".")


def test_no_text_leaves_the_picture(make_run: Callable[..., Any], figures: list[Figure]) -> None:
    names = tuple(f"class_with_a_long_name_{index}" for index in range(10))
    wide = make_run(
        classes=names, backbones=tuple(f"a_backbone_with_a_long_name_{index}" for index in range(4)), n_folds=2
    )
    for figure in [*figures, *draw_all(wide)]:
        root = ElementTree.fromstring(figure.svg)
        width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
        for element in root.iter("{http://www.w3.org/2000/svg}text"):
            place = (
                re.findall(r"-?[\d.]+", element.attrib["transform"]) if "transform" in element.attrib else ["0", "0"]
            )
            x = float(element.attrib.get("x", place[-2]))
            y = float(element.attrib.get("y", place[-1]))
            assert 0 <= x <= width, (figure.name, element.text)
            assert 0 <= y <= height, (figure.name, element.text)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_few_classes(make_run: Callable[..., Any], n_classes: int) -> None:
    made = make_run(classes=tuple("abcdefghij"[:n_classes]), backbones=("resnet18",), n_folds=2, n_epochs=1)
    for figure in draw_all(made):
        assert texts(figure)


def test_confusion_cells_hold_share_and_count(run: Any, figures: list[Figure]) -> None:
    matrix = compute_curves(run.predictions).models["stack"].confusion
    shown = texts(next(figure for figure in figures if figure.name == "confusion-stack"))
    cells = [text for text in shown if re.fullmatch(r"[\d\N{NARROW NO-BREAK SPACE}]+( %)?", text)]
    shares = [text for text in cells if text.endswith("%")]
    counts = [int(text.replace("\N{NARROW NO-BREAK SPACE}", "")) for text in cells if not text.endswith("%")]
    assert counts == matrix.counts.ravel().tolist()
    assert shares == [f"{100 * rate:.0f} %" for rate in matrix.rates.ravel()]


def test_a_class_without_images_is_said_in_words() -> None:
    matrix = ConfusionMatrix(counts=np.array([[3, 1], [0, 0]]), rates=np.array([[0.75, 0.25], [np.nan, np.nan]]))
    figure = confusion_figure("m", matrix, ("a", "b"))
    assert texts(figure).count("–") == 2
    assert "b: no images." in figure.alt


def test_scores_written_into_figures_are_the_evaluations(run: Any, figures: list[Figure]) -> None:
    by_name = {figure.name: texts(figure) for figure in figures}
    stack = run.evaluation.models["stack"]
    for class_name in run.evaluation.classes:
        scores = stack.per_class[class_name]
        assert f"AUC {number(scores['auc'].value)}" in by_name["roc"]
        assert f"AP {number(scores['average_precision'].value)}" in by_name["precision-recall"]
        assert f"ECE {number(scores['ece'].value)}" in by_name["reliability-stack"]
    for scores in run.evaluation.models.values():
        assert f"Brier {number(scores.overall['brier'].value)}" in by_name["reliability"]


SVG = "{http://www.w3.org/2000/svg}"


def test_scores_stand_over_the_curves_and_not_on_them(make_run: Callable[..., Any], figures: list[Figure]) -> None:
    letters = TextToPath()
    long = make_run(
        classes=("x" * 30, *"bcdefg"), backbones=("a_backbone_with_a_long_name", "resnet18"), n_folds=2, n_epochs=1
    )
    found = 0
    for figure in [*figures, *draw_all(long)]:
        if not figure.name.startswith("reliability"):
            continue
        for axes in ElementTree.fromstring(figure.svg).iter(f"{SVG}g"):
            if not axes.attrib.get("id", "").startswith("axes_"):
                continue
            outline = next(axes.iter(f"{SVG}path")).attrib["d"]
            corners = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", outline), dtype=float)
            for element in axes.iter(f"{SVG}text"):
                text = element.text or ""
                if not text.startswith(("ECE", "Brier")):
                    continue
                found += 1
                x, y = (float(part) for part in re.findall(r"-?[\d.]+", element.attrib["transform"])[-2:])
                width, _, descent = letters.get_text_width_height_descent(text, FontProperties(size=7), ismath=False)
                assert y + descent <= corners[:, 1].min(), (figure.name, text)
                assert corners[:, 0].min() <= x <= x + width <= corners[:, 0].max() + 1, (figure.name, text)
    assert found == 2 * (5 + 7 + 4 + 7)


def test_undefined_values_are_said_in_words(run: Any) -> None:
    stack = run.evaluation.models["stack"]
    nothing = Estimate(value=None, reason="no image of this class")
    changed = replace(stack, overall={**stack.overall, "macro_auc": nothing})
    evaluation = replace(run.evaluation, models={**run.evaluation.models, "stack": changed})
    looks = model_looks(run.predictions.kinds)
    assert texts(overall_forest(evaluation, looks)).count("n/a") == 1
    roc = roc_figure(compute_curves(run.predictions), evaluation, looks, "stack")
    assert "AUC n/a" in texts(roc)


def test_many_classes_and_models_are_split_over_figures(make_run: Callable[..., Any]) -> None:
    made = make_run(
        classes=tuple("abcdefghij"), backbones=tuple(f"net{index}" for index in range(8)), n_epochs=1, n_folds=2
    )
    parts = class_forests(made.evaluation, model_looks(made.predictions.kinds))
    assert len(parts) > 1
    headings = [text for part in parts for text in texts(part) if text in made.evaluation.classes]
    assert headings == list(made.evaluation.classes)
    assert all(sum(text in made.evaluation.models for text in texts(part)) <= MOST_ROWS for part in parts)


def test_hostile_names_stay_text(make_run: Callable[..., Any]) -> None:
    names = ("<script>", 'a"&b', "$\\frac{a}{$", "bell\x07")
    made = make_run(classes=names, backbones=("resnet18",), n_folds=2, n_epochs=1)
    shown = {text for figure in draw_all(made) for text in texts(figure)}
    assert {"<script>", 'a"&b', "$\\frac{a}{$", "bell\N{REPLACEMENT CHARACTER}"} <= shown


def test_every_model_keeps_one_look() -> None:
    kinds: dict[str, Any] = {"a": "backbone", "b": "backbone", "soft_vote": "ensemble", "stack": "ensemble"}
    looks = model_looks(kinds)
    assert len({(look.colour, look.marker) for look in looks.values()}) == 4
    assert model_looks({**kinds, "c": "backbone"})["stack"] == looks["stack"]


def test_all_ensembles_have_colours_of_their_own() -> None:
    looks = model_looks(dict.fromkeys(COMBINERS, "ensemble"))
    assert len({look.colour for look in looks.values()}) == len(COMBINERS) == 7


@pytest.mark.parametrize("panels", range(1, 13))
def test_grids_hold_every_panel(panels: int) -> None:
    rows, columns = grid_shape(panels)
    assert (rows - 1) * columns < panels <= rows * columns
    assert columns <= 4


def test_file_names_cannot_leave_the_folder() -> None:
    assert file_name("confusion", "../../etc/Name with spaces") == "confusion--etc-name-with-spaces"
