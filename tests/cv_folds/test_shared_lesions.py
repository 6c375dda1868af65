from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from cv_folds_samples import image_row

from cv_folds.data.dataset import build_dataset
from cv_folds.leakage import audit_folds, identical_images
from cv_folds.near_duplicates.decisions import Decisions
from cv_folds.near_duplicates.search import FoundPair
from cv_folds.shared_lesions import find_shared_lesions, join_lesions
from cv_folds.splits import inner_split, make_folds, torn_groups

NONE = Decisions(accepted=frozenset(), rejected=frozenset())


def dataset_of(tmp_path, lesions, diagnoses=None):
    rows = []
    for index, (image, lesion) in enumerate(lesions.items()):
        file = tmp_path / f"{image}.png"
        file.write_text(f"{index:04d}")
        rows.append(image_row(image, lesion, (diagnoses or {}).get(image, "nv"), file))
    return build_dataset(rows, name="x", root=tmp_path, demo=False)


def pair(image_a, image_b, verdict="confirmed", score=0.99):
    return FoundPair(
        image_a=image_a, image_b=image_b, verdict=verdict, score=score, mirrored=False, degrees=0.0, scale=1.0,
        inliers=20, possible=50, overlap=0.8, correlation=0.9, matrix=(1, 0, 0, 0, 1, 0),
    )  # fmt: skip


def decisions(accepted=(), rejected=()):
    return Decisions(accepted=frozenset(accepted), rejected=frozenset(rejected))


def joined(dataset, found, decided=NONE):
    return join_lesions(dataset, (), found, decided, searched=True)


def images(pairs):
    return [(found.image_a, found.image_b) for found in pairs]


SIX = {"a": "A", "b": "B", "c": "C", "d": "D", "e": "E", "f": "E"}


def test_confirmed_pairs_join_their_lesions_and_doubtful_ones_do_not(tmp_path):
    dataset = dataset_of(tmp_path, SIX)
    shared = joined(dataset, [pair("a", "b"), pair("c", "d", "doubtful", 0.6)])
    assert shared.groups.tolist() == ["A", "A", "C", "D", "E", "E"]
    assert images(shared.merged) == [("a", "b")]
    assert images(shared.doubtful) == [("c", "d")]
    assert shared.merged[0].lesion_a == "A"
    assert "20 of 50 points" in shared.merged[0].why


def test_doubtful_pairs_of_lesions_that_are_together_anyway_are_left_out(tmp_path):
    dataset = dataset_of(tmp_path, SIX)
    shared = joined(dataset, [pair("a", "b"), pair("b", "c"), pair("a", "c", "doubtful", 0.6)])
    assert shared.doubtful == ()


def test_of_two_lesions_the_strongest_pair_is_listed_and_names_the_others(tmp_path):
    dataset = dataset_of(tmp_path, SIX)
    found = [pair("a", "e"), pair("b", "e"), pair("a", "f"), pair("b", "f", "doubtful", 0.6)]
    shared = joined(dataset, found)
    assert images(shared.merged) == [("a", "e"), ("b", "e")]
    assert shared.merged[0].why.endswith("; also a and f")
    assert "also" not in shared.merged[1].why
    assert shared.doubtful == ()


def test_every_pair_of_images_counts_as_alike_not_only_the_one_that_is_listed(tmp_path):
    dataset = dataset_of(tmp_path, SIX)
    found = [pair("a", "e"), pair("b", "e"), pair("a", "f"), pair("b", "f", "doubtful", 0.6), pair("c", "d")]
    shared = joined(dataset, found, decisions(accepted=[("d", "f")], rejected=[("c", "d")]))
    assert {image: "".join(sorted(others - {image})) for image, others in shared.alike.items()} == {
        "a": "ef", "b": "e", "d": "f", "e": "ab", "f": "ad",
    }  # fmt: skip


