"""Runs compared with each other: the same numbers as within a run, and refusals where there are no pairs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_samples import N_FOLDS, drawn, shifted, write_run
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from cv_folds.errors import DataError, UsageError
from ensemble.predictions import Predictions
from reports import RunComparison, compare
from reports.evaluation import evaluate
from reports.lesions import by_lesion
from reports.multiplicity import holm
from reports.settings import ReportSettings

SETTINGS = ReportSettings(resamples=200, malignant=("class-0",))


def numbers(comparison: RunComparison) -> Any:
    """Return all differences and tests, without what the runs are called."""
    content = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    places = {run.label: place for place, run in enumerate(comparison.runs)}

    def anonymous(entry: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in entry.items() if key != "sentence"}
        return kept | {"model": places[entry["model"]], "against": places[entry["against"]]}

    return {
        "comparisons": [anonymous(entry) for entry in content["comparisons"]],
        "tests": [{**family, "pairs": [anonymous(pair) for pair in family["pairs"]]} for family in content["tests"]],
        "right": [anonymous(entry) for entry in content["lesions_right"]],
        "models": list(content["models"].values()),
    }


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Return two runs of the same images; the second knows more."""
    first = drawn()
    return write_run(tmp_path / "plain", first), write_run(tmp_path / "more", shifted(drawn(1), "stack", 0.6))


def test_a_run_does_not_differ_from_itself(two: tuple[Path, Path]) -> None:
    found = compare([two[0], two[0]])
    assert [run.label for run in found.runs] == ["plain #1", "plain #2"]
    assert found.comparisons
    assert len(found.tests) == 7
    for comparison in found.comparisons:
        assert (comparison.difference.value, comparison.p, comparison.p_adjusted) == (0.0, 1.0, 1.0)
        assert comparison.evidence == "no evidence of a difference"
    for family in found.tests:
        (pair,) = family.pairs
        assert (pair.outcome.difference.value, pair.outcome.statistic) == (0.0, 0.0)
        assert (pair.outcome.p, pair.p_adjusted) == (1.0, 1.0)
        assert pair.sentence.startswith("No evidence of a difference in ")
    (right,) = found.right
    assert (right.only_model, right.only_against) == (0, 0)
    assert right.both + right.neither == 120
    assert found.settings == {}


def test_rows_are_joined_by_id_and_never_by_position(two: tuple[Path, Path], tmp_path: Path) -> None:
    usual = compare(two)
    other = Predictions.read_csv(two[1] / "predictions.csv", {"resnet50": "backbone", "stack": "ensemble"})
    order = np.random.default_rng(0).permutation(len(other.labels))
    columns = [2, 0, 1]
    mixed = replace(
        other,
        image_ids=other.image_ids[order],
        lesion_ids=other.lesion_ids[order],
        # Groups and folds may be called anything, as long as the same images are together.
        groups=np.char.add("g", other.groups[order]),
        folds=(N_FOLDS - 1 - other.folds[order]).astype(np.int64),
        labels=np.argsort(columns)[other.labels[order]],
        classes=tuple(other.classes[column] for column in columns),
        probabilities={model: rows[order][:, columns] for model, rows in other.probabilities.items()},
    )
    found = compare([two[0], write_run(tmp_path / "mixed", mixed)])
    assert found.mismatches == ()
    assert numbers(found) == numbers(usual)
    assert [comparison.evidence for comparison in usual.comparisons] == ["difference"] * 4


