from __future__ import annotations

from collections import Counter
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from cv_folds_samples import image_row, random_dataset

from cv_folds.data.dataset import build_dataset
from cv_folds.errors import DataError, UsageError, list_rows


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(b"12345")
    return path


def test_rows_are_sorted_by_image_id_and_classes_by_name(tmp_path, file):
    rows = [image_row("b", "L2", "nv", file), image_row("c", "L1", "mel", file), image_row("a", "L2", "nv", file)]
    dataset = build_dataset(rows, name="x", root=tmp_path, demo=True)
    assert dataset.image_ids.tolist() == ["a", "b", "c"]
    assert dataset.lesion_ids.tolist() == ["L2", "L2", "L1"]
    assert dataset.classes == ("mel", "nv")
    assert dataset.labels.tolist() == [1, 1, 0]
    assert (len(dataset), dataset.n_lesions, dataset.demo) == (3, 2, True)
    assert dataset.class_counts() == {"mel": 1, "nv": 2}
    assert dataset.lesion_counts() == {"mel": 1, "nv": 1}


def test_one_image_of_every_lesion_is_the_first_by_id(tmp_path, file):
    rows = [
        image_row(*row, file) for row in (("b", "L2", "nv"), ("c", "L1", "mel"), ("a", "L2", "nv"), ("d", "", "nv"))
    ]
    dataset = build_dataset(rows, name="x", root=tmp_path, demo=False, notes=("read",))
    single = dataset.one_image_per_lesion()
    assert single.image_ids.tolist() == ["a", "c", "d"]
    assert single.lesion_ids.tolist() == ["L2", "L1", "d"]
    assert single.n_lesions == dataset.n_lesions == len(single)
    assert single.fingerprint != dataset.fingerprint
    assert single.reader_notes == (
        "read",
        "one image of each of 3 lesions, the first by image id; 1 others are left out",
    )
    assert single.one_image_per_lesion().image_ids.tolist() == single.image_ids.tolist()


