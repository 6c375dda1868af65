from __future__ import annotations

import pytest

from cv_folds.class_names import SYNONYMS, match_classes, plain_name
from cv_folds.errors import UsageError

HAM = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
ISIC2019 = ("AK", "BCC", "BKL", "DF", "MEL", "NV", "SCC", "VASC")


def found(theirs: tuple[str, ...], ours: tuple[str, ...], given: dict[str, str] | None = None) -> dict[str, object]:
    return {match.theirs: (match.ours, match.how) for match in match_classes(theirs, ours, given)}


def test_the_published_sets_match_each_other() -> None:
    assert found(HAM, HAM) == {name: (name, "same name") for name in HAM}
    upper = tuple(name.upper() for name in HAM)
    assert found(upper, HAM) == {name.upper(): (name, "same name but for case") for name in HAM}
    matched = found(ISIC2019, HAM)
    assert matched["AK"] == ("akiec", "synonym")
    assert matched["SCC"] == (None, "none")
    assert {ours for ours, _ in matched.values()} == {*HAM, None}
    assert found(HAM, ISIC2019)["akiec"] == ("AK", "synonym")


def test_a_name_of_the_model_wins_over_a_synonym() -> None:
    assert found(("AK", "nevus"), ("ak", "akiec", "nv"))["AK"] == ("ak", "same name but for case")
    # Which of the two is meant is not known.
    assert found(("actinic keratosis",), ("ak", "akiec"))["actinic keratosis"] == (None, "none")
    assert found(("Nv",), ("NV", "nV"))["Nv"] == (None, "none")


def test_several_classes_of_the_data_may_be_one_of_the_model() -> None:
    matched = found(("Seborrheic_keratosis", "solar-lentigo", "Melanocytic nevi", "Bowen's disease"), HAM)
    assert [ours for ours, _ in matched.values()] == ["bkl", "bkl", "nv", "akiec"]


def test_what_the_user_says_comes_first() -> None:
    matched = found(("AK", "SCC", "NV"), HAM, {"SCC": "akiec", "AK": "", "NV": "mel"})
    assert matched == {"AK": (None, "left out"), "SCC": ("akiec", "given"), "NV": ("mel", "given")}
    with pytest.raises(UsageError, match=r"(?s)SCC=akk: the model has no class akk.*XY: the data have no such class"):
        match_classes(("AK", "SCC"), HAM, {"SCC": "akk", "XY": "nv"})


def test_no_synonym_stands_for_two_classes() -> None:
    names = [name for group in SYNONYMS for name in group]
    assert len(set(names)) == len(names)
    assert all(plain_name(name) == name for name in names)
