from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from cv_folds_samples import COLUMNS, metadata_row, random_image, table_text, write_layout
from PIL import Image

from cv_folds.data.readers import read_dataset
from cv_folds.errors import DataError

ROWS = [
    metadata_row("ISIC_3", "HAM_1", "nv", age="", sex="unknown"),
    metadata_row("ISIC_1", "HAM_0", "mel", age="80.0", sex="female", localization="lower extremity"),
    metadata_row("ISIC_2", "HAM_0", "mel", age="unknown", dx_type="follow_up"),
]


def complaint(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_dataset(root)
    assert caught.value.exit_code == 3
    return str(caught.value)


def test_every_column_arrives_ordered_by_image_id(tmp_path):
    dataset = read_dataset(write_layout(tmp_path / "ham", ROWS), name="mine")
    assert (dataset.name, dataset.demo, dataset.root) == ("mine", False, tmp_path / "ham")
    assert dataset.image_ids.tolist() == ["ISIC_1", "ISIC_2", "ISIC_3"]
    assert dataset.lesion_ids.tolist() == ["HAM_0", "HAM_0", "HAM_1"]
    assert dataset.classes == ("mel", "nv")
    assert dataset.labels.tolist() == [0, 0, 1]
    assert dataset.dx_types.tolist() == ["histo", "follow_up", "histo"]
    np.testing.assert_array_equal(dataset.ages, [80.0, math.nan, math.nan])
    assert dataset.sexes.tolist() == ["female", "male", "unknown"]
    assert dataset.localizations.tolist() == ["lower extremity", "back", "back"]
    assert [path.name for path in dataset.paths] == ["ISIC_1.png", "ISIC_2.png", "ISIC_3.png"]


@pytest.mark.parametrize("name", ["HAM10000_metadata", "HAM10000_metadata.csv", "ham10000_metadata.CSV"])
@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_any_separator_line_end_and_byte_order_mark_read_alike(tmp_path, name, separator, line_end, start):
    plain = read_dataset(write_layout(tmp_path / "plain", ROWS))
    text = start + table_text(ROWS, separator=separator, line_end=line_end)
    other = read_dataset(write_layout(tmp_path / "other", ROWS, name=name, text=text))
    assert other.fingerprint == plain.fingerprint
    for column in ("image_ids", "lesion_ids", "labels", "dx_types", "ages", "sexes", "localizations"):
        np.testing.assert_array_equal(getattr(other, column), getattr(plain, column))


@pytest.mark.parametrize("name", ["HAM10000_metadata.tsv", "HAM10000_metadata.tab", "HAM10000_metadata.txt"])
def test_table_names_of_the_mirrors(tmp_path, name):
    root = write_layout(tmp_path / "ham", ROWS, name=name, text=table_text(ROWS, separator="\t"))
    assert len(read_dataset(root)) == 3


def test_the_download_of_harvard_dataverse(tmp_path):
    """Its table has no extension, an eighth column and, in another form of it, quotes around every word."""
    columns = (*COLUMNS, "dataset")
    rows = [{key: f'"{value}"' for key, value in (row | {"dataset": "vidir_modern"}).items()} for row in ROWS]
    plain = read_dataset(write_layout(tmp_path / "plain", ROWS))
    text = table_text(rows, columns=columns, separator="\t", line_end="\r\n")
    root = write_layout(tmp_path / "dataverse", ROWS, name="HAM10000_metadata", text=text)
    (root / "HAM10000_segmentations_lesion_tschandl").mkdir()
    random_image(5).save(root / "HAM10000_segmentations_lesion_tschandl" / "ISIC_1_segmentation.png")
    dataset = read_dataset(root)
    assert (dataset.layout, dataset.notes) == ("ham10000", ())
    assert dataset.fingerprint == plain.fingerprint
    assert dataset.sexes.tolist() == plain.sexes.tolist()
    assert dataset.lesion_given.all()
    assert set(dataset.parts.tolist()) == {""}


def test_table_may_lie_below_the_folder_and_twice_when_equal(tmp_path):
    root = write_layout(tmp_path / "ham", ROWS, name="HAM10000_images_part_1/HAM10000_metadata.csv")
    (root / "HAM10000_metadata").write_text(table_text(ROWS))
    assert len(read_dataset(root)) == 3
    (root / "HAM10000_metadata").write_text(table_text(ROWS[:2]))
    message = complaint(root)
    assert "HAM10000_images_part_1/HAM10000_metadata.csv" in message
    assert str(root / "HAM10000_metadata") in message


def test_header_case_blanks_order_and_further_columns_do_not_matter(tmp_path):
    columns = ("dx", "image_id", "extra", "lesion_id")
    text = table_text(
        [row | {"extra": "x"} for row in ROWS], columns=columns, header=(" DX", "Image_ID", "extra", "lesion_id ")
    )
    dataset = read_dataset(write_layout(tmp_path / "ham", ROWS, text=text))
    assert dataset.labels.tolist() == [0, 0, 1]
    assert np.isnan(dataset.ages).all()
    assert set(dataset.sexes.tolist()) == {""}


def test_ids_and_classes_stay_text(tmp_path):
    rows = [metadata_row("001", "007", "NA"), metadata_row("01", "07", "nan"), metadata_row("1", "7", "1e3")]
    dataset = read_dataset(write_layout(tmp_path / "ham", rows))
    assert dataset.image_ids.tolist() == ["001", "01", "1"]
    assert dataset.lesion_ids.tolist() == ["007", "07", "7"]
    assert dataset.classes == ("1e3", "NA", "nan")
    assert dataset.labels.tolist() == [1, 2, 0]


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".JPEG", ".Png", ".bmp", ".tif", ".TIFF"])
def test_image_extensions_in_any_case(tmp_path, suffix):
    root = write_layout(tmp_path / "ham", ROWS)
    (folder,) = root.glob("HAM*part_1")
    (folder / "ISIC_1.png").unlink()
    random_image(1).save(folder / f"ISIC_1{suffix}")
    assert read_dataset(root).paths[0].name == f"ISIC_1{suffix}"


