from __future__ import annotations

from dataclasses import replace

import pytest
from cv_folds_samples import image_row, random_dataset

from cv_folds.arrays import frozen
from cv_folds.data.dataset import build_dataset
from cv_folds.errors import DataError
from cv_folds.fold_file import count_folds, read_fold_file
from cv_folds.split_table import image_name
from cv_folds.splits import make_folds


@pytest.fixture
def dataset(tmp_path):
    """Two classes of four lesions, two images each."""
    file = tmp_path / "image.png"
    file.touch()
    rows = [
        image_row(f"{name}_{lesion}_{image}", f"{name}_{lesion}", name, file)
        for name in ("mel", "nv")
        for lesion in range(4)
        for image in range(2)
    ]
    return build_dataset(rows, name="small", root=tmp_path, demo=False)


def fold_of(name: str) -> int:
    return int(name.split("_")[1]) % 2


def write(tmp_path, lines):
    path = tmp_path / "folds.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path, dataset, n_folds=2):
    return read_fold_file(path, dataset, dataset.lesion_ids, n_folds=n_folds)


@pytest.mark.parametrize("seed", range(8))
def test_what_folds_write_is_read_back(tmp_path, seed):
    dataset = random_dataset(tmp_path, seed, fewest_lesions=4)
    made = make_folds(dataset, n_folds=4, seed=seed)
    made.write_csv(tmp_path / "folds.csv")
    assert count_folds(tmp_path / "folds.csv") == 4
    again = read_fold_file(tmp_path / "folds.csv", dataset, dataset.lesion_ids, n_folds=4)
    assert again.to_csv() == made.to_csv()
    assert not again.leaks


@pytest.mark.parametrize(
    ("header", "separator", "cell", "first"),
    [
        ("image_id,fold", ",", "{}", 0),
        ("isic_id;Kfold", ";", "{}.jpg", 0),
        ("something\tFOLD", "\t", "part_1/{}.JPG", 0),
        ("﻿image,label,fold", ",", "{},x", 1),
        ("file,cv_fold", ",", "C:\\images\\{}.png", 1),
    ],
)
def test_files_of_others(tmp_path, dataset, header, separator, cell, first):
    names = dataset.image_ids.tolist()[::-1]
    path = write(tmp_path, [header, *(f"{cell.format(name)}{separator}{fold_of(name) + first}" for name in names)])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    folds = read(path, dataset)
    assert folds.folds.tolist() == [fold_of(name) for name in dataset.image_ids.tolist()]


def test_everything_that_is_wrong_is_said_at_once(tmp_path, dataset):
    names = dataset.image_ids.tolist()
    lines = ["image_id,fold", *(f"{name},{fold_of(name)}" for name in names[3:])]
    lines += [f"{names[5]},0", "stranger,1", f"{names[0]},1.5", f"{names[1]},"]
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, lines), dataset)
    message = str(caught.value)
    for words in (
        "stranger", f"line 15: {names[5]} (first: line 4)", f"{names[0]}: 1.5", f"{names[1]}: (empty)",
        "images that are not in the file (1):\n  " + names[2],
    ):  # fmt: skip
        assert words in message, message


@pytest.mark.parametrize(
    ("fold", "words"),
    [
        (lambda name: 2 * fold_of(name), ["folds without an image", "fold 1"]),
        (lambda name: fold_of(name) + 7, ["the least is 7"]),
        (lambda name: 10**12 * fold_of(name), ["only 2 of them occur"]),
        (lambda name: f"{fold_of(name)}" * 5_000, ["folds that are no whole numbers"]),
        (lambda name: int(name.split("_")[1]), ["the file has 4, the run 2", "--folds 4"]),
        (lambda name: int(name.startswith("nv")), ["fold 0 has no image of nv", "fold 1 has no image of mel"]),
    ],
)
def test_folds_that_are_none(tmp_path, dataset, fold, words):
    path = write(tmp_path, ["image_id,fold", *(f"{name},{fold(name)}" for name in dataset.image_ids.tolist())])
    with pytest.raises(DataError) as caught:
        read(path, dataset)
    assert all(text in str(caught.value) for text in words), str(caught.value)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "is empty"),
        (["image_id,fold"], "no rows"),
        (["name,part", "stranger,1"], "no column of image ids (image_id"),
        (["image_id,part", "mel_0_0,1"], "fold numbers (fold, "),
        (["image_id,image_id", "mel_0_0,1"], "named twice: image_id"),
        (["image_id,fold", "mel_0_0,1,9"], "more cells"),
        (["image_id,fold", 'mel_0_0,"1'], "quote"),
    ],
)
def test_tables_that_are_none(tmp_path, dataset, lines, words):
    path = tmp_path / "folds.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        read(path, dataset)
    assert words in str(caught.value)


def test_a_file_that_leaks_is_told_apart(tmp_path, dataset):
    path = write(tmp_path, ["image_id,fold", *(f"{name},{name.split('_')[2]}" for name in dataset.image_ids.tolist())])
    folds = read(path, dataset)
    assert folds.leaks
    # Of merged lesions too, whose ids differ.
    merged = replace(dataset, lesion_ids=frozen([f"{name}_x" for name in dataset.image_ids]))
    groups = frozen(dataset.lesion_ids)
    assert read_fold_file(path, merged, groups, n_folds=2).leaks
    assert not read_fold_file(path, merged, merged.lesion_ids, n_folds=2).leaks


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("ISIC_1", "ISIC_1"), ("ISIC_1.jpg", "ISIC_1"), (" a/b/ISIC_1.JPEG ", "ISIC_1"), ("a\\ISIC_1.png", "ISIC_1"),
        ("scan.v2", "scan.v2"), ("scan.v2.tif", "scan.v2"), ("", ""),
    ],
)  # fmt: skip
def test_image_names(cell, name):
    assert image_name(cell) == name


def test_counting_the_folds_of_what_is_no_file(tmp_path):
    assert count_folds(tmp_path / "none.csv") is None
    assert count_folds(write(tmp_path, ["a,b", "1,2"])) is None
    assert count_folds(write(tmp_path, ["a,fold", "x,0", "y,1", "z,2"])) == 3
