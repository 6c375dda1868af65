from __future__ import annotations

import pytest
from cv_folds_samples import metadata_row, write_layout
from reader_samples import complaint, write_images, write_table

from cv_folds.data.readers import FORMATS, READERS, read_dataset
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import DataError, UsageError


def test_an_unknown_folder_says_what_was_looked_for_and_what_is_there(tmp_path):
    write_images(tmp_path / "pictures", ["b", "a", "c"])
    write_table(tmp_path / "list.tsv", ["who", "what"], [["x", "y"]], separator="\t")
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    message = complaint(tmp_path)
    assert message.startswith(f"{tmp_path}: no layout that is known")
    assert all(f"\n  {name}: {reader.looks_for}" in message for name, reader in READERS.items())
    assert "pictures: 3 images, a.jpg ..." in message
    assert "list.tsv, with columns who, what" in message
    assert "notes.pdf" in message
    assert "--format" in message


def test_an_empty_folder(tmp_path):
    assert "There is:\n  nothing" in complaint(tmp_path)


@pytest.mark.parametrize("layout", READERS)
def test_every_forced_layout_complains_about_a_folder_of_something_else(tmp_path, layout):
    write_images(tmp_path / "pictures", ["a"])
    message = complaint(tmp_path, layout=layout)
    assert str(tmp_path) in message
    assert "pictures: a.jpg" in message


@pytest.mark.parametrize("layout", FORMATS)
def test_a_missing_folder(tmp_path, layout):
    with pytest.raises(DataError, match="no such folder"):
        read_dataset(tmp_path / "nowhere", layout=layout)


def test_a_layout_that_does_not_exist(tmp_path):
    with pytest.raises(UsageError, match="--format dicom: there are auto, ham10000"):
        read_dataset(tmp_path, layout="dicom")


def test_a_forced_layout_wins_over_the_one_that_is_seen(tmp_path):
    rows = [metadata_row("ISIC_1", "HAM_1", "nv"), metadata_row("ISIC_2", "HAM_1", "nv")]
    root = write_layout(tmp_path / "ham", rows)
    seen, forced = read_dataset(root), read_dataset(root, layout="csv")
    assert (seen.layout, forced.layout) == ("ham10000", "csv")
    # Its columns have usual names, so that the table reads alike as one of one's own.
    assert forced.fingerprint == seen.fingerprint


def test_tables_that_no_one_asked_for_stay_unread(tmp_path):
    root = write_layout(tmp_path / "ham", [metadata_row("ISIC_1", "HAM_1", "nv")])
    (root / "hmnist_28_28_L.csv").write_bytes(b"\xff\xfenot even text")
    write_table(root / "labels.csv", ["image", "label"], [["nothing", "like it"]])
    assert read_dataset(root).notes == ()


def test_a_subset_keeps_what_is_said_of_each_image(tmp_path):
    write_images(tmp_path / "nv", ["a", "b", "c"])
    write_images(tmp_path / "mel", ["d"], first=7)
    write_table(tmp_path / "g.csv", ["image", "lesion"], [["a", "L"], ["b", "L"]])
    dataset = read_dataset(tmp_path)
    subset = dataset.select(dataset.image_ids != "c")
    assert subset.lesion_given.tolist() == [True, True, False]
    assert subset.notes == (*dataset.reader_notes, "1 of 3 images names no lesion: each is its own group")


def test_columns_are_not_set_for_a_layout_whose_columns_are_published(tmp_path):
    rows = [metadata_row(f"ISIC_{n}", f"HAM_{n}", "nv") for n in (1, 2)]
    text = "image_id,lesion_id,dx,person\nISIC_1,HAM_1,nv,P\nISIC_2,HAM_2,nv,P\n"
    root = write_layout(tmp_path / "ham", rows, text=text)
    columns = ColumnSettings(lesion="person")
    with pytest.raises(UsageError, match=r"--set columns\.lesion=person: not read .*layout ham10000; .*--format csv"):
        read_dataset(root, columns=columns)
    assert read_dataset(root, columns=columns, layout="csv").n_lesions == 1