def test_two_runs_give_what_two_models_of_one_run_give(tmp_path: Path) -> None:
    both = shifted(drawn(), "stack", 0.3)
    within = evaluate(both, demo=False, settings=SETTINGS, generator=np.random.default_rng(5))
    apart = [
        write_run(tmp_path / model, replace(both, probabilities={model: rows}, kinds={model: both.kinds[model]}))
        for model, rows in both.probabilities.items()
    ]
    found = compare(apart, models=["resnet50", "stack"])
    assert [run.label for run in found.runs] == ["resnet50 (resnet50)", "stack (stack)"]
    assert [(one.model, one.against) for one in within.comparisons] == [("stack", "resnet50")] * 4
    for one, other in zip(within.comparisons, found.comparisons, strict=True):
        assert (other.model, other.against, other.metric) == ("stack (stack)", "resnet50 (resnet50)", one.metric)
        assert other.difference == one.difference
        assert (other.p, other.p_adjusted, other.evidence) == (one.p, one.p_adjusted, one.evidence)
    assert len(within.tests) == len(found.tests)
    for ours, theirs in zip(within.tests, found.tests, strict=True):
        assert (ours.method, ours.metric, ours.unit) == (theirs.method, theirs.metric, theirs.unit)
        (one,), (other,) = ours.pairs, theirs.pairs
        assert (other.outcome, other.p_adjusted) == (one.outcome, one.p_adjusted)
    for model, scores in within.models.items():
        label = f"{model} ({model})"
        assert (found.models[label].overall, found.models[label].folds) == (scores.overall, scores.folds)
    # One run against itself, by two of its models, says the same once more.
    joint = write_run(tmp_path / "joint", both)
    assert numbers(compare([joint, joint], models=["resnet50", "stack"])) == numbers(found)


