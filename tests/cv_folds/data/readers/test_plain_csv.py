from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from reader_samples import FORMS, complaint, row_of, write_images, write_table

from cv_folds.data.readers import read_dataset
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import DataError

OWN = ColumnSettings(
    image="picture", label="Finding", lesion="spot", part="set", dx_type="how", age="years", sex="gender",
    localization="where",
)  # fmt: skip
HEADER = ["picture", "finding", "spot", "set", "how", "years", "gender", "where", "remark"]
ROWS = [
    ["one.jpg", "naevus", "S1", "train", "biopsy", "40", "f", "arm", "x"],
    ["photos/two.JPG", "naevus", "S1", "training", "", "", "unknown", "", ""],
    ["three", "melanoma", "", "TEST", "", "nan", "", "", ""],
    ["/home/me/photos/four.png", "1", "unknown", "", "", "120", "m", "leg", ""],
]


@pytest.fixture
def photos(tmp_path):
    write_images(tmp_path / "photos", ["one", "two.JPG", "three", "four.png", "five"])
    return tmp_path


@pytest.mark.parametrize("form", FORMS)
def test_columns_of_any_name(photos, form):
    write_table(photos / "all.csv", HEADER, ROWS, **form)
    dataset = read_dataset(photos, columns=OWN)
    assert (dataset.layout, dataset.classes) == ("csv", ("1", "melanoma", "naevus"))
    assert dataset.image_ids.tolist() == ["four", "one", "three", "two"]
    assert row_of(dataset, "one") == {
        "lesion": "S1", "given": True, "class": "naevus", "dx_type": "biopsy", "age": 40.0, "sex": "f",
        "site": "arm", "part": "train", "file": "one.jpg",
    }  # fmt: skip
    assert dataset.lesion_given.tolist() == [False, True, False, True]
    assert dataset.parts.tolist() == ["", "train", "test", "train"]
    np.testing.assert_array_equal(dataset.ages, [120, 40, np.nan, np.nan])
    assert dataset.sexes.tolist() == ["m", "f", "", "unknown"]
    assert "all.csv: image in column picture, label in finding, lesion in spot" in dataset.notes


@pytest.mark.parametrize(
    "header",
    [("image", "label"), ("image_id", "dx"), ("Filename", "Class"), ("image_name", "target"), ("isic_id", "diagnosis")],
)
def test_usual_names_need_no_setting(photos, header):
    write_table(photos / "labels.csv", [*header, "age_approx"], [["one", "a", "5"], ["two", "b", ""]])
    dataset = read_dataset(photos)
    assert dataset.classes == ("a", "b")
    assert dataset.ages[0] == 5
    assert f"labels.csv: image in column {header[0].lower()}, label in {header[1].lower()}, no column of lesions" in (
        dataset.notes
    )
    assert "2 of 2 images name no lesion: each is its own group" in dataset.notes


def test_ids_and_labels_stay_text(tmp_path):
    write_images(tmp_path, ["001", "01", "1"])
    write_table(
        tmp_path / "t.csv", ["image", "label", "lesion"], [["001", "01", "007"], ["01", "1", "07"], ["1", "1", "7"]]
    )
    dataset = read_dataset(tmp_path)
    assert dataset.image_ids.tolist() == ["001", "01", "1"]
    assert dataset.classes == ("01", "1")
    assert dataset.lesion_ids.tolist() == ["007", "07", "7"]


def test_an_image_alone_never_joins_a_lesion_of_the_same_number(tmp_path):
    write_images(tmp_path, ["1", "2", "3"])
    write_table(tmp_path / "t.csv", ["image", "label", "lesion"], [["1", "a", ""], ["2", "b", "1"], ["3", "b", "1"]])
    dataset = read_dataset(tmp_path)
    assert dataset.lesion_ids.tolist() == ["1_own", "1", "1"]
    assert dataset.n_lesions == 2


def test_a_set_column_that_is_not_there(photos):
    write_table(photos / "t.csv", ["image", "label"], [["one", "a"]])
    message = complaint(photos, columns=ColumnSettings(lesion="spot", age="years"))
    assert "t.csv: columns image, label" in message
    assert "columns.lesion: there is no column spot" in message
    assert "columns.age: there is no column years" in message


def test_the_wrong_name_of_a_label_is_said_and_not_passed_over(photos):
    write_images(photos / "more", ["six"], first=60)
    write_table(photos / "t.csv", ["picture", "finding"], [["one", "a"]])
    message = complaint(photos, columns=ColumnSettings(image="picture", label="findings"))
    assert "t.csv: columns picture, finding" in message
    assert "columns.label: there is no column findings" in message


def test_a_table_as_spreadsheets_save_unicode_text(photos):
    (photos / "t.csv").write_bytes("image\tlabel\r\none\tMelanom (Rücken)\r\n".encode("utf-16"))
    assert read_dataset(photos).classes == ("Melanom (Rücken)",)


def test_a_table_in_another_encoding_is_said_to_be_one(photos):
    (photos / "t.csv").write_bytes(b"image,label\none,\xe9\n")
    assert "t.csv: is not UTF-8 text" in complaint(photos, columns=ColumnSettings(label="label"))