def test_nothing_can_be_changed(tmp_path, file):
    dataset = build_dataset([image_row("a", "L", "nv", file)], name="x", root=tmp_path, demo=False)
    with pytest.raises(FrozenInstanceError):
        dataset.name = "y"
    for column in ("image_ids", "lesion_ids", "labels", "dx_types", "ages", "sexes", "localizations"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(dataset, column)[0] = getattr(dataset, column)[0]


def test_the_fingerprint_follows_the_content_and_not_the_place_or_order(tmp_path, file):
    def fingerprint(*rows):
        return build_dataset(rows, name="x", root=tmp_path, demo=False).fingerprint

    first, second = image_row("a", "L", "nv", file), image_row("b", "M", "mel", file)
    same = fingerprint(first, second)
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(b"abcde")
    longer = tmp_path / "longer.png"
    longer.write_bytes(b"123456")
    assert fingerprint(second, first) == same
    assert fingerprint(first, image_row("b", "M", "mel", elsewhere)) == same
    changed = [
        image_row("c", "M", "mel", file),
        image_row("b", "L2", "mel", file),
        image_row("b", "M", "bkl", file),
        image_row("b", "M", "mel", longer),
    ]
    assert len({same, fingerprint(first), *(fingerprint(first, row) for row in changed)}) == 6


def test_the_fingerprint_does_not_depend_on_the_other_classes(tmp_path, file):
    dataset = build_dataset(
        [image_row("a", "L", "akiec", file), image_row("b", "M", "nv", file)], name="x", root=tmp_path, demo=False
    )
    alone = build_dataset([image_row("b", "M", "nv", file)], name="x", root=tmp_path, demo=False)
    assert dataset.select(dataset.labels == 1).fingerprint == alone.fingerprint


def test_problems_of_the_reader_stand_with_those_across_rows(tmp_path, file):
    rows = [
        image_row("a", "L", "nv", file),
        image_row("a", "L", "nv", file),
        image_row("b", "L", "mel", file),
        image_row("c", "L", "bkl", file),
    ]
    with pytest.raises(DataError) as caught:
        build_dataset(rows, name="x", root=tmp_path, demo=False, problems=["row 7: is odd"])
    message = str(caught.value)
    assert f"{tmp_path}: 4 bad rows" in message
    assert "row 7: is odd" in message
    assert "image id a occurs again (first: row of a)" in message
    assert "lesion L is mel here but nv in row of a" in message
    assert "lesion L is bkl here but nv in row of a" in message


def test_an_image_without_a_lesion_is_a_group_of_its_own(tmp_path, file):
    rows = [
        image_row("a", "", "nv", file),
        image_row("b", "", "mel", file),
        image_row("c", "b", "nv", file),
        replace(image_row("d", "b", "nv", file), part="test"),
    ]
    dataset = build_dataset(rows, name="x", root=tmp_path, demo=False, layout="csv", notes=["one"])
    # Lesion b is another one than image b.
    assert dataset.lesion_ids.tolist() == ["a", "b_own", "b", "b"]
    assert dataset.lesion_given.tolist() == [False, False, True, True]
    assert dataset.parts.tolist() == ["", "", "", "test"]
    assert (dataset.layout, dataset.n_lesions) == ("csv", 3)
    assert dataset.notes == ("one", "2 of 4 images name no lesion: each is its own group")
    subset = dataset.select(dataset.lesion_given)
    assert subset.notes == ("one",)
    assert subset.parts.tolist() == ["", "test"]
    few = dataset.limit_lesions(1, np.random.default_rng(0))
    assert few.lesion_given.tolist() == dataset.lesion_given.tolist()


def test_two_images_without_a_lesion_never_share_one(tmp_path, file):
    named = [("b", ""), ("b_own", ""), ("c", "b"), ("d", "b_own"), ("e", "")]
    rows = [image_row(image, lesion, "nv", file) for image, lesion in named]
    dataset = build_dataset(rows, name="x", root=tmp_path, demo=False)
    assert dataset.n_lesions == 5
    assert dataset.lesion_ids[-1] == "e"


def test_the_fingerprint_is_of_images_lesions_and_diagnoses_alone(tmp_path, file):
    row = image_row("a", "L", "nv", file)
    plain = build_dataset([row], name="x", root=tmp_path, demo=False)
    other = build_dataset([replace(row, part="val")], name="y", root=tmp_path, demo=False, layout="csv", notes=["z"])
    assert other.fingerprint == plain.fingerprint


def test_no_rows(tmp_path):
    with pytest.raises(DataError, match="names no image"):
        build_dataset([], name="x", root=tmp_path, demo=False)


@pytest.mark.parametrize("seed", range(10))
def test_counts_add_up(tmp_path, seed):
    dataset = random_dataset(tmp_path, seed, fewest_lesions=3)
    names = [dataset.classes[label] for label in dataset.labels.tolist()]
    assert dataset.class_counts() == dict(sorted(Counter(names).items()))
    pairs = set(zip(dataset.lesion_ids.tolist(), names, strict=True))
    assert dataset.lesion_counts() == dict(sorted(Counter(name for _, name in pairs).items()))
    assert dataset.n_lesions == sum(dataset.lesion_counts().values())


@pytest.mark.parametrize("seed", range(10))
def test_a_limit_keeps_whole_lesions_and_every_class(tmp_path, seed):
    dataset = random_dataset(tmp_path, seed, fewest_lesions=3)
    before = dataset.lesion_counts()
    limit = int(np.random.default_rng(seed).integers(1, dataset.n_lesions + 1))
    kept = dataset.limit_lesions(limit, np.random.default_rng(seed))
    assert kept.classes == dataset.classes
    for name, count in kept.lesion_counts().items():
        share = round(limit * before[name] / dataset.n_lesions)
        assert count == min(before[name], max(share, 10))
    inside = np.isin(dataset.lesion_ids, kept.lesion_ids)
    assert kept.image_ids.tolist() == dataset.image_ids[inside].tolist()
    assert kept.labels.tolist() == dataset.labels[inside].tolist()
    assert len(kept.paths) == len(kept)
    again = dataset.limit_lesions(limit, np.random.default_rng(seed))
    assert again.fingerprint == kept.fingerprint


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_below_one(tmp_path, limit):
    dataset = random_dataset(tmp_path, 0, fewest_lesions=3)
    with pytest.raises(UsageError, match="--limit-lesions"):
        dataset.limit_lesions(limit, np.random.default_rng(0))


def test_listing_rows():
    assert list_rows(["a", "b"]) == "  a\n  b"
    assert list_rows([str(index) for index in range(7)], most=5).splitlines()[-1] == "  ... and 2 more"
    assert "more" not in list_rows(["x"] * 20)
