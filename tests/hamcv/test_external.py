"""``hamcv evaluate``: what was in training is left out, the rest is scored as scikit-learn scores it, all is said."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest_runs import TINY, carry_out
from PIL import Image
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from cv_folds.data.demo import write_demo_set
from cv_folds.errors import UsageError
from hamcv.config import resolve
from hamcv.external import malignant_of, parse_classes

QUICK = ("--set", 'report.formats=["html"]', "--set", "report.resamples=100")
THEIRS = {"akiec": "AK", "bcc": "BCC", "bkl": "seborrheic keratosis", "df": "DF", "mel": "Melanoma", "nv": "nevus"}
"""Their names of our classes; theirs have no vascular lesions."""


@pytest.fixture(scope="module")
def tried(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hold-out of one small network: its predictor is the very ensemble that its test part was scored by."""
    out = tmp_path_factory.mktemp("runs") / "tried"
    fast = {
        "backbones": ["shufflenet_v2_x0_5"],
        "training.epochs": 1,
        "report.resamples": 100,
        "report.formats": ["html"],
    }
    carry_out(resolve("demo", TINY | fast | {"data": str(small_data), "protocol": "holdout"}), out, jobs=1)
    return out


@pytest.fixture(scope="module")
def bundle(tried: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The predictor alone, as it is passed on."""
    return Path(shutil.copytree(tried / "predictor", tmp_path_factory.mktemp("bundles") / "theirs"))


@pytest.fixture(scope="module")
def external(small_data: Path, tried: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another demo set under names of its own, in a table of its own, with three images that are no strangers."""
    source = tmp_path_factory.mktemp("data") / "other"
    write_demo_set(source, seed=7, n_lesions=40, n_images=48)
    folder = source.with_name("hospital")
    (folder / "photos").mkdir(parents=True)
    rows = []
    for row in pd.read_csv(source / "HAM10000_metadata.csv", dtype=str, keep_default_na=False).itertuples():
        if row.dx == "vasc":
            continue
        (found,) = source.rglob(f"{row.image_id}.jpg")
        name = f"site-{row.image_id[5:]}"
        shutil.copy(found, folder / "photos" / f"{name}.jpg")
        rows.append((name, THEIRS[row.dx], f"case-{row.lesion_id[4:]}", row.sex))
    training = images_of(small_data, "training_images.csv", tried)
    shutil.copy(training[0], folder / "photos" / "copy.jpg")
    with Image.open(training[1]) as image:
        image.rotate(90, expand=True).save(folder / "photos" / "turned.jpg", quality=80)
    shutil.copy(folder / "photos" / f"{rows[0][0]}.jpg", folder / "photos" / "carcinoma.jpg")
    mate = rows[1]
    rows += [
        ("copy", "nevus", "case-copy", "male"),
        ("turned", mate[1], mate[2], "male"),
        ("carcinoma", "SCC", "case-scc", "female"),
    ]
    with (folder / "truth.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("photo", "finding", "case", "sex"), *rows])
    # Two photographs of equal content with two diagnoses are refused, so this one is of other content.
    with Image.open(folder / "photos" / "carcinoma.jpg") as image:
        flipped = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop((0, 0, 40, 30))
    flipped.save(folder / "photos" / "carcinoma.jpg")
    return folder


@pytest.fixture
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longest, for tests that do not look at the report."""
    monkeypatch.setattr("hamcv.external.build_origin_document", lambda *_: None)
    monkeypatch.setattr("hamcv.external.write_document", lambda *_: ())


def images_of(data: Path, table: str, run: Path) -> list[Path]:
    """Return the files of the images in a table of the run."""
    names = pd.read_csv(run / table, dtype=str)["image_id"]
    return [next(data.rglob(f"{name}.jpg")) for name in names]


COLUMNS = ("--set", "columns.image=photo", "--set", "columns.label=finding", "--set", "columns.lesion=case")


def excluded(out: Path) -> dict[str, tuple[str, str]]:
    table = pd.read_csv(out / "excluded.csv", dtype=str, keep_default_na=False)
    return {row.image_id: (row.reason, row.training_image) for row in table.itertuples()}


def test_what_was_in_training_is_left_out_and_the_rest_is_scored(
    hamcv: Callable[..., Any], tried: Path, external: Path, small_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores"
    screen = hamcv("evaluate", tried, "--data", external, "--out", out, *COLUMNS, *QUICK)
    assert screen.code == 0, screen.err
    names = pd.read_csv(tried / "training_images.csv", dtype=str)["image_id"]
    truth = pd.read_csv(external / "truth.csv", dtype=str, keep_default_na=False)
    of_lesion = truth["photo"][truth["case"] == truth["case"][truth["photo"] == "turned"].iloc[0]]
    mates = {name: ("lesion of a training image", names[1]) for name in of_lesion if name != "turned"}
    assert mates
    assert excluded(out) == mates | {
        "copy": ("same file", names[0]),
        "turned": ("near-duplicate", names[1]),
        "carcinoma": ("class that the model lacks", ""),
    }

    scored = pd.read_csv(out / "predictions.csv", dtype={"image_id": str})
    assert set(scored["image_id"]) == set(truth["photo"]) - excluded(out).keys()
    classes = json.loads((out / "metrics.json").read_text())["classes"]
    ours = {theirs: name for name, theirs in THEIRS.items()}
    expected = truth.set_index("photo").loc[scored["image_id"]]
    assert scored["label"].tolist() == [ours[name] for name in expected["finding"]]
    assert scored["group"].tolist() == expected["case"].tolist()
    assert "fold" not in scored
    probabilities = scored[[f"stack/{name}" for name in classes]].to_numpy()
    found = json.loads((out / "metrics.json").read_text())["models"]["stack"]
    labels = np.array([classes.index(name) for name in scored["label"]])
    assert found["overall"]["accuracy"]["value"] == accuracy_score(labels, probabilities.argmax(axis=1))
    assert found["overall"]["log_loss"]["value"] == pytest.approx(log_loss(labels, probabilities, labels=range(7)))
    nv = classes.index("nv")
    assert found["per_class"]["nv"]["auc"]["value"] == pytest.approx(roc_auc_score(labels == nv, probabilities[:, nv]))
    assert found["per_class"]["vasc"]["auc"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "no image of this class",
    }

    by_sex = json.loads((out / "metrics.json").read_text())["subgroups"]["attributes"]["sex"]["groups"]
    assert {name: group["n_images"] for name, group in by_sex.items()} == expected["sex"].replace(
        {"": "not known", "unknown": "not known"}
    ).value_counts().to_dict()
    right = (labels == probabilities.argmax(axis=1))[(expected["sex"] == "female").to_numpy()]
    assert by_sex["female"]["models"]["stack"]["accuracy"]["value"] == pytest.approx(right.mean())

    answers = pd.read_csv(out / "answers.csv", dtype={"image": str}, keep_default_na=False)
    assert answers["image"].tolist() == scored["image_id"].tolist()
    np.testing.assert_array_equal(answers[classes], probabilities)
    sets = json.loads((out / "metrics.json").read_text())["prediction_sets"]
    threshold = json.loads((tried / "predictor" / "manifest.json").read_text())["prediction_set"]["thresholds"]
    inside = 1 - probabilities <= np.array(threshold)
    inside[np.arange(len(labels)), probabilities.argmax(axis=1)] = True
    hit = pd.Series(inside[np.arange(len(labels)), labels].astype(float)).groupby(scored["group"]).mean()
    assert list(sets["methods"]) == ["lac"]
    assert sets["methods"]["lac"]["coverage"]["value"] == pytest.approx(hit.mean())

    decisions = json.loads((out / "metrics.json").read_text())["decisions"]["stack"]
    assert decisions["max_probability"]["accuracy"] == found["overall"]["accuracy"]
    assert set(decisions) == {"max_probability", "balanced"}

    record = json.loads((out / "evaluation.json").read_text())
    assert {row["theirs"]: row["ours"] for row in record["classes"]} == ours | {"SCC": None}
    assert record["near_duplicates"]["looked_for"] is True
    assert record["near_duplicates"]["training_images_compared"] == len(names)
    assert sum(record["excluded"].values()) + record["n_scored_images"] == record["data"]["n_images"] == len(truth)
    assert record["model"]["demo"] is True
    assert record["n_warned_images"] == (answers["warning"] != "").sum()
    for words in ("class AK is taken for akiec (synonym)", "1 image (near-duplicate)", "no scored image is of vasc"):
        assert words in screen.err
    assert "External scores" in screen.out
    assert "DEMO SET" in screen.out
    page = (out / "report.html").read_text()
    assert f"Near-duplicates were looked for among all {len(names)} training images." in page
    assert "The model lacks SCC" in page
    assert "at the thresholds of the predictor" in page
    assert 'id="beside-own-data"' in page
    assert "Demo data" in page
    assert str(external.parent) not in page
    assert not list(out.glob("*.pdf"))


def test_the_test_part_of_a_holdout_gets_the_scores_of_its_run(
    hamcv: Callable[..., Any], tried: Path, small_data: Path, tmp_path: Path, no_pages: None
) -> None:
    out = tmp_path / "again"
    screen = hamcv("evaluate", tried, "--data", small_data, "--out", out, *QUICK)
    assert screen.code == 0, screen.err
    ours, theirs = (pd.read_csv(folder / "predictions.csv").set_index("image_id") for folder in (out, tried))
    assert sorted(ours.index) == sorted(theirs.index)
    columns = [column for column in ours if column.startswith("stack/")]
    np.testing.assert_allclose(ours[columns], theirs.loc[ours.index, columns], atol=1e-5)
    values = [
        json.loads((folder / "metrics.json").read_text())["models"]["stack"]["overall"]["accuracy"]
        for folder in (out, tried)
    ]
    assert values[0] == values[1]
    folds = pd.read_csv(tried / "folds.csv")
    assert set(excluded(out)) == set(folds["image_id"][folds["fold"] != "test"])
    assert {reason for reason, _ in excluded(out).values()} == {"same file"}


def test_an_ensemble_is_not_scored_on_what_it_learned_from(
    hamcv: Callable[..., Any], tried: Path, small_data: Path, tmp_path: Path
) -> None:
    for number, file in enumerate(images_of(small_data, "training_images.csv", tried)[:12]):
        folder = tmp_path / "seen" / ("nv", "mel")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / f"renamed-{number}.jpg")
    screen = hamcv("evaluate", tried, "--data", tmp_path / "seen", "--out", tmp_path / "out", *QUICK)
    assert screen.code == 3
    assert "nothing is left to score, since 12 of 12 images were in training" in screen.err
    assert "same file: 12 of 12 images" in screen.err
    assert not (tmp_path / "out").exists()


def test_a_bundle_says_on_every_page_that_near_duplicates_were_not_looked_for(
    hamcv: Callable[..., Any], bundle: Path, external: Path, tmp_path: Path
) -> None:
    command = ("evaluate", bundle, "--data", external, *COLUMNS, *QUICK)
    assert hamcv(*command, "--out", tmp_path / "alone", "--tta", 2).code == 0
    assert excluded(tmp_path / "alone").keys() == {"copy", "carcinoma"}
    page = (tmp_path / "alone" / "report.html").read_text()
    words = "Near-duplicates of training images could not be looked for: a bundle does not hold them."
    assert words in page[: page.index("<header>")]
    assert "run on images as they are, here it saw them in 2 quarter turns and mirror images; " in page
    assert 'id="beside-own-data"' not in page
    record = json.loads((tmp_path / "alone" / "evaluation.json").read_text())
    assert record["near_duplicates"] == {
        "looked_for": False,
        "training_images_compared": None,
        "why_not_all": "a bundle does not hold them",
        "doubtful": [],
    }
    assert record["model"]["views"] == 2


def test_spins_other_than_those_of_the_run_are_said_on_screen_and_in_the_report(
    hamcv: Callable[..., Any], bundle: Path, external: Path, tmp_path: Path
) -> None:
    spun = Path(shutil.copytree(bundle, tmp_path / "spun"))
    manifest = json.loads((spun / "manifest.json").read_text())
    assert manifest["preprocessing"]["held_out_spins"] == 0
    manifest["preprocessing"]["held_out_spins"] = 3
    (spun / "manifest.json").write_text(json.dumps(manifest))
    command = ("evaluate", spun, "--data", external, *COLUMNS, *QUICK)
    screen = hamcv(*command, "--out", tmp_path / "plain", "--spins", 0)
    assert screen.code == 0, screen.err
    words = (
        "scored and calibrated in its run on images under 3 spins, here it saw them as they are; --tta 1 --spins 3 does"
    )
    assert words in " ".join(screen.err.split())
    assert words in (tmp_path / "plain" / "report.html").read_text()
    screen = hamcv(*command, "--out", tmp_path / "alike")
    assert screen.code == 0, screen.err
    assert "calibrated in its run" not in screen.err + (tmp_path / "alike" / "report.html").read_text()


def test_the_images_of_the_training_may_be_named(
    hamcv: Callable[..., Any], bundle: Path, external: Path, small_data: Path, tmp_path: Path, no_pages: None
) -> None:
    command = ("evaluate", bundle, "--data", external, *COLUMNS, *QUICK)
    # The folder takes one evaluation after the other.
    for _ in range(2):
        screen = hamcv(*command, "--out", tmp_path / "out", "--training-data", small_data)
        assert screen.code == 0, screen.err
    assert excluded(tmp_path / "out")["turned"][0] == "near-duplicate"
    assert "Near-duplicates were looked for among all" in screen.err
    for number, file in enumerate(sorted((external / "photos").iterdir())[:4]):
        folder = tmp_path / "strangers" / ("nv", "mel")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder)
    screen = hamcv(*command, "--out", tmp_path / "wrong", "--training-data", tmp_path / "strangers")
    assert screen.code == 3
    assert "holds none of the" in screen.err


def test_a_bundle_without_the_list_needs_the_images(
    hamcv: Callable[..., Any], bundle: Path, external: Path, small_data: Path, tmp_path: Path, no_pages: None
) -> None:
    old = Path(shutil.copytree(bundle, tmp_path / "old"))
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["files"]["training_images.csv"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    (old / "training_images.csv").unlink()
    off = ("--set", "audit.near_duplicates=false")
    command = ("evaluate", old, "--data", external, "--out", tmp_path / "out", *COLUMNS, *QUICK, *off)
    screen = hamcv(*command)
    assert screen.code == 3
    assert "--training-data PATH" in screen.err
    assert hamcv(*command, "--training-data", small_data).code == 0
    assert excluded(tmp_path / "out").keys() == {"copy", "carcinoma"}
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert record["near_duplicates"]["why_not_all"] == "the search was switched off"


def test_equal_ids_count_unless_the_set_has_its_own(
    hamcv: Callable[..., Any], bundle: Path, small_data: Path, tmp_path: Path, no_pages: None
) -> None:
    write_demo_set(tmp_path / "namesakes", seed=9, n_lesions=40, n_images=44)
    off = ("--set", "audit.near_duplicates=false")
    command = ("evaluate", bundle, "--data", tmp_path / "namesakes", "--out", tmp_path / "out", *QUICK, *off)
    learned = set(pd.read_csv(bundle / "training_images.csv")["image_id"])
    assert hamcv(*command).code == 0
    reasons = excluded(tmp_path / "out")
    assert {image for image, (reason, _) in reasons.items() if reason == "same image id"} == {
        name for name in pd.read_csv(tmp_path / "namesakes" / "HAM10000_metadata.csv")["image_id"] if name in learned
    }
    assert hamcv(*command, "--own-ids").code == 0
    assert excluded(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--classes", "SCC=scc"), 2, "SCC=scc: the model has no class scc"),
        (("--classes", "SCC"), 2, "write THEIRS=OURS"),
        (("--classes", "AK=,BCC=,DF=,Melanoma=,nevus=,seborrheic keratosis="), 3, "the model knows akiec"),
        (("--set", "training.epochs=3"), 2, "columns.KEY, audit.KEY and report.KEY only"),
        (("--tta", "9"), 2, "--tta"),
        (("--device", "tpu"), 2, "tpu"),
    ],
)
def test_options_that_do_not_fit_are_named(
    hamcv: Callable[..., Any],
    bundle: Path,
    external: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    off = ("--set", "audit.near_duplicates=false")
    out = tmp_path / "out"
    screen = hamcv("evaluate", bundle, "--data", external, "--out", out, *COLUMNS, *QUICK, *off, *options)
    assert screen.code == code
    assert words in screen.err
    assert not out.exists()


def test_a_folder_of_something_else_is_left_alone(
    hamcv: Callable[..., Any], tried: Path, external: Path, tmp_path: Path
) -> None:
    before = sorted(path.name for path in tried.iterdir())
    for out in (tried, external):
        screen = hamcv("evaluate", tried, "--data", external, "--out", out, *COLUMNS)
        assert screen.code == 2
        assert "no earlier evaluation" in screen.err
    assert sorted(path.name for path in tried.iterdir()) == before


def test_what_a_run_counts_as_malignant_counts_elsewhere_too(tmp_path: Path) -> None:
    assert malignant_of(tmp_path) is None
    (tmp_path / "config.toml").write_text(resolve("demo", {"report.malignant": ["mel", "bkl"]}).to_toml())
    assert malignant_of(tmp_path) == ("mel", "bkl")


def test_classes_are_parsed() -> None:
    assert parse_classes([]) == {}
    assert parse_classes(["AK=akiec, SCC = akiec", "UNK="]) == {"AK": "akiec", "SCC": "akiec", "UNK": ""}
    assert parse_classes(['"nevus, blue=nv",x=mel']) == {"nevus, blue": "nv", "x": "mel"}
    with pytest.raises(UsageError, match="AK is named twice"):
        parse_classes(["AK=akiec", "AK=bcc"])
    with pytest.raises(UsageError, match=r"--classes 'AK=akiec\\nSCC=akiec'"):
        parse_classes(["AK=akiec\nSCC=akiec"])
