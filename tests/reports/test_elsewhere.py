"""Predictions of other programs: any form of input, the same scores, and messages that name rows."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn_reference import (
    plain_ece,
    random_labels,
    random_probabilities,
    reference_of_class,
    reference_overall,
)

from cv_folds.arrays import FloatArray, IntArray
from cv_folds.errors import DataError, UsageError
from reports import evaluate
from reports.equal_mass import equal_mass_bins

CLASSES = ("bcc", "mel", "nv")
WHEN = datetime(2025, 3, 1, tzinfo=UTC)


def drawn(seed: int, n: int = 90) -> tuple[IntArray, FloatArray]:
    generator = np.random.default_rng(seed)
    labels = random_labels(n, len(CLASSES), generator)
    return labels, random_probabilities(labels, len(CLASSES), generator)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of some other tool: other names, ids that look like numbers, six decimals."""
    labels, probabilities = drawn(3)
    frame = pd.DataFrame(
        {
            "file": [f"{row:03d}" for row in range(len(labels))],
            "truth": np.array(CLASSES)[labels],
            "patient": [f"p{row // 2}" for row in range(len(labels))],
            **{f"P({name})": probabilities[:, column].round(6) for column, name in enumerate(CLASSES)},
        }
    )
    frame.to_csv(tmp_path / "theirs.csv", index=False)
    return tmp_path / "theirs.csv"


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    labels, probabilities = drawn(seed)
    scores = evaluate(labels, probabilities, np.arange(len(labels)) // 2, classes=CLASSES, resamples=100)
    expected = reference_overall(labels, probabilities, equal_mass_bins(probabilities.max(axis=1)))
    assert {metric: found.value for metric, found in scores.models["model"].overall.items()} == pytest.approx(expected)
    for column, name in enumerate(CLASSES):
        bins = equal_mass_bins(probabilities[:, column])
        of_class = reference_of_class(column, labels, probabilities, bins)
        assert of_class["ece"] == plain_ece(probabilities[:, column], labels == column, bins)
        found = scores.models["model"].per_class[name]
        assert {metric: found[metric].value for metric in of_class} == pytest.approx(of_class)
    assert (scores.protocol, scores.n_lesions) == ("given", 45)


def test_names_and_numbers_of_classes_mean_the_same() -> None:
    labels, probabilities = drawn(0)
    by_number = evaluate(labels, probabilities, classes=CLASSES, resamples=100)
    for given in (
        np.array(CLASSES)[labels],
        list(labels.tolist()),
        labels.astype(float),
        pd.Series(np.array(CLASSES)[labels]),
    ):
        assert evaluate(given, probabilities, classes=CLASSES, resamples=100) == by_number
    assert evaluate(np.array(CLASSES)[labels], probabilities, resamples=100) == by_number
    assert evaluate(labels, probabilities, resamples=100).classes == ("0", "1", "2")
    # As scikit-learn's classes_: ten stands behind nine.
    tens = np.array([2, 9, 10])[labels]
    assert evaluate(tens, probabilities, resamples=100).classes == ("2", "9", "10")


def test_a_class_without_images_is_undefined_and_not_guessed() -> None:
    labels, probabilities = drawn(0)
    few = np.array(CLASSES)[labels] != "nv"
    scores = evaluate(np.array(CLASSES)[labels][few], probabilities[few], classes=CLASSES, resamples=100)
    assert scores.models["model"].per_class["nv"]["auc"].reason == "no image of this class"
    with pytest.raises(UsageError, match="3 columns of probabilities, but 2 classes among the labels"):
        evaluate(np.array(CLASSES)[labels][few], probabilities[few])


def test_two_classes_take_the_probability_of_the_second() -> None:
    labels = np.array([0, 0, 1, 1, 0, 1])
    second = np.array([0.2, 0.4, 0.7, 0.3, 0.1, 0.9])
    scores = evaluate(labels, second, classes=("benign", "malignant"), resamples=100)
    assert scores == evaluate(
        labels, np.stack([1 - second, second], axis=1), classes=("benign", "malignant"), resamples=100
    )
    assert scores.models["model"].per_class["malignant"]["recall"].value == pytest.approx(2 / 3)


def test_groups_widen_the_intervals_as_a_whole() -> None:
    labels, probabilities = drawn(1, 40)
    # Each row five times: nothing is known that was not known from one of them.
    many, rows, groups = np.repeat(labels, 5), np.repeat(probabilities, 5, axis=0), np.repeat(np.arange(40), 5)
    once = evaluate(labels, probabilities, np.arange(40), classes=CLASSES, resamples=400)
    grouped = evaluate(many, rows, groups, classes=CLASSES, resamples=400)
    alone = evaluate(many, rows, classes=CLASSES, resamples=400)

    def width(scores: object) -> float:
        found = scores.models["model"].overall["accuracy"]  # type: ignore[attr-defined]
        return float(found.high - found.low)

    assert width(grouped) == pytest.approx(width(once))
    assert width(alone) < 0.6 * width(grouped)


def test_a_table_gives_what_its_columns_give(table: Path) -> None:
    labels, probabilities = drawn(3)
    columns = {name: f"P({name})" for name in CLASSES}
    frame = pd.read_csv(table)
    arrays = evaluate(frame["truth"], frame[list(columns.values())], frame["patient"], classes=CLASSES, resamples=100)
    assert arrays.models["model"].overall["log_loss"].value == pytest.approx(
        reference_overall(labels, probabilities, equal_mass_bins(probabilities.max(axis=1)))["log_loss"], abs=1e-4
    )
    named = {"labels": "truth", "groups": "patient", "table": table, "resamples": 100}
    assert evaluate(probabilities=columns, images="file", **named) == arrays  # type: ignore[arg-type]
    assert evaluate(probabilities=list(columns.values()), classes=CLASSES, **named) == arrays  # type: ignore[arg-type]
    assert evaluate("truth", columns, "patient", table=frame, resamples=100) == arrays
    both = evaluate(probabilities={"a": columns, "b": columns}, **named)  # type: ignore[arg-type]
    assert list(both.models) == ["a", "b"]
    assert {comparison.evidence for comparison in both.comparisons} == {"no evidence of a difference"}


def test_models_are_compared_in_pairs() -> None:
    labels, good = drawn(5, 300)
    bad = np.random.default_rng(0).dirichlet(np.ones(3), len(labels))
    scores = evaluate(labels, {"theirs": bad, "ours": good}, classes=CLASSES, resamples=200)
    found = {comparison.metric: comparison for comparison in scores.comparisons}
    assert {(comparison.model, comparison.against) for comparison in scores.comparisons} == {("ours", "theirs")}
    assert found["macro_auc"].evidence == "difference"


def test_malignant_classes_can_be_named() -> None:
    labels, probabilities = drawn(4)
    usual = evaluate(labels, probabilities, classes=CLASSES, resamples=100).levels
    named = evaluate(labels, probabilities, classes=CLASSES, malignant=["nv"], resamples=100).levels
    assert usual is not None
    assert named is not None
    assert (usual.malignant_classes, named.malignant_classes) == (("bcc", "mel"), ("nv",))
    expected = roc_auc_score(labels == 2, probabilities[:, 2])
    assert named.by_image.models["model"].malignant["auc"].value == pytest.approx(expected)
    with pytest.raises(UsageError, match="malignant: scc: the classes are bcc, mel, nv"):
        evaluate(labels, probabilities, classes=CLASSES, malignant=["mel", "scc"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probabilities": [[0.2, 0.8], [np.nan, 1.0], [0.5, 0.5]]}, r"1 row without.*\n  row 1 \(counted from 0\)"),
        ({"probabilities": [[0.2, 0.8], [0.3, 0.6], [1.4, -0.4]]}, r"2 rows without.*softmax.*\n  row 1.*\n  row 2"),
        ({"probabilities": [[20.0, 80.0], [30.0, 70.0], [50.0, 50.0]]}, "per cent"),
        ({"labels": ["nv", "", "bkl"]}, r"2 rows without a label.*\n  row 1.*: no label\n  row 2.*: label 'bkl'"),
        ({"groups": ["a", None, "b"]}, r"1 row without group:\n  row 1"),
        ({"images": ["a", "b", "a"]}, r"more than once.*\n  a"),
    ],
)
def test_bad_rows_are_named(change: dict[str, object], words: str) -> None:
    given = {
        "labels": ["nv", "mel", "nv"],
        "probabilities": [[0.2, 0.8], [0.3, 0.7], [0.5, 0.5]],
        "classes": ("mel", "nv"),
    }
    with pytest.raises(DataError, match=f"(?s){words}"):
        evaluate(**(given | change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": ["nv", "mel"]}, "2 labels, but model has 3 rows"),
        ({"labels": []}, "no rows"),
        ({"probabilities": [["a", "b"]] * 3}, "no table of numbers"),
        ({"probabilities": {}}, "no probabilities were given"),
        ({"probabilities": np.ones((3, 2, 2))}, "shape"),
        ({"classes": ("mel",)}, "1 classes were named, but there are 2 columns"),
        ({"classes": ("mel", "mel")}, "named twice: mel"),
        ({"groups": ["a"]}, "3 labels, but 1 groups"),
        ({"labels": "truth"}, "together with table"),
        ({"resamples": 5}, "at least 100"),
        ({"formats": ("docx",)}, "there are html and pdf"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change: dict[str, object], words: str) -> None:
    given = {
        "labels": ["nv", "mel", "nv"],
        "probabilities": [[0.2, 0.8], [0.3, 0.7], [0.5, 0.5]],
        "classes": ("mel", "nv"),
    }
    with pytest.raises(UsageError, match=words):
        evaluate(**(given | change))  # type: ignore[arg-type]


def test_bad_cells_and_columns_of_a_table_are_named(table: Path) -> None:
    columns = {name: f"P({name})" for name in CLASSES}
    with pytest.raises(UsageError, match=r"no column P\(scc\); it has file, truth"):
        evaluate("truth", columns | {"scc": "P(scc)"}, table=table)
    with pytest.raises(UsageError, match="must map each class to its column"):
        evaluate("truth", "P(nv)", table=table)
    with pytest.raises(UsageError, match="groups must be the name of a column"):
        evaluate("truth", columns, ["a"] * 90, table=table)
    with pytest.raises(DataError, match="no such file"):
        evaluate("truth", columns, table=table.with_name("none.csv"))
    lines = table.read_text().splitlines()
    cells = lines[4].split(",")
    lines[4] = ",".join([*cells[:-1], "much"])
    table.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"theirs\.csv, row 5, P\(nv\): 'much'"):
        evaluate("truth", columns, table=table)


def test_rounded_rows_are_divided_by_their_sum_and_it_is_said(tmp_path: Path) -> None:
    labels, probabilities = drawn(4)
    rounded = probabilities.round(3)
    scores = evaluate(labels, rounded, classes=CLASSES, resamples=100, out=tmp_path / "out", formats=("html",))
    exact = evaluate(labels, rounded / rounded.sum(axis=1, keepdims=True), classes=CLASSES, resamples=100)
    assert scores.models["model"].overall["log_loss"].value == pytest.approx(
        exact.models["model"].overall["log_loss"].value, abs=1e-9
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert "divided by their sum" in page
    assert "No groups were given" in page


def test_the_report_has_what_needs_no_run_and_nothing_else(tmp_path: Path) -> None:
    labels, probabilities = drawn(6)
    given = {"classes": CLASSES, "resamples": 100, "date": WHEN, "title": "A <b>bold</b> claim"}
    models = {"ours": probabilities, "<script>": drawn(7)[1]}
    scores = evaluate(labels, models, np.arange(90) // 2, out=tmp_path / "out", **given)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == json.loads(json.dumps(scores.to_json()))
    page = (tmp_path / "out" / "report.html").read_text()
    for section in ("summary", "data", "overall", "classes", "confusion", "curves", "calibration", "origin", "method"):
        assert f'id="section-{section}"' in page
    for absent in ('id="section-training"', 'id="section-run"', 'id="section-spread"', "<script>:", "<b>bold"):
        assert absent not in page
    assert "Whether the models had seen the images" in page
    assert (tmp_path / "out" / "report.pdf").read_bytes().startswith(b"%PDF-1.7")
    # The folder is its own: the same input gives the same bytes over it.
    evaluate(labels, models, np.arange(90) // 2, out=tmp_path / "out", formats=("html",), **given)  # type: ignore[arg-type]
    assert (tmp_path / "out" / "report.html").read_text() == page


def test_a_report_without_a_date_is_of_now(tmp_path: Path) -> None:
    labels, probabilities = drawn(6, n=40)
    evaluate(labels, probabilities, classes=CLASSES, resamples=100, out=tmp_path / "report", formats=["pdf"])
    assert (tmp_path / "report" / "report.pdf").is_file()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.svg").write_text("<svg/>")
    with pytest.raises(UsageError, match="holds figures and no earlier evaluation"):
        evaluate([0, 1], [[0.8, 0.2], [0.3, 0.7]], out=tmp_path)
    assert (tmp_path / "figures" / "mine.svg").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        evaluate([0, 1], [[0.8, 0.2], [0.3, 0.7]], out=tmp_path / "file")


def test_importing_the_package_imports_nothing_large() -> None:
    code = "import sys, reports; dir(reports); sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(ImportError, match="cannot import name"):
        from reports import nothing  # type: ignore[attr-defined]  # noqa: F401