def test_columns_of_which_several_could_be_meant(photos):
    write_table(photos / "t.csv", ["image", "label", "dx", "lesion_id", "group"], [["one", "a", "b", "c", "d"]])
    message = complaint(photos)
    assert "columns.label: label and dx could be meant; choose with --set columns.label=label" in message
    assert "columns.lesion: lesion_id and group could be meant" in message
    columns = ColumnSettings(label="dx", lesion="group")
    assert read_dataset(photos, columns=columns).lesion_ids.tolist() == ["d"]


def test_without_a_label_the_columns_are_shown(photos):
    write_table(photos / "t.csv", ["picture", "finding"], [["one", "a"]])
    message = complaint(photos)
    assert "t.csv, with columns picture, finding" in message
    forced = complaint(photos, layout="csv")
    assert "t.csv: columns picture, finding" in forced
    assert "name it with --set columns.image=NAME" in forced
    assert "name it with --set columns.label=NAME" in forced


def test_several_tables_and_the_choice_of_one(photos):
    for name, label in (("a.csv", "x"), ("b.csv", "y")):
        write_table(photos / name, ["image", "label"], [["one", label]])
    message = complaint(photos)
    assert "a.csv, b.csv" in message
    assert "--set columns.table=NAME" in message
    assert read_dataset(photos, columns=ColumnSettings(table="b.csv")).classes == ("y",)
    assert "there is no table c.csv (columns.table); there are: a.csv, b.csv" in complaint(
        photos, columns=ColumnSettings(table="c.csv")
    )


def test_the_table_in_the_folder_itself_comes_first(photos):
    write_table(photos / "all.csv", ["image", "label"], [["one", "a"]])
    write_table(photos / "photos" / "some.csv", ["image", "label"], [["two", "b"]])
    assert read_dataset(photos).image_ids.tolist() == ["one"]


def test_every_bad_row_in_one_message(photos):
    write_images(photos / "more", ["one"], first=60)
    bad = [
        ["one", "naevus", "", "", "", "", "", "", ""],
        ["../../etc/passwd", "naevus", "", "", "", "", "", "", ""],
        ["", "", "", "", "", "", "", "", ""],
        ["two", "nae/vus", "a\\b", "holdout", "", "-1", "", "", ""],
        ["two", "naevus", "", "", "", "", "", "", ""],
        ["three.jpg", "Melanoma", "", "", "", "", "", "", ""],
    ]
    write_table(photos / "t.csv", HEADER, [["photos/two.JPG", *ROWS[1][1:]], ROWS[2], *bad])
    message = complaint(photos, columns=OWN)
    for part in (
        "t.csv, row 4: image one can be any of more/one.jpg, photos/one.jpg; give the path",
        "t.csv, row 5: image ../../etc/passwd is not below the folder",
        "t.csv, row 6: picture is empty",
        "t.csv, row 6: finding is empty",
        "t.csv, row 7: finding 'nae/vus' is no plain name",
        "t.csv, row 7: spot 'a\\\\b' is no plain name",
        "t.csv, row 7: years '-1' is no number from 0 to 120",
        "t.csv, row 7: set 'holdout' is none of train,",
        "t.csv, row 8: image id two occurs again (first: t.csv, row 2)",
        "t.csv, row 9: image id three occurs again (first: t.csv, row 3)",
        "labels Melanoma and melanoma differ only in case",
    ):
        assert part in message
    assert "11 bad rows" in message


def test_a_row_with_too_many_cells_is_among_the_bad_rows(photos):
    write_table(photos / "t.csv", ["image", "label"], [["one", "a", "b"], ["nothing", "a"]])
    message = complaint(photos)
    assert "t.csv, row 2: 3 cells for 2 columns" in message
    assert "t.csv, row 3: image nothing is not below the folder" in message


def test_the_case_of_an_extension_does_not_matter(photos):
    names = ["one.JPG", "photos/two.jpg", "/elsewhere/photos/four.PNG"]
    write_table(photos / "t.csv", ["image", "label"], [[name, "a"] for name in names])
    assert {path.name for path in read_dataset(photos).paths} == {"one.jpg", "two.JPG", "four.png"}


def test_of_extensions_in_two_cases_each_is_itself(photos):
    write_images(photos / "photos", ["two.jpg"], first=40)
    write_table(photos / "t.csv", ["image", "label"], [["two.jpg", "a"], ["two.JPG", "b"]])
    with pytest.raises(DataError, match="image id photos__two occurs again"):
        read_dataset(photos)
    write_table(photos / "t.csv", ["image", "label"], [["two.JPG", "b"]])
    assert read_dataset(photos).paths[0].name == "two.JPG"


def test_a_path_never_leads_out_of_the_folder(photos):
    root = photos / "photos"
    write_images(photos, ["secret"], first=80)
    write_table(root / "t.csv", ["image", "label"], [["../secret.jpg", "a"], ["one", "b"]])
    assert "row 2: image ../secret.jpg is not below the folder" in complaint(root)


def test_a_lesion_with_two_labels_is_named(photos):
    write_table(photos / "t.csv", ["image", "label", "lesion"], [["one", "a", "L"], ["two", "b", "L"]])
    assert "lesion L is b here but a in t.csv, row 2" in complaint(photos)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00image", b"", b'image,label\n"one,a\n'])
def test_files_that_are_no_table(photos, content):
    (photos / "t.csv").write_bytes(content)
    message = complaint(photos, layout="csv")
    assert "t.csv" in message


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(ValidationError):
        ColumnSettings(patient="x")  # type: ignore[call-arg]
