from __future__ import annotations

import shutil

import pytest
from reader_samples import FORMS, complaint, row_of, write_images, write_table

from cv_folds.data.readers import read_dataset
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import UsageError


@pytest.fixture
def plain(tmp_path):
    write_images(tmp_path / "melanoma", ["a.JPG", "b.png"])
    write_images(tmp_path / "basal cell carcinoma", ["c", "d", "deeper.jpeg"], first=10)
    return tmp_path


def test_a_folder_is_a_class_as_it_is_named(plain):
    dataset = read_dataset(plain)
    assert dataset.layout == "folders"
    assert dataset.classes == ("basal cell carcinoma", "melanoma")
    assert dataset.image_ids.tolist() == ["a", "b", "c", "d", "deeper"]
    assert dataset.class_counts() == {"basal cell carcinoma": 3, "melanoma": 2}
    assert dataset.parts.tolist() == [""] * 5
    assert dataset.notes == ("5 of 5 images name no lesion: each is its own group",)


def test_a_folder_around_everything_and_folders_below_a_class_do_not_matter(plain, tmp_path):
    alone = read_dataset(plain)
    around = tmp_path / "archive"
    for name in ("melanoma", "basal cell carcinoma"):
        (around / name / "batch 1").mkdir(parents=True)
        for path in (plain / name).iterdir():
            shutil.move(path, around / name / "batch 1" / path.name)
        (plain / name).rmdir()
    assert read_dataset(tmp_path).fingerprint == alone.fingerprint


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "VALID", "Testing"), ("train", "dev", "test")]
)
def test_parts_above_the_classes(tmp_path, names):
    for first, part in enumerate(names):
        write_images(tmp_path / part / "nv", [f"n{part}"], first=first)
        write_images(tmp_path / part / "mel", [f"m{part}"], first=first + 10)
    dataset = read_dataset(tmp_path)
    assert dataset.classes == ("mel", "nv")
    for part, name in zip(("train", "val", "test"), names, strict=True):
        assert row_of(dataset, f"n{name}")["part"] == part
    assert "all of its parts are read: train 2, val 2, test 2" in dataset.notes[0]


def test_one_part_alone(tmp_path):
    write_images(tmp_path / "train" / "nv", ["a"])
    write_images(tmp_path / "train" / "mel", ["b"], first=1)
    assert read_dataset(tmp_path).parts.tolist() == ["train", "train"]


def test_file_names_that_recur_get_their_path_as_id(tmp_path):
    for first, place in enumerate(("train/nv", "train/mel", "test/nv")):
        write_images(tmp_path / place, ["1", f"only_{first}"], first=first * 2)
    dataset = read_dataset(tmp_path)
    assert dataset.image_ids.tolist() == [
        "only_0", "only_1", "only_2", "test__nv__1", "train__mel__1", "train__nv__1",
    ]  # fmt: skip
    assert row_of(dataset, "train__mel__1")["class"] == "mel"


def test_file_names_that_are_no_ids_are_made_into_some(tmp_path):
    write_images(tmp_path / "nv", ["image (1).jpg", "_DSC 7.jpg", "é.jpg"])
    write_images(tmp_path / "mel", ["b"], first=5)
    assert read_dataset(tmp_path).image_ids.tolist() == ["DSC_7", "b", "image", "image__1_"]


def test_two_files_of_one_name_are_bad_rows(tmp_path):
    write_images(tmp_path / "nv", ["a.jpg", "a.png"])
    write_images(tmp_path / "mel", ["b"], first=5)
    assert "nv/a.png: image id nv__a occurs again (first: nv/a.jpg)" in complaint(tmp_path)


def test_hidden_files_and_what_archivers_leave_are_no_images(plain):
    write_images(plain / ".thumbnails", ["x"])
    write_images(plain / "__MACOSX" / "melanoma", ["y"])
    (plain / "melanoma" / "._a.jpg").write_bytes(b"what macOS leaves beside a file")
    assert len(read_dataset(plain)) == 5


def test_images_beside_the_classes_are_left_out_and_said(tmp_path):
    write_images(tmp_path, ["overview"])
    for name in ("nv", "mel"):
        write_images(tmp_path / "train" / name, [f"a_{name}"], first=len(name))
    write_images(tmp_path / "test", ["unlabelled_1", "unlabelled_2"], first=8)
    dataset = read_dataset(tmp_path, layout="folders")
    assert len(dataset) == 2
    assert "images in no class folder are left out: 1 in ., 2 in test" in dataset.notes


