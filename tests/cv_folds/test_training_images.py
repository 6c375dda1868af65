from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from cv_folds_samples import image_row

from cv_folds.arrays import frozen
from cv_folds.data.dataset import LesionDataset, build_dataset
from cv_folds.errors import DataError
from cv_folds.near_duplicates.search import FoundPair
from cv_folds.seen import Seen, seen_by_look, seen_by_record, with_their_lesions
from cv_folds.splits import TEST, Folds
from cv_folds.training_images import TrainingImages, file_digests

Trained: TypeAlias = tuple[LesionDataset, TrainingImages]


def dataset_of(folder: Path, contents: dict[str, str], lesions: dict[str, str] | None = None) -> LesionDataset:
    """Files that hold a word each; no lesion is given for those that `lesions` leaves out."""
    folder.mkdir()
    rows = []
    for name, content in contents.items():
        (folder / f"{name}.jpg").write_text(content)
        rows.append(image_row(name, (lesions or {}).get(name, ""), "nv", folder / f"{name}.jpg"))
    return build_dataset(rows, name=folder.name, root=folder, demo=False)


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    data = dataset_of(tmp_path / "trained", {"a": "one", "b": "two", "c": "three"}, {"a": "L1", "b": "L1"})
    folds = Folds(
        image_ids=data.image_ids,
        lesion_ids=data.lesion_ids,
        groups=data.lesion_ids,
        labels=data.labels,
        classes=data.classes,
        folds=frozen([0, 0, 1], np.int64),
        n_folds=2,
    )
    return data, TrainingImages.of_folds(data, folds, workers=2)


def test_the_list_holds_ids_lesions_and_checksums(
    trained: tuple[LesionDataset, TrainingImages], tmp_path: Path
) -> None:
    _, learned = trained
    assert learned.image_ids.tolist() == ["a", "b", "c"]
    # A lesion that the data do not name is nobody's.
    assert learned.lesion_ids.tolist() == ["L1", "L1", ""]
    assert learned.digests.tolist() == [hashlib.sha256(word).hexdigest() for word in (b"one", b"two", b"three")]
    learned.write_csv(tmp_path / "list.csv")
    back = TrainingImages.read_csv(tmp_path / "list.csv")
    for name, values in vars(learned).items():
        np.testing.assert_array_equal(getattr(back, name), values)


def test_the_test_part_of_a_holdout_was_not_learned_from(trained: Trained) -> None:
    data, _ = trained
    folds = Folds(
        image_ids=data.image_ids,
        lesion_ids=data.lesion_ids,
        groups=data.image_ids,
        labels=data.labels,
        classes=data.classes,
        folds=frozen([TEST, 1, 2], np.int64),
        n_folds=3,
        holdout=True,
    )
    assert TrainingImages.of_folds(data, folds, workers=1).image_ids.tolist() == ["b", "c"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs the columns"),
        ("image_id,lesion_id,sha256\n", "needs the columns"),
        ("image_id,lesion_id,sha256\na,l,12\n", "row 2: a,l,12"),
        ("image_id,lesion_id,sha256\na,l\n", "row 2: a,l"),
        (f"image_id,lesion_id,sha256\na,,{'0' * 64}\na,,{'0' * 64}\n", "more than once"),
    ],
)
def test_a_damaged_list_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        TrainingImages.read_csv(tmp_path / "list.csv")
    with pytest.raises(DataError, match="cannot be read"):
        TrainingImages.read_csv(tmp_path / "none.csv")


def test_content_id_and_lesion_tell_what_was_seen(
    trained: tuple[LesionDataset, TrainingImages], tmp_path: Path
) -> None:
    _, learned = trained
    contents = {"new": "two", "c": "other", "mate": "more", "free": "far", "L1": "away", "b": "two"}
    data = dataset_of(tmp_path / "external", contents, {"mate": "L1", "free": "L2"})
    digests = file_digests(data.paths, workers=2)
    found = {entry.image_id: (entry.reason, entry.training_image) for entry in seen_by_record(data, digests, learned)}
    # An image without a lesion is not of a lesion that bears its name.
    assert found == {
        "new": ("same file", "b"),
        "b": ("same file", "b"),
        "c": ("same image id", "c"),
        "mate": ("same lesion id", "a"),
    }
    own = seen_by_record(data, digests, learned, trust_ids=False)
    assert {entry.image_id: entry.reason for entry in own} == {"new": "same file", "b": "same file"}


def pair(image_a: str, image_b: str, verdict: str = "confirmed") -> FoundPair:
    return FoundPair(
        image_a=image_a, image_b=image_b, verdict=verdict, score=0.99, mirrored=False, degrees=0.0, scale=1.0,
        inliers=20, possible=30, overlap=0.9, correlation=0.8, matrix=(1, 0, 0, 0, 1, 0),
    )  # type: ignore[arg-type]  # fmt: skip


def test_of_several_matches_the_strongest_is_named_and_doubtful_ones_stay() -> None:
    found = seen_by_look([pair("x", "t1"), pair("y", "t2", "doubtful"), pair("x", "t0")])
    assert [(entry.image_id, entry.reason, entry.training_image) for entry in found] == [("x", "near-duplicate", "t1")]
    assert "20 of 30 points agree" in found[0].detail


def test_a_lesion_that_was_seen_goes_with_all_its_images() -> None:
    first = Seen(image_id="b", reason="near-duplicate", training_image="t", detail="")
    images, groups = frozen(["a", "b", "c", "d"], np.str_), frozen(["L", "L", "M", "M"], np.str_)
    found = with_their_lesions(images, groups, [first, replace(first, reason="same file")])
    assert [(entry.image_id, entry.reason, entry.training_image) for entry in found] == [
        ("a", "lesion of a training image", "t"),
        ("b", "near-duplicate", "t"),
    ]
    assert found[0].detail == "shows one lesion with b (near-duplicate)"
    assert with_their_lesions(images, groups, []) == ()
