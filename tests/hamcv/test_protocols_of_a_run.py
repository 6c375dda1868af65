"""Runs that divide the images in other ways than one cross-validation."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest_runs import TINY, carry_out

from cv_folds.errors import UsageError
from cv_folds.out_of_fold import FoldLogits
from cv_folds.strata import make_strata
from cv_folds.training.fold_distances import FoldDistances
from ensemble import EnsemblePredictor
from hamcv.arms import divide, jobs_of
from hamcv.config import resolve
from hamcv.run_config import RunConfig
from hamcv.sources import open_dataset

Hamcv = Callable[..., Any]
ONE = TINY | {"backbones": ["shufflenet_v2_x0_5"], "folds": 2, "training.epochs": 1, "report.resamples": 100}
WORDS = {
    "holdout": "Test scores of ",
    "repeated": "over 2 repetitions",
    "compared": "Folds of images minus folds of lesions",
}
RESULTS = ("predictions.csv", "metrics.json")


def finished_run(folder: Path, options: dict[str, Any]) -> Path:
    carry_out(resolve("demo", ONE | options), folder)
    return folder


@pytest.fixture(scope="module")
def holdout(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"data": str(small_data), "protocol": "holdout", "split": [50, 25, 25]}
    return finished_run(tmp_path_factory.mktemp("runs") / "holdout", options)


@pytest.fixture(scope="module")
def repeated(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs") / "repeated", {"data": str(small_data), "repeats": 2})


@pytest.fixture(scope="module")
def compared(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs") / "compared", {"data": str(small_data), "protocol": "leakage"})


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_a_holdout_scores_the_test_part_once(holdout: Path, small_data: Path) -> None:
    folds, predictions = table(holdout / "folds.csv"), table(holdout / "predictions.csv")
    assert set(folds["fold"]) == {"train", "validation", "test"}
    assert folds.groupby("group")["fold"].nunique().max() == 1
    tested = folds.loc[folds["fold"] == "test", "image_id"].tolist()
    assert predictions["image_id"].tolist() == tested
    assert 0.15 < len(tested) / len(folds) < 0.4
    content = json.loads((holdout / "metrics.json").read_text())
    assert (content["protocol"], content["n_images"]) == ("holdout", len(tested))
    assert [path.name for path in (holdout / "jobs" / "shufflenet_v2_x0_5").iterdir()] == ["fold-0"]
    html = (holdout / "report.html").read_text()
    assert "Hold-out report" in html
    assert f"Every score is of the test part: {len(tested)} images" in html.replace("\N{NARROW NO-BREAK SPACE}", "")
    assert "section-spread" not in html

    dataset = open_dataset(str(small_data))
    paths = dict(zip(dataset.image_ids.tolist(), dataset.paths, strict=True))
    predictor = EnsemblePredictor.load(holdout, device="cpu")
    stored = FoldLogits.load(holdout / "jobs" / "shufflenet_v2_x0_5" / "fold-0" / "oof.npz")
    images = [paths[name] for name in tested[:4]]
    np.testing.assert_allclose(predictor.member_logits(images)[:, 0, 0], stored.logits[:4], atol=1e-4)
    # What is deployed is what was scored.
    columns = [f"stack/{name}" for name in dataset.classes]
    expected = predictions.loc[:3, columns].to_numpy(dtype=float)
    np.testing.assert_allclose(predictor.predict_proba(images), expected, atol=1e-4)
    assert "test part" in (holdout / "predictor" / "README.md").read_text()

    # The test part is new to the predictor's sets, too.
    labels = predictions["label"].map({name: label for label, name in enumerate(dataset.classes)}).to_numpy()
    rows = predictions[columns].to_numpy(dtype=float)
    hit = predictor.bundle.prediction_sets.members(rows)[np.arange(len(rows)), labels]
    by_lesion = pd.Series(hit).groupby(predictions["group"].to_numpy()).mean()
    sets = content["prediction_sets"]["methods"]
    assert list(sets) == ["lac"]
    assert sets["lac"]["coverage"]["value"] == pytest.approx(by_lesion.mean())
    assert "tried on the test part, at the thresholds of the predictor" in html

    # The limits of warnings come from the validation part.
    measured = FoldDistances.load(holdout / "jobs" / "shufflenet_v2_x0_5" / "fold-0" / "distances.npz")
    chosen = folds["fold"] == "validation"
    assert set(measured.image_ids.tolist()) == {*folds.loc[chosen, "image_id"], *tested}
    rule = predictor.bundle.outliers
    assert rule is not None
    assert rule.distance is not None
    assert rule.distance.beyond == 1 / (folds.loc[chosen, "group"].nunique() + 1)
    told = predictor.explain(images[0])
    assert told.distance is not None


def test_the_report_of_a_holdout_does_not_speak_of_folds_that_were_never_made(holdout: Path) -> None:
    page = (holdout / "report.html").read_text()
    for words in (
        "over folds",
        "than one fold",
        "cross-fitted",
        "a line a fold",
        "held-out fold",
        "fold that is held out",
    ):
        assert words not in page, words
    for words in ("all folds", "without the fold", "backbone and fold", "lesions and folds"):
        assert words not in page, words
    assert re.search(r"<th[^>]*>\s*Fold\b", page) is None
    content = json.loads((holdout / "metrics.json").read_text())
    assert content["best"]["by"] == "log_loss on the test part"
    assert content["best"]["sentence"].count("log-loss on the test part") == 1
    # There they stay, with their reason.
    over_folds = [family for family in content["tests"] if family["unit"] == "fold"]
    assert over_folds
    assert all(pair["p"] is None for family in over_folds for pair in family["pairs"])


def test_the_comparison_of_two_holdouts_does_not_either(hamcv: Hamcv, holdout: Path, tmp_path: Path) -> None:
    shutil.copytree(holdout, tmp_path / "other", ignore=shutil.ignore_patterns("figures", "gallery", "jobs"))
    screen = hamcv("compare", holdout, tmp_path / "other", "--out", tmp_path / "compared")
    assert screen.code == 0, screen.err
    assert "fold" not in screen.out
    page = (tmp_path / "compared" / "report.html").read_text()
    for words in ("over folds", "so are the folds"):
        assert words not in page, words


def test_repetitions_lie_beside_the_first_and_give_the_spread(repeated: Path) -> None:
    first, second = table(repeated / "folds.csv"), table(repeated / "repeats" / "1" / "folds.csv")
    assert first["image_id"].tolist() == second["image_id"].tolist()
    assert first["fold"].tolist() != second["fold"].tolist()
    assert second.groupby("group")["fold"].nunique().max() == 1
    content = json.loads((repeated / "metrics.json").read_text())
    assert content["repeats"]["n"] == 2
    for model, scores in content["models"].items():
        spread = content["repeats"]["models"][model]["accuracy"]
        assert spread["values"][0] == pytest.approx(scores["overall"]["accuracy"]["value"], abs=1e-12)
        rows = table(repeated / "repeats" / "1" / "predictions.csv")
        probabilities = rows[[f"{model}/{name}" for name in content["classes"]]].to_numpy(dtype=float)
        right = np.array(content["classes"])[probabilities.argmax(axis=1)] == rows["label"]
        assert spread["values"][1] == pytest.approx(right.mean())
    record = json.loads((repeated / "run.json").read_text())
    assert [job.get("arm") for job in record["jobs"]] == [None, None, "repeats/1", "repeats/1"]
    assert "section-repetitions" in (repeated / "report.html").read_text()


def test_the_image_level_arm_feeds_nothing_but_the_comparison(compared: Path) -> None:
    grouped, images = table(compared / "folds.csv"), table(compared / "image-level" / "folds.csv")
    assert grouped.groupby("group")["fold"].nunique().max() == 1
    torn = images.groupby("group")["fold"].transform("nunique") > 1
    assert torn.any()
    content = json.loads((compared / "metrics.json").read_text())
    assert content["leakage"]["n_shared"] == torn.sum()
    assert "allowed_leakage" not in content
    for model, scores in content["leakage"]["models"].items():
        for metric, score in scores.items():
            grouped = content["models"][model]["overall"][metric]["value"]
            if grouped is None or score["image_level"] is None:
                # Networks of one epoch may name one class only.
                assert metric == "mcc"
                assert score["difference"]["reason"]
                continue
            assert score["grouped"] == pytest.approx(grouped, abs=1e-12)
            assert score["difference"]["value"] == pytest.approx(score["image_level"] - score["grouped"])
    manifest = json.loads((compared / "predictor" / "manifest.json").read_text())
    weights = {path.stat().st_ino for path in (compared / "jobs").glob("*/*/model.safetensors")}
    assert len(manifest["members"]) == len(weights) == 2
    assert {(compared / "predictor" / member["file"]).stat().st_ino for member in manifest["members"]} == weights
    assert "How much of the score was the split" in (compared / "report.html").read_text()


def test_a_holdout_of_images_says_everywhere_that_it_leaks(hamcv: Hamcv, small_data: Path, tmp_path: Path) -> None:
    options = {"data": str(small_data), "protocol": "holdout", "holdout": "image", "allow_leakage": True}
    run = finished_run(tmp_path / "run", options)
    folds = table(run / "folds.csv")
    assert folds.groupby("group")["fold"].nunique().max() > 1
    for name in ("run.json", "metrics.json", "audit.json"):
        assert json.loads((run / name).read_text())["allowed_leakage"]["groups"] > 0, name
    html = (run / "report.html").read_text()
    assert "Leaking folds, used because leakage was allowed" in html[: html.index('id="section-data"')]
    assert "images of one lesion stand in several parts" in html
    assert "Leaking division" in html
    assert "grouped by lesion: all images" not in html
    assert "Caution" in (run / "predictor" / "README.md").read_text()
    assert "LEAKING FOLDS" in (run / "log.jsonl").read_text()
    screen = hamcv("report", run)
    assert screen.code == 0, screen.err
    assert "Leaking folds" in screen.out


def test_a_run_on_one_image_a_lesion_says_so(hamcv: Hamcv, small_data: Path, tmp_path: Path) -> None:
    options = {"data": str(small_data), "unit": "lesion", "protocol": "holdout", "holdout": "single_image"}
    run = finished_run(tmp_path / "run", options | {"split": [60, 20, 20]})
    folds = table(run / "folds.csv")
    first = table(small_data / "HAM10000_metadata.csv").groupby("lesion_id")["image_id"].min()
    assert sorted(folds["image_id"]) == sorted(first) != []
    record = json.loads((run / "run.json").read_text())
    assert record["data"]["n_images"] == record["data"]["n_lesions"] == len(first)
    assert f"one image of each of {len(first)} lesions" in (run / "log.jsonl").read_text()
    html = (run / "report.html").read_text()
    assert "Of each lesion one image was used, the first by image id." in html
    assert "Validation and test part hold only lesions with a single image." in html
    assert len(table(run / "training_images.csv")) < len(first)
    assert hamcv("ensemble", run).code == 0


@pytest.mark.parametrize("name", ["holdout", "repeated", "compared"])
def test_combining_and_reporting_again_give_the_same(
    name: str, hamcv: Hamcv, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    original: Path = request.getfixturevalue(name)
    run = Path(shutil.copytree(original, tmp_path / "run"))
    for command in ("ensemble", "report"):
        screen = hamcv(command, run)
        assert screen.code == 0, screen.err
        assert WORDS[name] in screen.out
        for file in RESULTS:
            assert (run / file).read_bytes() == (original / file).read_bytes(), (command, file)


def test_resuming_and_single_jobs_know_the_arms(hamcv: Hamcv, repeated: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(repeated, tmp_path / "run"))
    lost = run / "repeats" / "1" / "jobs" / "shufflenet_v2_x0_5" / "fold-1"
    kept = {path: path.stat().st_mtime_ns for path in run.rglob("jobs/*/*/model.safetensors")}
    assert len(kept) == 4
    shutil.rmtree(lost)
    screen = hamcv("ensemble", run)
    assert screen.code == 3
    assert "repeats/1, shufflenet_v2_x0_5, fold 1" in screen.err
    screen = hamcv("job", run, 3)
    assert screen.code == 0, screen.err
    assert str(lost) in screen.out
    again = {path for path, time_ns in kept.items() if path.stat().st_mtime_ns != time_ns}
    assert again == {lost / "model.safetensors"}
    assert hamcv("job", run, 4).code == 2


def test_a_holdout_takes_its_parts_from_a_file(hamcv: Hamcv, holdout: Path, tmp_path: Path) -> None:
    settings = ("--recipe", holdout / "config.toml", "--out", tmp_path / "run", "--prepare")
    screen = hamcv("run", *settings, "--folds-file", holdout / "folds.csv")
    assert screen.code == 0, screen.err
    assert "INDEX from 0 to 0" in screen.out
    assert (tmp_path / "run" / "folds.csv").read_bytes() == (holdout / "folds.csv").read_bytes()


def test_the_numbers_of_the_jobs(tiny_config: RunConfig) -> None:
    titles = [job.title for job in jobs_of(tiny_config.model_copy(update={"repeats": 2, "folds": 2}))]
    assert titles == [
        "shufflenet_v2_x0_5, fold 0", "shufflenet_v2_x0_5, fold 1", "squeezenet1_1, fold 0", "squeezenet1_1, fold 1",
        "repeats/1, shufflenet_v2_x0_5, fold 0", "repeats/1, shufflenet_v2_x0_5, fold 1",
        "repeats/1, squeezenet1_1, fold 0", "repeats/1, squeezenet1_1, fold 1",
    ]  # fmt: skip
    assert len(jobs_of(tiny_config.model_copy(update={"protocol": "leakage"}))) == 12
    assert len(jobs_of(tiny_config.model_copy(update={"protocol": "holdout"}))) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protocol": "loo"}, "'cv', 'holdout' or 'leakage'"),
        ({"protocol": "holdout", "split": [60, 30, 20]}, "add up to 100"),
        ({"protocol": "holdout", "split": [60, 40]}, "split"),
        ({"split": [70, 15, 15]}, "goes with protocol holdout only"),
        ({"protocol": "leakage", "repeats": 3}, "goes with protocol cv only"),
        ({"folds_file": "x.csv", "repeats": 3}, "leave one out"),
        ({"repeats": 0}, "repeats = 0"),
        ({"protocol": "leakage", "folds_file": "x.csv", "allow_leakage": True}, "folds that do not leak"),
    ],
)
def test_settings_that_do_not_go_together(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve("demo", options)
    assert words in str(caught.value)


def test_both_kinds_of_folds_are_stratified_by_the_same_columns(small_data: Path) -> None:
    dataset = open_dataset(str(small_data))
    config = resolve("demo", ONE | {"data": str(small_data), "protocol": "leakage", "stratify": ["sex"]})
    _, by_image = divide(dataset, dataset.lesion_ids, config)
    strata = make_strata(dataset, dataset.image_ids, ("sex",), fewest=2).labels
    counts = [np.bincount(strata[by_image.folds.folds == fold], minlength=strata.max() + 1) for fold in range(2)]
    assert (abs(counts[0] - counts[1]) <= 1).all()
