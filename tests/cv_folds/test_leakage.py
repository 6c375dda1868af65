from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from cv_folds_samples import image_row, small_folds

from cv_folds.arrays import frozen
from cv_folds.data.dataset import build_dataset
from cv_folds.disjoint_sets import DisjointSets
from cv_folds.errors import DataError
from cv_folds.leakage import ImagePair, audit_folds, identical_images, lesions_given, merge_groups


def dataset_of(tmp_path, lesions, contents, diagnoses=None):
    rows = []
    diagnoses = diagnoses or ["nv"] * len(lesions)
    for index, (lesion, content, diagnosis) in enumerate(zip(lesions, contents, diagnoses, strict=True)):
        file = tmp_path / f"image_{index:02d}.png"
        file.write_text(f"{content:>4}")
        rows.append(image_row(file.stem, lesion, diagnosis, file))
    return build_dataset(rows, name="x", root=tmp_path, demo=False)


def pair(lesion_a, lesion_b):
    return ImagePair(image_a="x", image_b="y", lesion_a=lesion_a, lesion_b=lesion_b, score=1.0)


def test_identical_files_under_two_lesion_ids_are_found(tmp_path):
    pairs = identical_images(dataset_of(tmp_path, ["A", "B", "C", "C", "D"], "xyxzz"))
    assert pairs == (
        ImagePair(image_a="image_00", image_b="image_02", lesion_a="A", lesion_b="C", score=1.0),
        ImagePair(image_a="image_03", image_b="image_04", lesion_a="C", lesion_b="D", score=1.0),
    )


def test_one_lesion_may_repeat_an_image_and_one_byte_makes_a_difference(tmp_path):
    assert identical_images(dataset_of(tmp_path, ["A", "A", "B"], "xxy")) == ()


def test_identical_images_with_two_diagnoses_are_refused_all_at_once(tmp_path):
    dataset = dataset_of(tmp_path, ["A", "B", "C", "D", "E", "F"], "xxyyzz", ["nv", "mel", "nv", "bcc", "nv", "nv"])
    with pytest.raises(DataError) as caught:
        identical_images(dataset)
    assert str(caught.value).splitlines() == [
        "identical images with different diagnoses:",
        "  image_00 (lesion A) is nv but image_01 (lesion B) is mel",
        "  image_02 (lesion C) is nv but image_03 (lesion D) is bcc",
        "correct the diagnosis in the metadata, or remove the row of one image of each pair",
    ]


@pytest.mark.parametrize("seed", range(30))
def test_groups_join_exactly_what_identical_images_connect(tmp_path, seed):
    rng = np.random.default_rng(seed)
    lesions = [f"L{index:02d}" for index in rng.integers(0, 15, 24)]
    contents = rng.integers(0, 25, 24).tolist()
    groups = merge_groups(frozen(lesions), identical_images(dataset_of(tmp_path, lesions, contents)))
    # Reference: spread the least lesion id over every image that shares a lesion or its pixels, until nothing moves.
    names = list(lesions)
    for _ in range(24):
        for a, b in combinations(range(24), 2):
            if lesions[a] == lesions[b] or contents[a] == contents[b]:
                names[a] = names[b] = min(names[a], names[b])
    assert groups.tolist() == names


@pytest.mark.parametrize("seed", range(30))
def test_every_image_with_a_copy_under_another_lesion_id_is_in_a_pair(tmp_path, seed):
    rng = np.random.default_rng(seed)
    lesions = [f"L{index}" for index in rng.integers(0, 6, 24)]
    contents = rng.integers(0, 8, 24).tolist()
    pairs = identical_images(dataset_of(tmp_path, lesions, contents))
    names = [f"image_{index:02d}" for index in range(24)]
    assert {name for pair in pairs for name in (pair.image_a, pair.image_b)} == {
        names[a] for a in range(24) if any(contents[a] == contents[b] and lesions[a] != lesions[b] for b in range(24))
    }
    # The pairs connect all copies, are of two lesions, and no more than there are copies.
    linked = DisjointSets()
    for pair in pairs:
        assert pair.lesion_a != pair.lesion_b
        linked.join(pair.image_a, pair.image_b)
    for content in set(contents):
        copies = [index for index in range(24) if contents[index] == content]
        if len({lesions[index] for index in copies}) > 1:
            assert len({linked.first(names[index]) for index in copies}) == 1
    assert len({(pair.image_a, pair.image_b) for pair in pairs}) == len(pairs) <= 24


def test_no_pairs_leave_the_lesions():
    assert merge_groups(frozen(["B", "A", "B"]), ()).tolist() == ["B", "A", "B"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_a_chain_of_lesions_is_one_group(order):
    pairs = [pair("D", "C"), pair("C", "B"), pair("A", "B"), pair("B", "A"), pair("A", "A")]
    chosen = [pairs[index] for index in order] + pairs[3:]
    assert merge_groups(frozen(["A", "B", "C", "D", "E"]), chosen).tolist() == ["A", "A", "A", "A", "E"]


def test_the_audit_of_good_folds():
    audit = audit_folds(small_folds(), ())
    assert {check.code: check.status for check in audit.checks} == {
        "L001": "passed",
        "L002": "passed",
        "L003": "passed",
    }


def test_the_audit_notices_a_lesion_that_its_group_lets_be_torn():
    folds = small_folds()
    lesions = folds.lesion_ids.copy()
    lesions[2:4] = lesions[0]
    lesions[-1] = lesions[0]
    checks = {check.code: check for check in audit_folds(replace(folds, lesion_ids=frozen(lesions)), ()).checks}
    assert checks["L001"].status == "failed"
    assert checks["L001"].severity == "error"
    assert checks["L001"].detail.startswith("1 of ")
    assert checks["L002"].status == "passed"


def test_the_audit_file_has_the_outside_shape(tmp_path):
    merged = (pair("A", "B"),)
    audit = audit_folds(small_folds(), merged)
    audit.write(tmp_path / "audit.json")
    content = json.loads((tmp_path / "audit.json").read_text())
    assert content["schema"] == 1
    expected = {"image_a": "x", "image_b": "y", "lesion_a": "A", "lesion_b": "B", "score": 1.0, "why": ""}
    assert content["merged_pairs"] == [expected]
    assert content["doubtful_pairs"] == []
    assert [set(check) for check in content["checks"]] == [{"code", "title", "severity", "status", "detail"}] * 3


@pytest.mark.parametrize(("lesions", "status"), [(["A", "A", "B"], "passed"), (["A", "", ""], "failed")])
def test_images_without_a_lesion_are_a_check_of_their_own(tmp_path, lesions, status):
    check = lesions_given(dataset_of(tmp_path, lesions, ["1", "2", "3"]))
    assert (check.status, check.severity) == (status, "warning")
    assert check.detail.startswith(f"{lesions.count('')} of 3 images name no lesion")
    audit = audit_folds(small_folds(), ())
    assert audit.with_check(check).checks == (*audit.checks, check)