def test_of_lesions_that_an_identical_or_accepted_pair_joins_the_confirmed_pairs_are_alike_too(tmp_path):
    lesions = {"a": "A", "b": "A", "c": "B", "d": "B", "e": "C", "f": "C"}
    dataset = dataset_of(tmp_path, lesions)
    for name in "ac":
        (tmp_path / f"{name}.png").write_text("same")
    shared = join_lesions(
        dataset, identical_images(dataset), [pair("b", "d"), pair("c", "e")], decisions(accepted=[("d", "f")]),
        searched=True,
    )  # fmt: skip
    assert images(shared.merged) == [("a", "c"), ("d", "f")]
    assert {image: "".join(sorted(others - {image})) for image, others in shared.alike.items()} == {
        "a": "ce", "b": "d", "c": "ae", "d": "bf", "e": "ac", "f": "d",
    }  # fmt: skip


def test_a_rejected_pair_that_stands_together_through_a_third_lesion_is_told(tmp_path):
    dataset = dataset_of(tmp_path, SIX)
    found = [pair("a", "b"), pair("a", "c"), pair("b", "c")]
    shared = joined(dataset, found, decisions(rejected=[("a", "b"), ("a", "d")]))
    assert shared.groups.tolist() == ["A", "A", "A", "D", "E", "E"]
    check = {check.code: check for check in shared.checks}["L008"]
    assert check.status == "failed"
    assert "1 of 2 rejected pairs are in one group all the same: a and b by a with c, b with c." in check.detail
    assert any(check.detail in words for words in shared.words)
    apart = joined(dataset, found, decisions(rejected=[("a", "b"), ("a", "c")]))
    assert {check.code: check.status for check in apart.checks}["L008"] == "passed"


def test_a_rejected_pair_joins_nothing_and_is_not_shown_again(tmp_path):
    dataset = dataset_of(tmp_path, SIX)
    found = [pair("a", "b"), pair("c", "d", "doubtful", 0.6)]
    shared = joined(dataset, found, decisions(rejected=[("a", "b"), ("c", "d")]))
    assert shared.merged == shared.doubtful == ()
    assert shared.groups.tolist() == ["A", "B", "C", "D", "E", "E"]


def test_a_rejection_holds_for_all_images_of_the_two_lesions(tmp_path):
    dataset = dataset_of(tmp_path, SIX)
    shared = joined(dataset, [pair("a", "e"), pair("a", "f", "doubtful", 0.6)], decisions(rejected=[("a", "f")]))
    assert shared.merged == shared.doubtful == ()


def test_an_accepted_pair_of_one_lesion_id_is_nothing_new(tmp_path):
    shared = joined(dataset_of(tmp_path, SIX), [], decisions(accepted=[("e", "f")]))
    assert shared.merged == ()


def test_accepted_pairs_join_whether_they_were_found_or_not(tmp_path):
    dataset = dataset_of(tmp_path, SIX)
    shared = joined(dataset, [pair("c", "d", "doubtful", 0.6)], decisions(accepted=[("c", "d"), ("a", "f")]))
    assert shared.groups.tolist() == ["A", "B", "C", "C", "A", "A"]
    assert [(found.score, found.why) for found in shared.merged] == [
        (1.0, "accepted by a person"),
        (0.6, "accepted by a person; " + pair("c", "d").why),
    ]


def test_decisions_about_images_outside_a_part_of_the_data_are_passed_over(tmp_path):
    dataset = dataset_of(tmp_path, {"a": "A", "b": "B"})
    shared = joined(dataset, [], decisions(accepted=[("a", "z")], rejected=[("y", "z")]))
    assert shared.merged == ()


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_what_the_pairs_connect(tmp_path, seed):
    rng = np.random.default_rng(seed)
    lesions = {f"i{index:02d}": f"L{rng.integers(0, 12):02d}" for index in range(20)}
    dataset = dataset_of(tmp_path, lesions)
    every = [names for names in combinations(sorted(lesions), 2) if lesions[names[0]] != lesions[names[1]]]
    chosen = [every[index] for index in rng.choice(len(every), 8, replace=False)]
    groups = joined(dataset, [pair(*names) for names in chosen]).groups
    names = dict(lesions)
    for _ in range(20):
        for a, b in combinations(sorted(lesions), 2):
            if lesions[a] == lesions[b] or (a, b) in chosen:
                names[a] = names[b] = min(names[a], names[b])
    assert groups.tolist() == [names[image] for image in dataset.image_ids.tolist()]


