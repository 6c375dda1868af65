from __future__ import annotations

import pytest

from cv_folds.leakage import ImagePair
from cv_folds.rejected_pairs import check_rejected

LESIONS = {name: name.upper() for name in "abcdefg"}


def merged(*pairs):
    return [
        ImagePair(image_a=one, image_b=other, lesion_a=LESIONS[one], lesion_b=LESIONS[other], score=0.9)
        for one, other in pairs
    ]


def test_without_rejected_pairs_there_is_nothing_to_ask():
    assert check_rejected([], LESIONS, merged(("a", "b"))).status == "not_applicable"


def test_rejected_pairs_that_are_apart_pass():
    check = check_rejected([("a", "b"), ("c", "d")], LESIONS, merged(("a", "c"), ("b", "e")))
    assert (check.code, check.status, check.detail) == (
        "L008", "passed", "0 of 2 rejected pairs are in one group all the same",
    )  # fmt: skip


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_rejected_pair_that_others_join_is_named_with_the_shortest_way(order):
    pairs = [("a", "c"), ("c", "b"), ("f", "g")]
    longer = [("a", "d"), ("d", "e"), ("b", "e")]
    joined = merged(*(pairs[place] for place in order), *longer)
    check = check_rejected([("a", "b"), ("a", "f")], LESIONS, joined)
    assert (check.status, check.severity) == ("failed", "warning")
    assert check.detail.startswith(
        "1 of 2 rejected pairs are in one group all the same: a and b by a with c, c with b."
    )


def test_files_of_equal_content_join_a_rejected_pair():
    assert "a and b by a with b." in check_rejected([("a", "b")], LESIONS, merged(("a", "b"))).detail


def test_many_are_counted_and_the_first_named():
    names = [f"x{number:02d}" for number in range(20)]
    lesions = {name: name for name in names}
    joined = [
        ImagePair(image_a=names[0], image_b=name, lesion_a=names[0], lesion_b=name, score=0.9) for name in names[1:]
    ]
    check = check_rejected([(names[1], name) for name in names[2:]], lesions, joined)
    assert check.detail.startswith("18 of 18 ")
    assert "; and 8 more." in check.detail
