from __future__ import annotations

from pathlib import Path

import pytest
from dataverse_server import isic, table_of

from cv_folds.data.fetch.published import PublishedArchive, PublishedSet, PublishedTable
from cv_folds.data.fetch.table import check_table, read_image_ids
from cv_folds.errors import DataError

IMAGES = [isic(number) for number in range(5)]
PUBLISHED = PublishedSet(
    title="small",
    table=PublishedTable(name="table", also=()),
    archives=(PublishedArchive(name="a.zip", folders=("a",), images=5),),
    without_image=frozenset({isic(99)}),
)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "table"
    path.write_bytes(content)
    return path


def complaint(folder: Path, content: bytes, images: list[str] = IMAGES) -> str:
    path = written(folder, content)
    with pytest.raises(DataError) as caught:
        check_table(path, frozenset(images), PUBLISHED)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_the_published_forms_are_read(tmp_path: Path, separator: str, mark: bytes, ending: bytes) -> None:
    content = mark + table_of(IMAGES, separator).replace(b"\n", ending)
    assert read_image_ids(written(tmp_path, content)) == tuple(IMAGES)


def test_the_archival_form_with_its_quotes_is_read(tmp_path: Path) -> None:
    lines = table_of(IMAGES, "\t").decode().splitlines()
    quoted = ["\t".join(f'"{cell}"' for cell in line.split("\t")) for line in lines]
    assert read_image_ids(written(tmp_path, "\n".join(quoted).encode())) == tuple(IMAGES)


def test_a_table_of_all_images_and_the_unpublished_one_is_right(tmp_path: Path) -> None:
    check_table(written(tmp_path, table_of(IMAGES)), frozenset(IMAGES), PUBLISHED)
    check_table(written(tmp_path, table_of([*IMAGES, isic(99)])), frozenset(IMAGES), PUBLISHED)


def test_all_ids_that_do_not_agree_are_named(tmp_path: Path) -> None:
    message = complaint(tmp_path, table_of([*IMAGES[:3], IMAGES[0], isic(50)]))
    assert f"{IMAGES[0]} has 2 rows" in message
    assert f"{isic(50)} has no image" in message
    assert f"{IMAGES[3]}, an image, has no row" in message
    assert f"{IMAGES[4]}, an image, has no row" in message


@pytest.mark.parametrize("cut", [8, 30, 150])
def test_a_truncated_table_is_noticed(tmp_path: Path, cut: int) -> None:
    complaint(tmp_path, table_of(IMAGES)[:-cut])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "lacks lesion_id"),
        (b"<!DOCTYPE html><html></html>", "lacks lesion_id"),
        (b"PK\x03\x04\xff\xfe", "is not the published table"),
        (b"image,MEL,NV\nISIC_0000001,1,0\n", "lacks lesion_id, image_id"),
        (table_of(["001"]), "row 2: '001' is no image id"),
        (table_of([""]), "row 2: '' is no image id"),
        (table_of(["ISIC_٠٠٠٠٠٠٩"]), "is no image id"),
        (table_of(IMAGES).replace(b"back", b"back,back", 1), "row 2: has another number of cells"),
        (table_of(IMAGES) + b'HAM_1,"ISIC_0000001', "is not the published table"),
        (table_of(IMAGES) + b"HAM_1\n", "row 7: has another number of cells"),
    ],
)
def test_other_content_is_not_taken_for_the_table(tmp_path: Path, content: bytes, why: str) -> None:
    message = complaint(tmp_path, content)
    assert why in message
    assert "delete it and run the same command again" in message