def test_lesions_of_two_diagnoses_are_kept_together_and_named(tmp_path):
    dataset = dataset_of(tmp_path, SIX, {"a": "mel"})
    shared = joined(dataset, [pair("a", "b"), pair("c", "d")])
    assert shared.groups.tolist() == ["A", "A", "C", "C", "E", "E"]
    assert "DIFFERENT DIAGNOSES: mel and nv" in shared.merged[0].why
    assert "DIFFERENT" not in shared.merged[1].why
    check = {check.code: check for check in shared.checks}["L006"]
    assert check.status == "failed"
    assert check.severity == "warning"
    assert "1 of 2" in check.detail
    assert "a (mel) and b (nv)" in check.detail
    assert any("a (mel)" in words for words in shared.words)


def test_folds_cope_with_groups_of_two_diagnoses(tmp_path):
    lesions = {f"i{index:03d}": f"L{index // 2:03d}" for index in range(120)}
    diagnoses = {image: ("nv", "mel", "bcc")[int(lesion[1:]) % 3] for image, lesion in lesions.items()}
    dataset = dataset_of(tmp_path, lesions, diagnoses)
    found = [pair(f"i{index:03d}", f"i{index + 2:03d}") for index in range(0, 60, 6)]
    shared = joined(dataset, found)
    folds = make_folds(dataset, n_folds=5, seed=0, groups=shared.groups)
    assert torn_groups(folds.groups, folds.folds) == []
    for fold in range(5):
        split = inner_split(folds, fold, parts=4, seed=0)
        assert not set(folds.groups[split.train]) & set(folds.groups[split.validation])


def statuses(shared):
    return {check.code: check.status for check in shared.checks}


def test_the_checks_say_what_was_looked_for(tmp_path):
    dataset = dataset_of(tmp_path, SIX)
    nothing = {"L004": "not_applicable", "L005": "passed", "L006": "not_applicable", "L007": "passed"}
    nothing |= {"L008": "not_applicable"}
    assert statuses(joined(dataset, [])) == nothing
    unsearched = join_lesions(dataset, (), (), NONE, searched=False)
    assert statuses(unsearched) == nothing | {"L005": "skipped", "L007": "skipped"}
    some = joined(dataset, [pair("a", "b"), pair("c", "d", "doubtful", 0.6)])
    assert statuses(some) == {"L004": "not_applicable", "L005": "passed", "L006": "passed", "L007": "failed"} | {
        "L008": "not_applicable"
    }
    assert [words.partition("?")[0] for words in some.words] == [
        "Are near-duplicates under different lesion ids kept together",
        "Has every doubtful pair been decided",
    ]


def test_identical_files_come_first_and_no_pair_twice(tmp_path):
    dataset = dataset_of(tmp_path, SIX)
    for name in "ab":
        (tmp_path / f"{name}.png").write_text("same")
    shared = find_shared_lesions(dataset, decisions(accepted=[("a", "b")]), search=False, root=tmp_path, workers=1)
    assert [(found.image_a, found.image_b, found.why) for found in shared.merged] == [
        ("a", "b", "files of equal content")
    ]
    assert statuses(shared)["L004"] == "passed"


def test_the_audit_of_a_run_holds_all_of_it(tmp_path):
    lesions = {f"i{index:03d}": f"L{index:03d}" for index in range(12)}
    dataset = dataset_of(tmp_path, lesions)
    shared = joined(dataset, [pair("i000", "i001"), pair("i002", "i003", "doubtful", 0.6)])
    folds = make_folds(dataset, n_folds=3, seed=0, groups=shared.groups)
    audit_folds(folds, shared.merged, shared.doubtful, shared.checks).write(tmp_path / "audit.json")
    content = json.loads((tmp_path / "audit.json").read_text())
    assert [check["code"] for check in content["checks"]] == [f"L00{number}" for number in range(1, 9)]
    (merged,), (doubtful,) = content["merged_pairs"], content["doubtful_pairs"]
    assert set(merged) == {"image_a", "image_b", "lesion_a", "lesion_b", "score", "why"}
    assert (doubtful["image_a"], doubtful["lesion_b"], doubtful["score"]) == ("i002", "L003", 0.6)