def test_known_differences_are_found(tmp_path: Path) -> None:
    """The second run has every tenth lesion wrong that the first has right, and nothing else differs."""
    truth = drawn().labels
    rows = np.full((len(truth), 3), 0.1)
    rows[np.arange(len(truth)), truth] = 0.8
    first = replace(drawn(models=("stack",)), probabilities={"stack": rows})
    worse = rows.copy()
    wrong = np.repeat(np.arange(len(truth) // 2) % 10 == 0, 2)
    worse[wrong] = np.roll(rows[wrong], 1, axis=1)
    second = replace(first, probabilities={"stack": worse})
    found = compare([write_run(tmp_path / "right", first), write_run(tmp_path / "tenth", second)])
    (right,) = found.right
    assert (right.both, right.only_model, right.only_against, right.neither) == (108, 0, 12, 0)
    mcnemar = next(family for family in found.tests if family.method == "mcnemar").pairs[0].outcome
    assert mcnemar.difference.value == pytest.approx(-0.1)
    assert mcnemar.p == pytest.approx(binomtest(0, 12).pvalue)
    assert mcnemar.difference.low is not None
    assert mcnemar.difference.high is not None
    assert mcnemar.difference.low < -0.1 < mcnemar.difference.high < 0
    loss = next(one for one in found.comparisons if one.metric == "log_loss")
    assert loss.difference.value == pytest.approx(0.1 * np.log(8))
    assert loss.sentence.startswith("tenth is worse than right in log-loss (+0.208")
    scores = found.models["tenth"].overall
    assert scores["accuracy"].value == pytest.approx(accuracy_score(truth, worse.argmax(axis=1)))
    assert scores["log_loss"].value == pytest.approx(log_loss(truth, worse, labels=[0, 1, 2]))


def test_three_runs_are_compared_in_all_pairs(two: tuple[Path, Path], tmp_path: Path) -> None:
    third = write_run(tmp_path / "third", drawn(2))
    found = compare([*two, third])
    pairs = [("more", "plain"), ("third", "plain"), ("third", "more")]
    for metric in {comparison.metric for comparison in found.comparisons}:
        of_metric = [comparison for comparison in found.comparisons if comparison.metric == metric]
        assert [(one.model, one.against) for one in of_metric] == pairs
        assert [one.p_adjusted for one in of_metric] == list(holm([one.p for one in of_metric]))
        steps = [one.difference.value for one in of_metric]
        assert steps[1] == pytest.approx((steps[0] or 0) + (steps[2] or 0))
    for family in found.tests:
        assert [(pair.model, pair.against) for pair in family.pairs] == pairs
        assert [pair.p_adjusted for pair in family.pairs] == list(holm([pair.outcome.p for pair in family.pairs]))
    alone = compare(two)
    assert [one.difference for one in found.comparisons if (one.model, one.against) == pairs[0]] == [
        one.difference for one in alone.comparisons
    ]


def other_folds(table: Predictions) -> Predictions:
    return replace(table, folds=(np.unique(table.groups, return_inverse=True)[1] // 2 % N_FOLDS).astype(np.int64))


def one_label(table: Predictions) -> Predictions:
    labels = table.labels.copy()
    labels[:2] = (labels[0] + 1) % 3
    return replace(table, labels=labels)


def merged(names: np.ndarray) -> np.ndarray:
    """Put the first two lesions together."""
    return np.where(names == names[2], names[0], names)


REFUSED = {
    "folds": (
        other_folds,
        ["other folds of ", "image-00002: fold 1 in plain, fold 0 in other", "--folds-file", "--allow-different folds"],
    ),
    "labels": (one_label, ["other diagnoses of 2 images of 240", "image-00000: class class-", "--unpaired"]),
    "lesions": (
        lambda table: replace(table, lesion_ids=merged(table.lesion_ids)),
        ["other lesions of 4 images of 240", "image-00002: lesion lesion-0001 in plain, lesion lesion-0000 in other"],
    ),
    "groups": (
        lambda table: replace(table, groups=merged(table.groups)),
        ["other groups of lesions of 4 images", "image-00002: group lesion-0001 in plain", "audit"],
    ),
    "images": (
        lambda _: drawn(1, start=3),
        [
            "234 images are in both, 6 only in plain and 6 only in other", "image-00000: only in plain",
            "image-00240: only in other",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("aspect", REFUSED)
def test_runs_without_pairs_are_refused_and_compared_when_told(tmp_path: Path, aspect: str) -> None:
    change, words = REFUSED[aspect]
    runs = [write_run(tmp_path / "plain", drawn()), write_run(tmp_path / "other", change(drawn(1)))]
    with pytest.raises(UsageError, match="plain and other cannot be paired: ") as refused:
        compare(runs, out=tmp_path / "out")
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert not (tmp_path / "out").exists()
    found = compare(runs, unpaired=True)
    assert (found.paired, found.right) == (False, ())
    assert [mismatch.aspect for mismatch in found.mismatches] == [aspect]
    assert {family.method for family in found.tests} == {"delong_independent"}


def test_classes_that_differ_are_never_compared(tmp_path: Path) -> None:
    other = replace(drawn(1), classes=("class-0", "class-1", "nevus"))
    runs = [write_run(tmp_path / "plain", drawn()), write_run(tmp_path / "other", other)]
    for unpaired in (False, True):
        with pytest.raises(
            UsageError, match=r"class-0, class-1 and class-2 in the one, and class-0, class-1 and nevus"
        ):
            compare(runs, unpaired=unpaired)


def test_other_folds_or_files_may_be_paired_when_told(two: tuple[Path, Path], tmp_path: Path) -> None:
    usual = compare(two)
    table = shifted(drawn(1), "stack", 0.6)
    folds = write_run(tmp_path / "folds", other_folds(table))
    found = compare([two[0], folds], allow_different=["folds"])
    assert (found.paired, found.same_folds) == (True, False)
    assert numbers(found)["comparisons"] == numbers(usual)["comparisons"]
    assert numbers(found)["tests"] == [family for family in numbers(usual)["tests"] if family["unit"] != "fold"]
    files = write_run(tmp_path / "files", table, fingerprint="e" * 64)
    with pytest.raises(UsageError, match=r"another fingerprint(.|\n)*plain: ffff(.|\n)*files: eeee"):
        compare([two[0], files])
    allowed = compare([two[0], files], allow_different=["files", "folds"])
    assert allowed.same_folds
    assert numbers(allowed) == numbers(usual)
    with pytest.raises(UsageError, match="--allow-different images: only folds and files"):
        compare(two, allow_different=["images"])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="leave --allow-different out"):
        compare(two, unpaired=True, allow_different=["folds"])


def test_different_data_are_compared_without_pairs(tmp_path: Path) -> None:
    first, second = drawn(0, n=240), shifted(drawn(1, n=400, start=500, labels=1), "stack", 0.5)
    runs = [write_run(tmp_path / "here", first), write_run(tmp_path / "there", second)]
    found = compare(runs, unpaired=True, resamples=1000)
    (common,) = found.shared
    assert (common.images, common.lesions) == (0, 0)
    alone = [compare([run, run], unpaired=True, resamples=1000) for run in runs]
    for comparison in found.comparisons:
        values = [one.models[one.runs[0].label].overall[comparison.metric] for one in alone]
        difference = comparison.difference
        assert difference.value == pytest.approx((values[1].value or 0) - (values[0].value or 0))
        # Widths of independent samples add up as squares, as far as they are normal.
        widths = [(value.high or 0) - (value.low or 0) for value in values]
        assert (difference.high or 0) - (difference.low or 0) == pytest.approx(np.hypot(*widths), rel=0.1)
    for family in found.tests:
        (pair,) = family.pairs
        assert family.method == "delong_independent"
        tables = [first, second] if family.unit == "image" else [by_lesion(first), by_lesion(second)]
        areas = [roc_auc_score(table.labels == 0, table.probabilities["stack"][:, 0]) for table in tables]  # type: ignore[union-attr]
        assert pair.outcome.difference.value == pytest.approx(areas[1] - areas[0])
        assert pair.outcome.statistic is not None
    assert "McNemar" not in found.to_json().__str__()
    overlapping = write_run(tmp_path / "overlapping", drawn(3, start=100))
    (common,) = compare([runs[0], overlapping], unpaired=True).shared
    assert (common.images, common.lesions) == (40, 20)


def test_pairs_are_worth_more_than_no_pairs(tmp_path: Path) -> None:
    """Two runs that are right on the same lesions: the pairs find a small difference that is hidden without them."""
    first = drawn(n=400)
    runs = [write_run(tmp_path / "a", first), write_run(tmp_path / "b", shifted(first, "stack", 0.15))]
    width = {}
    for unpaired in (False, True):
        loss = compare(runs, unpaired=unpaired).comparisons[3]
        assert loss.metric == "log_loss"
        assert loss.difference.low is not None
        assert loss.difference.high is not None
        width[unpaired] = loss.difference.high - loss.difference.low
        assert loss.evidence == ("no evidence of a difference" if unpaired else "difference")
    assert width[True] > 5 * width[False]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / above / "run", drawn(seed)) for seed, above in enumerate(("x", "y"))]
    third = write_run(tmp_path / "y" / "other", drawn(2))
    found = compare([*runs, third])
    assert [run.label for run in found.runs] == ["x/run", "y/run", "other"]
    again = compare([*runs, runs[0]])
    assert [run.label for run in again.runs] == ["x/run #1", "y/run", "x/run #2"]
    models = compare([*runs, runs[0]], models=["stack", "stack", "resnet50"])
    assert [run.label for run in models.runs] == ["x/run (stack)", "y/run (stack)", "x/run (resnet50)"]
    assert [run.kind for run in models.runs] == ["ensemble", "ensemble", "backbone"]


def test_mistakes_name_the_run_and_the_mend(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two runs or more"):
        compare([two[0]])
    with pytest.raises(UsageError, match=r"has no model greedy; choose with --models from resnet50, stack"):
        compare(two, models=["greedy"])
    with pytest.raises(UsageError, match="3 were named for 2 runs"):
        compare(two, models=["stack"] * 3)
    with pytest.raises(UsageError, match="is no run folder"):
        compare([two[0], tmp_path])
    with pytest.raises(UsageError, match="formats: docx"):
        compare(two, formats=["docx"])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="at least 100"):
        compare(two, resamples=10)
    with pytest.raises(UsageError, match="malignant: mel: the classes are class-0, class-1, class-2"):
        compare(two, malignant=["mel"])
    other = write_run(tmp_path / "m", drawn(2), settings={"report": {"resamples": 200, "malignant": ["class-1"]}})
    with pytest.raises(UsageError, match=r"--malignant A,B: class-0 against class-1"):
        compare([two[0], other])
    found = compare([two[0], other], malignant=["class-1"])
    assert (len(found.tests), found.settings) == (7, {})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match=r"holds letter\.txt"):
        compare(two, out=tmp_path / "full")
    (two[1] / "predictions.csv").unlink()
    with pytest.raises(DataError, match=r"predictions\.csv is missing"):
        compare(two)


def test_a_run_with_a_single_lesion_has_no_intervals(two: tuple[Path, Path], tmp_path: Path) -> None:
    one = drawn(1, start=900)
    few = replace(
        one,
        image_ids=one.image_ids[:2], lesion_ids=one.lesion_ids[:2], groups=one.groups[:2], folds=one.folds[:2],
        labels=one.labels[:2], probabilities={model: rows[:2] for model, rows in one.probabilities.items()},
    )  # fmt: skip
    found = compare([two[0], write_run(tmp_path / "one", few)], unpaired=True, out=tmp_path / "out")
    for comparison in found.comparisons:
        assert (comparison.p, comparison.evidence) == (None, "undefined")
        assert comparison.difference.reason
    assert all(pair.outcome.p is None and pair.outcome.reason for family in found.tests for pair in family.pairs)


def test_files_hold_the_numbers_and_the_same_runs_give_the_same_bytes(two: tuple[Path, Path], tmp_path: Path) -> None:
    found = compare(two, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == json.loads(json.dumps(found.to_json()))
    rows = list(csv.DictReader(StringIO((tmp_path / "out" / "tests.csv").read_text())))
    assert len(rows) == len(found.comparisons) + len(found.tests)
    for row, comparison in zip(rows, found.comparisons, strict=False):
        assert (row["test"], row["run"], row["against"]) == ("bootstrap", "more", "plain")
        assert float(row["difference"]) == comparison.difference.value
        assert float(row["p_adjusted"]) == comparison.p_adjusted
    scores = list(csv.DictReader(StringIO((tmp_path / "out" / "scores.csv").read_text())))
    accuracy = [row for row in scores if (row["of"], row["metric"]) == ("overall", "accuracy")]
    assert [float(row["value"]) for row in accuracy] == [
        model.overall["accuracy"].value for model in found.models.values()
    ]
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"report.html", "report.pdf", "compare.json", "tests.csv", "scores.csv", "differences.svg"} <= before.keys()
    compare(two, out=tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_run_named_like_a_formula_is_text_in_a_spreadsheet(two: tuple[Path, Path], tmp_path: Path) -> None:
    first = two[0].rename(tmp_path / "=HYPERLINK(A1)")
    second = two[1].rename(tmp_path / "-1+1,\r2")
    found = compare([first, second], out=tmp_path / "out", formats=())
    labels = tuple(f"'{run.label}" for run in found.runs)
    assert labels == ("'=HYPERLINK(A1)", "'-1+1,\r2")

    def rows(name: str) -> list[dict[str, str]]:
        text = (tmp_path / "out" / name).read_bytes().decode()
        return list(csv.DictReader(StringIO(text, newline="")))

    assert {(row["against"], row["run"]) for row in rows("tests.csv")} == {labels}
    assert {row["run"] for row in rows("scores.csv")} == set(labels)
    # A negative number is none.
    assert float(rows("tests.csv")[0]["low"]) == found.comparisons[0].difference.low


def test_the_report_says_what_was_compared(two: tuple[Path, Path], tmp_path: Path) -> None:
    compare(two, out=tmp_path / "out", formats=["html"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "2 runs (plain and more) were compared on the same 240 images of 120 lesions in 3 classes" in page
    assert "Demo data" not in page
    assert "No setting differs between the runs." in page
    assert not (tmp_path / "out" / "report.pdf").exists()
    hostile = write_run(
        tmp_path / "<script>alert(1)",
        other_folds(drawn(3)),
        demo=True,
        leakage={"groups": 2, "images": 5, "n_groups": 120, "n_images": 240},
        status="interrupted",
        settings={"seed": 6, "weights": "/home/somebody/weights"},
    )
    compare([two[0], hostile], out=tmp_path / "wild", allow_different=["folds"])
    page = (tmp_path / "wild" / "report.html").read_text()
    for words in (
        "Demo data",
        "&lt;script&gt;alert(1): Leaking folds, used because leakage was allowed: 5 of 240 images",
        "&lt;script&gt;alert(1) did not come to its end (status: interrupted)",
        "other folds of ",
        "There is no test over folds.",
        "The runs differ in 2 settings",
    ):
        assert words in page, words
    assert "<script>alert" not in page
    assert "/home/somebody" not in page
