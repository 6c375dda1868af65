from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from reader_samples import FORMS, ISIC2018, complaint, one_hot, row_of, write_images, write_table

from cv_folds.data.readers import read_dataset

TRAIN = {"ISIC_0000001": "MEL", "ISIC_0000002": "MEL", "ISIC_0000003": "NV", "ISIC_0000004": "AKIEC"}
VAL = {"ISIC_0000011": "NV", "ISIC_0000012": "VASC"}
TEST = {"ISIC_0000021": "BKL", "ISIC_0000022": "NV", "ISIC_0000023": "DF"}
PARTS = {"Training": TRAIN, "Validation": VAL, "Test": TEST}
GROUPS = [
    ["ISIC_0000001", "HAM_0000001", "histopathology"],
    ["ISIC_0000002", "HAM_0000001", "histopathology"],
    ["ISIC_0000003", "HAM_0000002", "serial imaging showing no change"],
    ["ISIC_0000004", "HAM_0000003", "single image expert consensus"],
]
GROUPS_HEADER = ["image", "lesion_id", "diagnosis_confirm_type"]


def folder(root: Path, *names: str, **form: str) -> Path:
    """Write parts as the challenge ships them: each archive unpacked into a folder of its own."""
    for name in names:
        truth = f"ISIC2018_Task3_{name}_GroundTruth"
        write_table(root / truth / f"{truth}.csv", ["image", *ISIC2018], one_hot(ISIC2018, PARTS[name]), **form)
        write_images(root / f"ISIC2018_Task3_{name}_Input", list(PARTS[name]), first=len(name) * 10)
    if "Training" in names:
        write_table(root / "ISIC2018_Task3_Training_LesionGroupings.csv", GROUPS_HEADER, GROUPS, **form)
    return root


@pytest.mark.parametrize("form", FORMS)
def test_all_parts_together(tmp_path, form):
    dataset = read_dataset(folder(tmp_path, *PARTS, **form))
    assert (dataset.layout, len(dataset), dataset.n_lesions) == ("isic2018", 9, 8)
    assert dataset.classes == ("AKIEC", "BKL", "DF", "MEL", "NV", "VASC")
    assert row_of(dataset, "ISIC_0000002") == {
        "lesion": "HAM_0000001", "given": True, "class": "MEL", "dx_type": "histopathology", "age": pytest.approx(
            math.nan, nan_ok=True), "sex": "", "site": "", "part": "train", "file": "ISIC_0000002.jpg",
    }  # fmt: skip
    of_test = row_of(dataset, "ISIC_0000023")
    assert (of_test["lesion"], of_test["given"], of_test["part"]) == ("ISIC_0000023", False, "test")
    assert dataset.parts.tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 3
    assert dataset.notes == (
        "the data have a split of their own, and all of its parts are read: train 4, val 2, test 3",
        "5 of 9 images name no lesion: each is its own group",
    )


def test_a_part_without_any_image_is_left_out_and_said(tmp_path):
    root = folder(tmp_path, *PARTS)
    for path in root.glob("*Validation_Input/*"):
        path.unlink()
    dataset = read_dataset(root)
    assert set(dataset.parts.tolist()) == {"train", "test"}
    assert "ISIC2018_Task3_Validation_GroundTruth.csv: none of its 2 images is there; part left out" in dataset.notes


def test_no_image_at_all(tmp_path):
    root = folder(tmp_path, *PARTS)
    for path in root.glob("*_Input/*"):
        path.unlink()
    message = complaint(root)
    assert all(f"ISIC2018_Task3_{name}_GroundTruth.csv: none of its" in message for name in PARTS)


def test_a_part_with_some_images_missing_lists_their_rows(tmp_path):
    root = folder(tmp_path, *PARTS)
    for image in ("ISIC_0000001", "ISIC_0000003"):
        (root / "ISIC2018_Task3_Training_Input" / f"{image}.jpg").unlink()
    message = complaint(root)
    assert "2 bad rows" in message
    assert "ISIC2018_Task3_Training_GroundTruth.csv, row 2: image ISIC_0000001 is not below the folder" in message
    assert "ISIC2018_Task3_Training_GroundTruth.csv, row 4: image ISIC_0000003 is not below the folder" in message


def test_without_the_groupings_each_image_is_alone_and_their_name_is_said(tmp_path):
    root = folder(tmp_path, "Training")
    (root / "ISIC2018_Task3_Training_LesionGroupings.csv").unlink()
    dataset = read_dataset(root)
    assert dataset.n_lesions == 4
    assert not dataset.lesion_given.any()
    assert any("ISIC2018_Task3_Training_LesionGroupings.csv is not there" in note for note in dataset.notes)
    assert "4 of 4 images name no lesion: each is its own group" in dataset.notes


