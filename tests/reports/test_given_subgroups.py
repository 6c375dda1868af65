"""Subgroups of predictions from elsewhere: divided as those of a run are, by whatever columns are given."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score
from sklearn_reference import random_labels, random_probabilities

from cv_folds.arrays import StrArray, frozen
from cv_folds.clinical import ClinicalTable
from cv_folds.errors import DataError, UsageError
from reports import evaluate
from reports.attributes import MOST_LEVELS, attributes_of
from reports.given import check_given
from reports.given_subgroups import given_attributes
from reports.malignant import malignant_classes
from reports.measure_subgroups import measure_subgroups
from reports.subgroups import Subgroups

CLASSES = ("bcc", "mel", "nv")
N = 120


def drawn() -> dict[str, Any]:
    """Return labels, two models, groups and what is known of each image, some of it not."""
    generator = np.random.default_rng(4)
    labels = random_labels(N, len(CLASSES), generator)
    sites = generator.choice(["back", "face", "unknown", ""], N)
    return {
        "labels": np.array(CLASSES)[labels],
        "models": {name: random_probabilities(labels, len(CLASSES), generator) for name in ("ours", "theirs")},
        "groups": np.arange(N) // 2,
        "age": np.where(generator.random(N) < 0.1, np.nan, generator.integers(10, 95, N)),
        "sex": generator.choice(["female", "male"], N),
        "localization": sites,
    }


def scored(subgroups: Any, **changes: Any) -> Subgroups:
    data = drawn()
    given = {"classes": CLASSES, "resamples": 100, "seed": 7} | changes
    found = evaluate(data["labels"], data["models"], data["groups"], subgroups=subgroups, **given).subgroups
    assert found is not None
    return found


def test_they_are_those_of_a_run() -> None:
    data = drawn()
    found = scored({name: data[name] for name in ("sex", "age", "localization")})
    predictions = check_given(
        data["labels"], data["models"], data["groups"], None, CLASSES, where=lambda row: f"{row:04d}"
    ).predictions

    def known(values: Any) -> StrArray:
        return frozen(["" if value == "unknown" else value for value in values.tolist()], np.str_)

    clinical = ClinicalTable(
        image_ids=predictions.image_ids,
        ages=frozen(data["age"], np.float64),
        sexes=known(data["sex"]),
        localizations=known(data["localization"]),
        dx_types=known(np.full(N, "")),
    )
    attributes = attributes_of(predictions, clinical)[:3]
    expected = measure_subgroups(
        predictions,
        attributes,
        ("ours", "theirs"),
        malignant_classes(CLASSES, ("mel", "bcc", "akiec")),
        resamples=100,
        generator=np.random.default_rng(7),
    )
    assert found == expected
    assert list(found.attributes["age"].groups)[-1] == "not known"
    assert found.attributes["age"].title == "Age in years"


def test_any_column_divides() -> None:
    data = drawn()
    cameras = np.where(np.arange(N) % 3 == 0, 2, 1)
    found = scored({"camera": cameras, "Fitzpatrick": pd.Series(["I"] * 60 + [None] * 60, dtype="string")})
    assert found.models == ("ours", "theirs")
    assert list(found.attributes) == ["camera", "Fitzpatrick"]
    assert found.attributes["camera"].title == "camera"
    groups = found.attributes["camera"].groups
    assert {name: group.n_images for name, group in groups.items()} == {"1": 80, "2": 40}
    called = np.array(CLASSES)[data["models"]["theirs"].argmax(axis=1)]
    inside = cameras == 2
    accuracy = groups["2"].models["theirs"]["accuracy"]
    assert accuracy.value == pytest.approx(accuracy_score(data["labels"][inside], called[inside]))
    assert accuracy.low is not None
    assert list(found.attributes["Fitzpatrick"].groups) == ["I", "not known"]
    frame = pd.DataFrame({"camera": cameras})
    assert scored(frame) == scored({"camera": cameras})


def test_without_columns_there_are_none_and_the_scores_stay_the_same() -> None:
    data = drawn()
    given = (data["labels"], data["models"], data["groups"])
    plain = evaluate(*given, classes=CLASSES, resamples=100)
    assert plain.subgroups is None
    divided = evaluate(*given, classes=CLASSES, resamples=100, subgroups={"sex": data["sex"]})
    assert divided.models == plain.models
    assert divided.tests == plain.tests


def test_the_columns_of_a_table_are_named(tmp_path: Path) -> None:
    data = drawn()
    frame = pd.DataFrame(
        {
            "truth": data["labels"],
            "patient": data["groups"],
            "years": data["age"],
            "sex": data["sex"],
            **{f"P({name})": data["models"]["ours"][:, column] for column, name in enumerate(CLASSES)},
        }
    )
    frame.to_csv(tmp_path / "theirs.csv", index=False)
    columns = {name: f"P({name})" for name in CLASSES}
    arrays = evaluate(
        data["labels"],
        data["models"]["ours"],
        data["groups"],
        classes=CLASSES,
        subgroups={"age": data["age"], "sex": data["sex"]},
        resamples=100,
    )
    for table in (tmp_path / "theirs.csv", frame):
        named = {"table": table, "resamples": 100}
        found = evaluate("truth", columns, "patient", subgroups={"age": "years", "sex": "sex"}, **named)  # type: ignore[arg-type]
        assert found.subgroups == arrays.subgroups
        listed = evaluate("truth", columns, "patient", subgroups=["sex"], **named)  # type: ignore[arg-type]
        assert listed.subgroups is not None
        assert list(listed.subgroups.attributes) == ["sex"]
        with pytest.raises(UsageError, match="has no column camera"):
            evaluate("truth", columns, "patient", subgroups=["camera"], **named)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="120 different numbers; divide it into bands first"):
            evaluate("truth", columns, "patient", subgroups={"score": "P(mel)"}, **named)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("subgroups", "error", "words"),
    [
        ({"sex": ["female"]}, UsageError, "120 labels, but 1 value of sex"),
        ({"age": ["old"] * N}, DataError, r"120 rows without an age in years; .*\n  row 0 .*: 'old'"),
        ({"age": [-3.0] + [40.0] * (N - 1)}, DataError, r"1 row without an age in years; .*\n  row 0 .*: -3"),
        (["sex"], UsageError, "map each name to its values"),
        ({"sex": np.ones((N, 2))}, UsageError, "sex must have one axis"),
        ({"width in mm": np.linspace(0.1, 9.9, N)}, UsageError, "width in mm.*divide it into bands first"),
    ],
)
def test_columns_that_do_not_divide_are_named(subgroups: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"(?s){words}"):
        scored(subgroups)


def test_the_report_shows_them(tmp_path: Path) -> None:
    data = drawn()
    scores = evaluate(
        data["labels"],
        data["models"],
        data["groups"],
        classes=CLASSES,
        subgroups={"<i>hospital</i>": data["localization"], "none": [""] * N},
        resamples=100,
        out=tmp_path / "out",
        formats=("html",),
        date=datetime(2025, 3, 1, tzinfo=UTC),
    )
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written == json.loads(json.dumps(scores.to_json()))
    assert written["subgroups"]["attributes"]["none"]["reason"] == "not known of any image"
    page = (tmp_path / "out" / "report.html").read_text()
    assert 'id="section-subgroups"' in page
    assert "&lt;i&gt;hospital&lt;/i&gt;" in page
    assert "<i>hospital" not in page
    # Nothing is said of a column that nobody gave.
    assert "How a diagnosis was confirmed" not in page
    assert (tmp_path / "out" / "tables" / "subgroups-ours.csv").is_file()
    assert (tmp_path / "out" / "figures" / "subgroup-forest-ours.svg").is_file()


def test_words_that_mean_not_known_are_one_group_of_which_no_image_is_lost() -> None:
    cells = ["left", "right", "not known", "", " unknown ", "Not known", np.float32("nan"), None] * (N // 8)
    (site,) = given_attributes({"side": cells}, frozen([str(row) for row in range(N)], np.str_), where=str)
    assert site.levels == ("left", "right", "not known")
    assert np.bincount(site.codes).tolist() == [N // 8, N // 8, N - 2 * (N // 8)]


def test_a_value_that_is_called_like_the_rare_ones_together_stays_apart() -> None:
    common = [f"camera {number}" for number in range(MOST_LEVELS)] * 2
    cells = ["3 rarer values"] * 4 + common + ["x", "y"]
    lesions = frozen([str(row) for row in range(len(cells))], np.str_)
    (camera,) = given_attributes({"camera": cells}, lesions, where=str)
    assert len(set(camera.levels)) == len(camera.levels) == MOST_LEVELS
    assert camera.codes.tolist()[:4] == [0] * 4


@pytest.mark.parametrize("name", ["Age", "AGE "])
def test_ages_are_found_however_the_column_is_written(name: str) -> None:
    lesions = frozen(["a", "b"], np.str_)
    (age,) = given_attributes({name: [20, 80]}, lesions, where=str)
    assert (age.name, age.title, age.levels) == (name, "Age in years", ("under 30", "75 and over"))