def test_the_same_file_twice_is_taken_once_and_different_ones_are_refused(tmp_path):
    root = write_layout(tmp_path / "ham", ROWS)
    (folder,) = root.glob("HAM*part_1")
    again = root / "ham10000_images_part_1"
    again.mkdir()
    content = (folder / "ISIC_1.png").read_bytes()
    (again / "ISIC_1.png").write_bytes(content)
    assert read_dataset(root).paths[0] == folder / "ISIC_1.png"
    (again / "ISIC_1.png").write_bytes(content + b" ")
    message = complaint(root)
    assert "image ISIC_1 has several different files" in message
    assert str(folder / "ISIC_1.png") in message
    assert str(again / "ISIC_1.png") in message


def test_files_without_a_row_are_left_out(tmp_path):
    root = write_layout(tmp_path / "ham", ROWS)
    random_image(9).save(root / "figure.png")
    (root / "._ISIC_1.png").write_bytes(b"what macOS leaves beside a file")
    assert len(read_dataset(root)) == 3


def test_missing_folder(tmp_path):
    message = complaint(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message
    assert "--data" in message


def test_folder_without_a_table_says_what_it_holds(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    message = complaint(tmp_path)
    assert "HAM10000_metadata" in message
    assert "holiday.jpg" in message


@pytest.mark.parametrize("gone", ["image_id", "lesion_id", "dx"])
def test_unknown_column_layout_names_what_is_missing_and_what_is_there(tmp_path, gone):
    columns = tuple(column for column in COLUMNS if column != gone)
    message = complaint(write_layout(tmp_path / "ham", ROWS, text=table_text(ROWS, columns=columns)))
    assert f"unknown column layout: {gone} missing" in message
    assert ", ".join(columns) in message


@pytest.mark.parametrize("text", ["", "\n", "one,two\n1,2\n"])
def test_a_table_of_something_else(tmp_path, text):
    assert "image_id, lesion_id, dx missing" in complaint(write_layout(tmp_path / "ham", ROWS, text=text))


def test_a_table_without_rows(tmp_path):
    assert "names no image" in complaint(write_layout(tmp_path / "ham", ROWS, text=table_text([])))


def test_a_table_in_another_encoding(tmp_path):
    root = write_layout(tmp_path / "ham", ROWS)
    places = [row | {"localization": "Rücken"} for row in ROWS]
    (root / "HAM10000_metadata.csv").write_bytes(table_text(places).encode("latin-1"))
    message = complaint(root)
    assert "HAM10000_metadata.csv" in message
    assert "UTF-8" in message


@pytest.mark.parametrize("rows_after", [0, 3, 4000])
def test_a_quote_that_is_never_closed(tmp_path, rows_after):
    torn = metadata_row("ISIC_9", "HAM_9", "nv", sex='"male')
    after = [metadata_row(f"ISIC_1{index}", f"HAM_1{index}", "nv") for index in range(rows_after)]
    message = complaint(write_layout(tmp_path / "ham", ROWS, text=table_text([*ROWS, torn, *after])))
    assert "HAM10000_metadata.csv, row 5" in message
    assert "quote" in message


def test_a_quote_that_is_never_closed_in_the_header(tmp_path):
    message = complaint(write_layout(tmp_path / "ham", ROWS, text='lesion_id,"image_id,dx\nHAM_1,ISIC_1,nv\n'))
    assert "HAM10000_metadata.csv, row 1" in message
    assert "quote" in message


def test_quoted_fields(tmp_path):
    rows = [ROWS[0], ROWS[1] | {"localization": '"back, left ""side"""'}, ROWS[2] | {"dx": '"mel"'}]
    dataset = read_dataset(write_layout(tmp_path / "ham", ROWS, text=table_text(rows)))
    assert dataset.localizations[0] == 'back, left "side"'
    assert dataset.classes == ("mel", "nv")


@pytest.mark.parametrize(
    "image_id",
    ["../../etc/passwd", "/etc/passwd", "a/b", "..", ".hidden", "a b", "a\\b", "C:evil", "-rf", "ISIC_1\u202e", "é"],
)
def test_an_id_that_a_path_could_be_made_of(tmp_path, image_id):
    root = write_layout(tmp_path / "deep" / "ham", ROWS)
    for column in ("image_id", "lesion_id"):
        (root / "HAM10000_metadata.csv").write_text(table_text([*ROWS, ROWS[0] | {column: image_id}]))
        assert f"row 5: {column} {image_id!r} is no plain id" in complaint(root)


@pytest.mark.parametrize("age", ["-1", "121", "inf", "old", "1,5"])
def test_ages_that_make_no_sense(tmp_path, age):
    rows = [*ROWS, metadata_row("ISIC_4", "HAM_4", "nv", age=age)]
    message = complaint(write_layout(tmp_path / "ham", rows, text=table_text(rows, separator="\t")))
    assert f"row 5: age '{age}'" in message


def test_all_bad_rows_in_one_message(tmp_path):
    good = [metadata_row(f"ISIC_{index}", f"HAM_{index}", "nv") for index in range(30)]
    bad = [
        metadata_row("ISIC_1", "HAM_1", "nv"),
        metadata_row("ISIC_40", "HAM_2", "mel"),
        metadata_row("../ISIC_2", "HAM_3", "nv"),
        metadata_row("ISIC_99", "HAM_99", "nv"),
        metadata_row("ISIC_41", "", ""),
        metadata_row("ISIC_42", "HAM_42", "nv", age="999"),
    ]
    root = write_layout(tmp_path / "ham", [*good, metadata_row("ISIC_40", "", ""), metadata_row("ISIC_42", "", "")])
    (root / "HAM10000_metadata.csv").write_text(table_text([*good, *bad]))
    message = complaint(root)
    assert str(root) in message
    assert "7 bad rows" in message
    assert re.findall(r"row (\d+): ", message) == ["34", "35", "36", "36", "37", "32", "33"]
    for part in (
        "image id ISIC_1 occurs again (first: HAM10000_metadata.csv, row 3)",
        "lesion HAM_2 is mel here but nv in HAM10000_metadata.csv, row 4",
        "image_id '../ISIC_2' is no plain id",
        "image ISIC_99 is not below the folder",
        "lesion_id is empty",
        "dx is empty",
        "age '999'",
    ):
        assert part in message


def test_many_bad_rows_are_counted(tmp_path):
    rows = [metadata_row(f"ISIC_{index:03d}", f"HAM_{index}", "nv") for index in range(250)]
    root = write_layout(tmp_path / "ham", rows)
    for path in root.glob("*/*.png"):
        path.unlink()
    message = complaint(root)
    assert "250 bad rows" in message
    assert len(re.findall("is not below the folder", message)) == 200
    assert message.endswith("... and 50 more")


def test_a_link_to_an_image_that_is_not_there(tmp_path):
    root = write_layout(tmp_path / "ham", ROWS)
    (folder,) = root.glob("HAM*part_1")
    (folder / "ISIC_2.png").unlink()
    (folder / "ISIC_2.png").symlink_to("annex/objects/none")
    assert "image ISIC_2 is not below the folder" in complaint(root)


def test_a_short_row_is_bad_and_not_shifted(tmp_path):
    root = write_layout(tmp_path / "ham", ROWS, text=table_text(ROWS) + "HAM_9\n")
    message = complaint(root)
    assert "row 5: image_id is empty" in message
    assert "row 5: dx is empty" in message


def test_a_row_with_too_many_cells_is_bad_and_not_cut(tmp_path):
    text = table_text(ROWS).replace("back\n", "back,,\n", 1)
    root = write_layout(tmp_path / "ham", ROWS, text=text + "HAM_1,ISIC_1,nv,histo,45,0,male,back\n")
    assert "row 5: 8 cells for 7 columns" in complaint(root)
    (root / "HAM10000_metadata.csv").write_text(text)
    assert len(read_dataset(root)) == len(ROWS)


@pytest.mark.parametrize(("suffix", "place"), [(".bmp", 60), (".png", -60)])
def test_images_of_one_name_and_size_are_one_only_when_they_are_copies(tmp_path, suffix, place):
    root = write_layout(tmp_path / "ham", ROWS)
    (one,) = root.glob("*/ISIC_1.png")
    one.unlink()
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    for folder in ("a", "b"):
        (root / folder).mkdir()
        Image.fromarray(picture).save(root / folder / f"ISIC_1{suffix}")
    assert len(read_dataset(root)) == len(ROWS)
    changed = root / "b" / f"ISIC_1{suffix}"
    content = bytearray(changed.read_bytes())
    content[place] ^= 1
    changed.write_bytes(content)
    assert "image ISIC_1 has several different files" in complaint(root)
