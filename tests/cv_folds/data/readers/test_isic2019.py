from __future__ import annotations

import math
from pathlib import Path

import pytest
from reader_samples import FORMS, ISIC2019, complaint, one_hot, row_of, write_images, write_table

from cv_folds.data.readers import read_dataset

TRAIN = {
    "ISIC_0000000": "NV",
    "ISIC_0000002_downsampled": "MEL",
    "ISIC_0024318": "SCC",
    "ISIC_0024319": "SCC",
    "ISIC_0053463": "AK",
}
HEADER = ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"]
METADATA = [
    ["ISIC_0000000", "55.0", "anterior torso", "", "female"],
    ["ISIC_0000002_downsampled", "", "upper extremity", "MSK4_0000001", ""],
    ["ISIC_0024318", "80.0", "", "HAM_0000001", "unknown"],
    ["ISIC_0024319", "0.0", "head/neck", "HAM_0000001", "male"],
    ["ISIC_0053463", "unknown", "palms/soles", "nan", "male"],
]
TEST_HEADER = ["image", "age_approx", "anatom_site_general", "sex"]


def training(root: Path, **form: str) -> Path:
    write_table(root / "ISIC_2019_Training_GroundTruth.csv", ["image", *ISIC2019], one_hot(ISIC2019, TRAIN), **form)
    write_table(root / "ISIC_2019_Training_Metadata.csv", HEADER, METADATA, **form)
    # One mirror packs the folder into a folder of the same name.
    images = root / "ISIC_2019_Training_Input" / "ISIC_2019_Training_Input"
    write_images(images, ["ISIC_0000000.JPG", *list(TRAIN)[1:]])
    return root


def write_test_set(root: Path, truth: dict[str, str]) -> None:
    header = ["image", *ISIC2019, "score_weight", "validation_weight"]
    rows = [[*row, "1.0", "0.0"] for row in one_hot(ISIC2019, truth)]
    write_table(root / "ISIC_2019_Test_GroundTruth.csv", header, rows)
    write_table(root / "ISIC_2019_Test_Metadata.csv", TEST_HEADER, [[image, "40.0", "", "male"] for image in truth])
    write_images(root / "ISIC_2019_Test_Input", list(truth), first=40)


@pytest.mark.parametrize("form", FORMS)
def test_the_training_set(tmp_path, form):
    dataset = read_dataset(training(tmp_path, **form))
    assert (dataset.layout, dataset.classes) == ("isic2019", ("AK", "MEL", "NV", "SCC"))
    assert dataset.image_ids.tolist() == list(TRAIN)
    assert row_of(dataset, "ISIC_0000000") == {
        "lesion": "ISIC_0000000", "given": False, "class": "NV", "dx_type": "", "age": 55.0, "sex": "female",
        "site": "anterior torso", "part": "train", "file": "ISIC_0000000.JPG",
    }  # fmt: skip
    small = row_of(dataset, "ISIC_0000002_downsampled")
    assert (small["lesion"], small["sex"], small["file"]) == ("MSK4_0000001", "", "ISIC_0000002_downsampled.jpg")
    assert isinstance(small["age"], float)
    assert math.isnan(small["age"])
    assert row_of(dataset, "ISIC_0024318")["sex"] == "unknown"
    assert dataset.lesion_given.tolist() == [False, True, True, True, False]
    assert dataset.n_lesions == 4
    assert "2 of 5 images name no lesion: each is its own group" in dataset.notes


def test_images_of_none_of_the_classes_are_left_out_by_name(tmp_path):
    training(tmp_path)
    unknown = {f"ISIC_{n}": "UNK" for n in range(1000, 1007)}
    write_test_set(tmp_path, {"ISIC_0034321": "NV", **unknown, "ISIC_0034322": "DF"})
    dataset = read_dataset(tmp_path)
    assert "UNK" not in dataset.classes
    assert dataset.image_ids.tolist() == [*list(TRAIN)[:4], "ISIC_0034321", "ISIC_0034322", "ISIC_0053463"]
    assert row_of(dataset, "ISIC_0034322")["part"] == "test"
    (note,) = (note for note in dataset.notes if "UNK" in note)
    assert "7 images are UNK, none of the classes, and are left out" in note
    assert "row 3 (ISIC_1000), row 4 (ISIC_1001)" in note
    assert note.endswith("and 2 more")


def test_the_column_of_none_of_the_classes_may_be_away(tmp_path):
    training(tmp_path)
    classes = ISIC2019[:-1]
    write_table(tmp_path / "ISIC_2019_Training_GroundTruth.csv", ["image", *classes], one_hot(classes, TRAIN))
    assert len(read_dataset(tmp_path)) == 5


def test_every_bad_row_of_both_tables_in_one_message(tmp_path):
    training(tmp_path)
    truth = one_hot(ISIC2019, TRAIN | {"ISIC_0000050": "none", "ISIC_0000051": "NV"})
    both = ["ISIC_0000052", "1", *["0"] * 7, "1"]
    write_table(tmp_path / "ISIC_2019_Training_GroundTruth.csv", ["image", *ISIC2019], [*truth, both])
    bad = [["ISIC_0000050", "999", "", "", ""], ["ISIC_0000052", "", "", "../x", ""], METADATA[0]]
    write_table(tmp_path / "ISIC_2019_Training_Metadata.csv", HEADER, [*METADATA, *bad])
    write_images(tmp_path / "more", [f"ISIC_000005{n}" for n in range(3)], first=70)
    message = complaint(tmp_path)
    for part in (
        "6 bad rows",
        "ISIC_2019_Training_Metadata.csv, row 7: age_approx '999' is no number",
        "ISIC_2019_Training_Metadata.csv, row 8: lesion_id '../x' is no plain id",
        "ISIC_2019_Training_Metadata.csv, row 9: image ISIC_0000000 occurs again",
        "ISIC_2019_Training_GroundTruth.csv, row 7: image ISIC_0000050 has no class that is 1",
        "ISIC_2019_Training_GroundTruth.csv, row 8: image ISIC_0000051 has no row in the table of details",
        "ISIC_2019_Training_GroundTruth.csv, row 9: image ISIC_0000052 has more than one class that is 1: MEL, UNK",
    ):
        assert part in message


def test_without_the_metadata_their_name_is_said(tmp_path):
    training(tmp_path)
    (tmp_path / "ISIC_2019_Training_Metadata.csv").unlink()
    dataset = read_dataset(tmp_path)
    assert any("ISIC_2019_Training_Metadata.csv is not there" in note for note in dataset.notes)
    assert not dataset.lesion_given.any()


def test_two_truth_tables_that_differ(tmp_path):
    training(tmp_path)
    other = one_hot(ISIC2019, TRAIN | {"ISIC_0000000": "BKL"})
    write_table(tmp_path / "old" / "ISIC_2019_Training_GroundTruth.csv", ["image", *ISIC2019], other)
    message = complaint(tmp_path)
    assert "several metadata tables that differ" in message
    assert str(tmp_path / "old" / "ISIC_2019_Training_GroundTruth.csv") in message


def test_of_two_challenges_one_is_read_and_the_other_named(tmp_path):
    from test_isic2018 import folder

    folder(training(tmp_path), "Validation")
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "isic2018"
    assert "the folder can also be read with --format isic2019; read as isic2018" in dataset.notes
    assert read_dataset(tmp_path, layout="isic2019").image_ids.tolist() == list(TRAIN)
