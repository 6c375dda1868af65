from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps
from rich.console import Console

from cv_folds.errors import UsageError
from cv_folds.near_duplicates.settings import AuditSettings
from hamcv.config import resolve
from hamcv.folding import group, split
from hamcv.job import prepare, run_job_alone
from hamcv.preflight import preflight
from hamcv.sources import open_dataset

Hamcv = Callable[..., Any]


@pytest.fixture(scope="module")
def data(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small set with views of four images in place of images of other lesions; the last of another diagnosis."""
    folder = tmp_path_factory.mktemp("data") / "views"
    shutil.copytree(small_data, folder)
    dataset = open_dataset(str(folder))
    _, first = np.unique(dataset.lesion_ids, return_index=True)
    alone = [row for row in first.tolist() if (dataset.lesion_ids == dataset.lesion_ids[row]).sum() == 1]
    nevi = [row for row in alone if dataset.classes[dataset.labels[row]] == "nv"]
    other = next(row for row in alone if dataset.classes[dataset.labels[row]] == "mel")
    for source, target, turn in (
        (nevi[0], nevi[1], lambda image: image.rotate(180)),
        (nevi[2], nevi[3], ImageOps.mirror),
        (nevi[3], nevi[4], lambda image: image.rotate(90)),
        (nevi[5], other, lambda image: image.rotate(180)),
    ):
        with Image.open(dataset.paths[source]) as image:
            turn(image.convert("RGB")).save(dataset.paths[target], quality=95)
    return folder


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cv_folds.published_split import SplitColumns
    from hamcv.auditing import AuditOptions, audit_data

    folder = tmp_path_factory.mktemp("audit") / "out"
    options = AuditOptions(out=folder, jobs=2, folds=None, columns=SplitColumns())
    audit = audit_data(open_dataset(str(data)), AuditSettings(), options, Console(file=StringIO()))
    assert {path.name for path in audit.files} == {"audit.json", "pairs.csv", "merged.html", "doubtful.html"}
    return folder


def merged_pairs(out: Path) -> list[dict[str, Any]]:
    pairs: list[dict[str, Any]] = json.loads((out / "audit.json").read_text())["merged_pairs"]
    return pairs


def test_the_audit_finds_the_views(out: Path, data: Path) -> None:
    dataset = open_dataset(str(data))
    merged = merged_pairs(out)
    assert len(merged) >= 3
    lesions = dict(zip(dataset.image_ids.tolist(), dataset.lesion_ids.tolist(), strict=True))
    for pair in merged:
        assert pair["lesion_a"] == lesions[pair["image_a"]] != pair["lesion_b"] == lesions[pair["image_b"]]
        assert 0.5 < pair["score"] <= 1
        assert "points agree" in pair["why"]
    assert sum("DIFFERENT DIAGNOSES" in pair["why"] for pair in merged) == 1


def test_the_pages_hold_every_pair_and_load_nothing(out: Path) -> None:
    page = (out / "merged.html").read_text()
    for pair in merged_pairs(out):
        assert pair["image_a"] in page
        assert pair["lesion_b"] in page
    assert page.count("data:image/jpeg;base64,") == 3 * len(merged_pairs(out))
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert page.count("Different diagnoses: ") == 1
    doubtful = (out / "doubtful.html").read_text()
    n_doubtful = len(json.loads((out / "audit.json").read_text())["doubtful_pairs"])
    assert doubtful.count("<article>") == n_doubtful
    assert ("There is no such pair." in doubtful) == (n_doubtful == 0)


def test_the_table_can_be_given_back_as_decisions(hamcv: Hamcv, out: Path, data: Path, tmp_path: Path) -> None:
    with (out / "pairs.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["taken_for"] for row in rows].count("merged") == len(merged_pairs(out))
    assert {row["taken_for"] for row in rows} <= {"merged", "doubtful"}
    screen = hamcv("data", "audit", data, "--reject", out / "pairs.csv", "--out", tmp_path / "again")
    assert screen.code == 0
    assert merged_pairs(tmp_path / "again") == []
    assert "60 lesion ids are 60 groups" in screen.out
    kept = hamcv("data", "audit", data, "--accept", out / "pairs.csv", "--out", tmp_path / "kept")
    assert kept.code == 0
    assert all(pair["why"].startswith("accepted by a person; ") for pair in merged_pairs(tmp_path / "kept"))
    assert len(merged_pairs(tmp_path / "kept")) == len(rows)


def test_the_screen_says_what_was_merged(hamcv: Hamcv, data: Path) -> None:
    screen = hamcv("data", "audit", data)
    assert screen.code == 0
    assert "have two diagnoses: " in screen.out
    assert "60 lesion ids are 56 groups" in screen.out
    assert "wrote" not in screen.out


def test_a_rejected_pair_that_others_join_is_told_on_the_screen_and_in_the_file(
    hamcv: Hamcv, out: Path, data: Path, tmp_path: Path
) -> None:
    # Three lesions are views of one: any pair of them stands together by the third.
    pairs = merged_pairs(out)
    lesions = [lesion for pair in pairs for lesion in (pair["lesion_a"], pair["lesion_b"])]
    three = [pair for pair in pairs if lesions.count(pair["lesion_a"]) + lesions.count(pair["lesion_b"]) > 2]
    images = {image for pair in three for image in (pair["image_a"], pair["image_b"])}
    assert len(images) == 3
    one, other = sorted(images)[:2]
    (tmp_path / "reject.csv").write_text(f"image_a,image_b\n{one},{other}\n")
    third = sorted(images)[2]
    (tmp_path / "accept.csv").write_text(f"image_a,image_b\n{one},{third}\n")
    options = ("--reject", tmp_path / "reject.csv", "--accept", tmp_path / "accept.csv", "--out", tmp_path / "again")
    screen = hamcv("data", "audit", data, *options)
    assert screen.code == 0
    assert "Is every rejected pair kept apart? 1 of 1 rejected pairs are in one group all the same: " in screen.out
    checks = json.loads((tmp_path / "again" / "audit.json").read_text())["checks"]
    assert {check["code"]: check["status"] for check in checks}["L008"] == "failed"


def test_wrong_decisions_end_with_their_rows(hamcv: Hamcv, out: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "accept.csv").write_text("image_a,image_b\nnowhere,nothing\n")
    screen = hamcv("data", "audit", data, "--accept", tmp_path / "accept.csv", "--reject", out / "pairs.csv")
    assert screen.code == 3
    assert "accept.csv, row 2" in screen.err
    assert screen.out == ""


def test_a_file_as_folder_is_refused(hamcv: Hamcv, data: Path) -> None:
    screen = hamcv("data", "audit", data, "--out", data / "HAM10000_metadata.csv")
    assert screen.code == 2
    assert "is a file" in screen.err


def test_a_split_that_tears_a_pair_leaks(hamcv: Hamcv, out: Path, data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(str(data))
    pair = merged_pairs(out)[0]
    lesion = {pair["image_a"]: "train", pair["image_b"]: "test"}
    others = [image for image in dataset.image_ids.tolist() if image not in lesion]
    groups = group(dataset, AuditSettings()).groups
    of_group = dict(zip(dataset.image_ids.tolist(), groups.tolist(), strict=True))
    together = {image for image in others if of_group[image] == of_group[pair["image_a"]]}
    lines = [f"{image},train" for image in others if image not in together]
    lines += [f"{image},{part}" for image, part in lesion.items()]
    (tmp_path / "split.csv").write_text("image,part\n" + "\n".join(lines) + "\n")
    screen = hamcv("data", "audit", data, "--folds", tmp_path / "split.csv", "--out", tmp_path / "audit")
    assert screen.code == 3
    assert "1 of 1 test images" in screen.err
    assert json.loads((tmp_path / "audit" / "split.json").read_text())["leaks"] is True
    unsearched = hamcv("data", "audit", data, "--folds", tmp_path / "split.csv", "--set", "audit.near_duplicates=false")
    assert unsearched.code == 0
    assert "near-duplicates were not searched for" in unsearched.out


def test_folds_keep_pairs_together_unless_they_are_rejected(
    hamcv: Hamcv, out: Path, data: Path, tmp_path: Path
) -> None:
    assert hamcv("folds", "--data", data, "--folds", "3", "--out", tmp_path / "folds.csv").code == 0
    folds = pd.read_csv(tmp_path / "folds.csv").set_index("image_id")
    for pair in merged_pairs(out):
        assert folds.loc[pair["image_a"], "fold"] == folds.loc[pair["image_b"], "fold"]
        assert folds.loc[pair["image_a"], "group"] == folds.loc[pair["image_b"], "group"]
    for setting in (f"audit.reject={out / 'pairs.csv'}", "audit.near_duplicates=false"):
        arguments = ("folds", "--data", data, "--folds", "3", "--out", tmp_path / "apart.csv", "--set", setting)
        assert hamcv(*arguments).code == 0
        apart = pd.read_csv(tmp_path / "apart.csv")
        assert (apart["group"] == apart["lesion_id"]).all()


def test_folds_take_no_other_settings(hamcv: Hamcv, data: Path, tmp_path: Path) -> None:
    screen = hamcv("folds", "--data", data, "--out", tmp_path / "folds.csv", "--set", "training.epochs=1")
    assert screen.code == 2
    assert "columns.KEY, audit.KEY and unit only" in screen.err


TINY = {"backbones": ["squeezenet1_1"], "folds": 3, "weights": "none", "training.image_size": 32}


def test_a_prepared_run_keeps_what_it_found(data: Path, out: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Its jobs do not search again, on whatever machine they run."""
    config = resolve("demo", TINY | {"data": str(data), "training.epochs": 1})
    prepare(config, tmp_path / "run", overwrite=False, console=Console(file=StringIO()))
    assert merged_pairs(tmp_path / "run") == merged_pairs(out)
    before = (tmp_path / "run" / "folds.csv").read_text()
    monkeypatch.setattr("hamcv.folding.find_shared_lesions", None)
    outcome = run_job_alone(tmp_path / "run", 0, Console(file=StringIO()))
    assert outcome.error is None
    assert (tmp_path / "run" / "folds.csv").read_text() == before


def test_changed_decisions_are_refused_when_a_run_is_resumed(data: Path, out: Path, tmp_path: Path) -> None:
    reject = tmp_path / "reject.csv"
    reject.write_text("image_a,image_b\n")
    config = resolve("demo", TINY | {"data": str(data), "audit.reject": str(reject)})
    prepare(config, tmp_path / "run", overwrite=False, console=Console(file=StringIO()))
    shutil.copy(out / "pairs.csv", reject)
    with pytest.raises(UsageError, match=r"audit\.reject = .*are not those that"):
        prepare(config, tmp_path / "run", overwrite=False, console=Console(file=StringIO()))


def test_decisions_may_name_images_outside_a_part_of_the_data(data: Path, out: Path) -> None:
    config = resolve(
        "demo", TINY | {"data": str(data), "limit_lesions": 30, "folds": 2, "audit.accept": str(out / "pairs.csv")}
    )
    found = preflight(config, download=False)
    assert len(found.dataset) < len(open_dataset(str(data)))


def test_nothing_is_searched_for_when_it_is_not_wanted(data: Path) -> None:
    made = split(open_dataset(str(data)), n_folds=3, seed=0, audit=AuditSettings(near_duplicates=False))
    assert made.shared.merged == made.shared.found == ()
    assert {check.code: check.status for check in made.shared.checks}["L005"] == "skipped"


def test_the_small_set_itself_has_no_pairs(small_data: Path) -> None:
    shared = group(open_dataset(str(small_data)), AuditSettings())
    assert shared.merged == ()