def test_links_to_folders_are_followed_and_a_loop_ends(plain, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_images(elsewhere, ["far"], first=30)
    (plain / "nv").symlink_to(elsewhere)
    (plain / "melanoma" / "up").symlink_to(plain)
    dataset = read_dataset(plain)
    assert row_of(dataset, "far")["class"] == "nv"
    assert len(dataset) == 6


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("header", [("image", "lesion_id"), ("IMAGE_ID", "Group")])
def test_groups_from_a_table(plain, form, header):
    rows = [["a", "L1"], ["b.png", "L1"], ["basal cell carcinoma/c.jpg", "patient 7"], ["d", ""], ["deeper", "unknown"]]
    write_table(plain / "groups.csv", header, rows, **form)
    dataset = read_dataset(plain)
    assert dataset.layout == "folders"
    assert dataset.lesion_ids.tolist() == ["L1", "L1", "patient 7", "d", "deeper"]
    assert dataset.lesion_given.tolist() == [True, True, True, False, False]
    assert dataset.notes == (
        f"lesions are those of column {header[1].lower()} of groups.csv",
        "2 of 5 images name no lesion: each is its own group",
    )


def test_columns_and_table_of_the_groups_can_be_set(plain):
    write_table(plain / "groups.csv", ("image", "lesion_id"), [["a", "wrong"]])
    write_table(plain / "people.csv", ("picture", "person"), [["a", "P"], ["c", "Q"]])
    columns = ColumnSettings(table="people.csv", image="picture", lesion="person")
    for layout in ("folders", "auto"):
        dataset = read_dataset(plain, layout=layout, columns=columns)
        assert dataset.layout == "folders"
        assert dataset.lesion_ids.tolist() == ["P", "b", "Q", "d", "deeper"]


def test_columns_of_groups_that_are_nowhere_are_not_passed_over(plain):
    write_table(plain / "people.csv", ("picture", "person"), [["a", "P"], ["c", "Q"]])
    message = complaint(plain, columns=ColumnSettings(image="picture", lesion="patient"))
    assert "no table of groups has columns.image=picture and columns.lesion=patient" in message
    assert "people.csv, with columns picture, person" in message


def test_columns_that_class_folders_do_not_have(plain):
    with pytest.raises(UsageError, match=r"--set columns\.age=years: not read from a folder in the layout folders"):
        read_dataset(plain, columns=ColumnSettings(age="years"))


def test_a_row_of_groups_with_too_many_cells(plain):
    write_table(plain / "groups.csv", ("image", "lesion"), [["a", "L1", "L2"], ["b", "L1"]])
    assert "groups.csv, row 2: 3 cells for 2 columns" in complaint(plain)


def test_every_bad_row_of_the_groups_in_one_message(plain):
    write_images(plain / "melanoma" / "again", ["c"], first=50)
    rows = [["a", "L1"], ["nowhere", "L1"], ["", "L2"], ["c", "L3"], ["d", "x/y"], ["a.JPG", "L2"], ["../a", "L1"]]
    write_table(plain / "groups.csv", ("image", "lesion"), rows)
    message = complaint(plain)
    for part in (
        "groups.csv, row 3: image nowhere is in no class folder",
        "groups.csv, row 4: image is empty",
        "groups.csv, row 5: image c can be any of basal cell carcinoma/c.jpg, melanoma/again/c.jpg; give the path",
        "groups.csv, row 6: lesion 'x/y' is no plain name",
        "groups.csv, row 7: image a.JPG has L2 here but L1 before",
    ):
        assert part in message
    assert "5 bad rows" in message


def test_a_lesion_in_two_classes_is_named(plain):
    write_table(plain / "groups.csv", ("image", "lesion"), [["a", "L"], ["c", "L"]])
    assert "lesion L is melanoma here but basal cell carcinoma in" in complaint(plain)


def test_several_tables_of_groups(plain):
    for name in ("one.csv", "two.csv"):
        write_table(plain / name, ("image", "lesion"), [["a", "L"]])
    message = complaint(plain)
    assert "one.csv, two.csv" in message
    assert "--set columns.table=NAME" in message


def test_class_names_that_cannot_be_or_differ_in_case_only(tmp_path):
    write_images(tmp_path / "train" / "NV", ["a"])
    write_images(tmp_path / "test" / "nv", ["b"], first=1)
    write_images(tmp_path / "test" / "=1+1", ["c"], first=2)
    message = complaint(tmp_path)
    assert "folders NV and nv differ only in case" in message
    assert "folder =1+1: class '=1+1' is no plain name" in message


def test_folders_beside_the_parts(tmp_path):
    for place in ("train/nv", "train/mel", "extra/nv"):
        write_images(tmp_path / place, [place.replace("/", "_")], first=len(place))
    message = complaint(tmp_path)
    assert "beside the parts of a split and are none: extra" in message


def test_image_folders_of_ham10000_without_their_table_are_no_classes(tmp_path):
    for part in (1, 2):
        write_images(tmp_path / f"HAM10000_images_part_{part}", [f"ISIC_{part}"], first=part)
    message = complaint(tmp_path)
    assert "no layout that is known" in message
    assert "HAM10000_images_part_1: ISIC_1.jpg" in message


def test_one_class_is_none(tmp_path):
    write_images(tmp_path / "nv", ["a"])
    assert "at least two folders" in complaint(tmp_path, layout="folders")