def test_every_bad_row_of_both_tables_in_one_message(tmp_path):
    root = folder(tmp_path, "Training")
    rows = one_hot(ISIC2018, TRAIN | {"ISIC_0000005": "none", "../x": "NV", "": "NV", "ISIC_0000099": "NV"})
    two_hot = ["ISIC_0000006", "1", "1", "0", "0", "0", "0", "0"]
    odd = ["ISIC_0000007", "0.7", "0.3", "0", "0", "0", "0", ""]
    again = one_hot(ISIC2018, {"ISIC_0000003": "NV"})
    write_images(root / "ISIC2018_Task3_Training_Input", [f"ISIC_000000{n}" for n in (5, 6, 7)], first=50)
    truth = root / "ISIC2018_Task3_Training_GroundTruth" / "ISIC2018_Task3_Training_GroundTruth.csv"
    write_table(truth, ["image", *ISIC2018], [*rows, two_hot, odd, *again])
    more = [["ISIC_0000005", "HAM_0000002", ""], ["ISIC_0000006", "a/b", ""], ["ISIC_0000004", "HAM_0000009", ""]]
    more += [["ISIC_0000007", "", ""]]
    write_table(root / "ISIC2018_Task3_Training_LesionGroupings.csv", GROUPS_HEADER, [*GROUPS, *more])
    message = complaint(root)
    expected = [
        "LesionGroupings.csv, row 7: lesion_id 'a/b' is no plain id",
        "LesionGroupings.csv, row 8: image ISIC_0000004 occurs again (first: ISIC2018_Task3_Training_LesionGroupings",
        "GroundTruth.csv, row 6: image ISIC_0000005 has no class that is 1",
        "GroundTruth.csv, row 7: image '../x' is no plain id",
        "GroundTruth.csv, row 8: image is empty",
        "GroundTruth.csv, row 9: image ISIC_0000099 is not below the folder",
        "GroundTruth.csv, row 9: image ISIC_0000099 has no row in the table of details",
        "GroundTruth.csv, row 10: image ISIC_0000006 has more than one class that is 1: MEL, NV",
        "GroundTruth.csv, row 11: MEL is '0.7', NV is '0.3', VASC is '': must be 0 or 1",
        "GroundTruth.csv, row 12: image id ISIC_0000003 occurs again",
    ]
    for part in expected:
        assert part in message
    assert f"{len(expected)} bad rows" in message
    assert len(re.findall(", row ", message)) == len(expected) + 2


def test_lesions_with_two_diagnoses_are_named(tmp_path):
    root = folder(tmp_path, "Training")
    groups = [[image, "HAM_0000001", ""] for image in TRAIN]
    write_table(root / "ISIC2018_Task3_Training_LesionGroupings.csv", GROUPS_HEADER, groups)
    assert "lesion HAM_0000001 is NV here but MEL in" in complaint(root)


def test_a_missing_class_column_is_named(tmp_path):
    root = folder(tmp_path, "Training")
    classes = [name for name in ISIC2018 if name != "AKIEC"]
    truth = root / "ISIC2018_Task3_Training_GroundTruth" / "ISIC2018_Task3_Training_GroundTruth.csv"
    write_table(truth, ["image", *classes], one_hot(classes, TRAIN))
    message = complaint(root)
    assert str(truth) in message
    assert "akiec missing" in message


def test_columns_of_weights_are_no_classes(tmp_path):
    root = folder(tmp_path, "Test")
    truth = root / "ISIC2018_Task3_Test_GroundTruth" / "ISIC2018_Task3_Test_GroundTruth.csv"
    rows = [[*row, "1.0", "0.0"] for row in one_hot(ISIC2018, TEST)]
    write_table(truth, ["image", *ISIC2018, "score_weight", "validation_weight"], rows)
    assert read_dataset(root).classes == ("BKL", "DF", "NV")


def test_the_test_image_that_was_never_scored_is_left_out(tmp_path):
    root = folder(tmp_path, "Test")
    truth = root / "ISIC2018_Task3_Test_GroundTruth" / "ISIC2018_Task3_Test_GroundTruth.csv"
    write_table(truth, ["image", *ISIC2018], one_hot(ISIC2018, TEST | {"ISIC_0035068": "none"}))
    dataset = read_dataset(root)
    assert len(dataset) == 3
    assert any("row 5: ISIC_0035068 is left out" in note for note in dataset.notes)


def test_the_test_set_as_dataverse_ships_it(tmp_path):
    header = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset"]
    rows = [
        [f"HAMTEST_{n}", image, dx, "histo", "", "unknown", "back", "vidir_modern"]
        for n, (image, dx) in enumerate({"ISIC_0000021": "bkl", "ISIC_0000022": "nv", "ISIC_0035068": "nv"}.items())
    ]
    write_table(tmp_path / "ISIC2018_Task3_Test_GroundTruth.tab", header, rows, separator="\t")
    write_images(tmp_path / "ISIC2018_Task3_Test_Images", ["ISIC_0000021.JPG", "ISIC_0000022"])
    dataset = read_dataset(tmp_path)
    assert (dataset.layout, dataset.classes, dataset.n_lesions) == ("ham10000", ("bkl", "nv"), 2)
    assert set(dataset.parts.tolist()) == {"test"}
    assert dataset.lesion_given.all()
    assert any("ISIC_0035068 is left out" in note for note in dataset.notes)
    # Beside the training set it stays unread: nobody shall train on it by accident.
    write_table(tmp_path / "HAM10000_metadata", header, [["HAM_1", "ISIC_0000001", "nv", "", "", "", "", ""]])
    write_images(tmp_path / "HAM10000_images_part_1", ["ISIC_0000001"], first=9)
    whole = read_dataset(tmp_path)
    assert whole.image_ids.tolist() == ["ISIC_0000001"]
    assert whole.notes == (
        "ISIC2018_Task3_Test_GroundTruth.tab was not read: a test set belongs into a folder of its own",
    )


def test_rows_with_too_many_cells_of_both_tables(tmp_path):
    root = folder(tmp_path, "Training")
    truth = root / "ISIC2018_Task3_Training_GroundTruth" / "ISIC2018_Task3_Training_GroundTruth.csv"
    first, *rest = one_hot(ISIC2018, TRAIN)
    write_table(truth, ["image", *ISIC2018], [[*first, "0.0"], *rest])
    write_table(root / "ISIC2018_Task3_Training_LesionGroupings.csv", GROUPS_HEADER, [*GROUPS[:-1], [*GROUPS[-1], "x"]])
    message = complaint(root)
    assert "GroundTruth.csv, row 2: 9 cells for 8 columns" in message
    assert f"LesionGroupings.csv, row {len(GROUPS) + 1}: 4 cells for 3 columns" in message
    assert "2 bad rows" in message
