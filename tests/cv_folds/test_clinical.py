from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cv_folds_samples import image_row

from cv_folds.arrays import frozen
from cv_folds.clinical import COLUMNS, ClinicalTable, read_clinical
from cv_folds.data.dataset import build_dataset
from cv_folds.errors import DataError

HEADER = ",".join(COLUMNS) + "\n"


def random_table(seed: int, n: int = 30) -> ClinicalTable:
    rng = np.random.default_rng(seed)
    ages = rng.choice([np.nan, 0.0, 45.0, 52.5, 1 / 3, 85.0], size=n)
    return ClinicalTable(
        image_ids=frozen([f"{index:03d}" for index in rng.permutation(n)], np.str_),
        ages=frozen(ages, np.float64),
        sexes=frozen(rng.choice(["", "male", "female"], size=n), np.str_),
        localizations=frozen(rng.choice(["", "back", 'lower "leg", left', "NA"], size=n), np.str_),
        dx_types=frozen(rng.choice(["", "histo", "follow_up"], size=n), np.str_),
    )


def assert_same(first: ClinicalTable, second: ClinicalTable) -> None:
    for name, column in vars(first).items():
        np.testing.assert_array_equal(column, getattr(second, name), err_msg=name)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_written_comes_back(tmp_path, seed):
    table = random_table(seed)
    table.write_csv(tmp_path / "metadata.csv")
    assert_same(ClinicalTable.read_csv(tmp_path / "metadata.csv"), table)
    assert not table.empty


def test_ids_and_missing_values_are_text_as_written(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text(HEADER + "001,,NA,unknown,Unknown\n")
    table = ClinicalTable.read_csv(path)
    assert (table.image_ids.tolist(), table.sexes.tolist()) == (["001"], ["NA"])
    assert (table.localizations.tolist(), table.dx_types.tolist()) == ([""], [""])
    assert np.isnan(table.ages).all()


def test_a_dataset_gives_its_values_and_unknown_is_not_known(tmp_path):
    (tmp_path / "x.png").touch()
    rows = [image_row(name, name, "nv", tmp_path / "x.png") for name in ("b", "a")]
    rows[0] = replace(rows[0], sex="unknown", localization="Unknown", age=np.nan)
    table = ClinicalTable.of_dataset(build_dataset(rows, name="x", root=tmp_path, demo=False))
    assert table.image_ids.tolist() == ["a", "b"]
    assert (table.sexes.tolist(), table.localizations.tolist()) == (["male", ""], ["back", ""])
    np.testing.assert_array_equal(table.ages, [45, np.nan])


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_taken_by_id(seed):
    table = random_table(seed)
    wanted = np.random.default_rng(seed + 100).permutation(table.image_ids)[:7]
    taken = table.take(wanted)
    assert taken.image_ids.tolist() == wanted.tolist()
    for name, age, sex in zip(taken.image_ids, taken.ages, taken.sexes, strict=True):
        row = table.image_ids.tolist().index(name)
        np.testing.assert_array_equal((age, sex == table.sexes[row]), (table.ages[row], True))
    with pytest.raises(DataError, match="stranger"):
        table.take(["stranger", *wanted])


def test_an_image_twice_is_refused():
    table = random_table(0)
    with pytest.raises(DataError, match=str(table.image_ids[3])):
        table.rows(np.array([3, 3]))


def test_nothing_known_is_empty_whatever_the_kind_of_confirmation():
    ids = frozen(["a", "b"])
    blank = ClinicalTable.blank(ids)
    assert blank.empty
    assert len(blank) == 2
    assert replace(blank, dx_types=frozen(["histo", ""])).empty
    assert not replace(blank, ages=frozen([np.nan, 3.0])).empty
    assert not replace(blank, sexes=frozen(["", "female"])).empty
    assert not replace(blank, localizations=frozen(["ear", ""])).empty


def test_a_run_without_the_file_knows_nothing(tmp_path):
    ids = frozen(["b", "a"])
    assert_same(read_clinical(tmp_path / "metadata.csv", ids), ClinicalTable.blank(ids))


def test_the_images_of_a_run_come_in_its_order(tmp_path):
    table = random_table(1)
    path = tmp_path / "metadata.csv"
    table.write_csv(path)
    assert_same(read_clinical(path, frozen(table.image_ids[::-3])), table.rows(np.arange(len(table))[::-3]))
    with pytest.raises(DataError, match=r"metadata\.csv.*\n.*stranger\n.*hamcv run"):
        read_clinical(path, frozen(["stranger"]))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "columns"),
        (HEADER, "rows"),
        ("image_id,age\na,3\n", "columns"),
        (HEADER + "a,3,male,back,histo\nb,4,male\n", "row 3: b,4,male"),
        (HEADER + "a,old,male,back,histo\nb,inf,male,back,histo\n", "row 2: age 'old'\n  row 3: age 'inf'"),
        (HEADER + "a,3,male,back,histo\na,3,male,back,histo\n", "more than once:\n  a"),
        (HEADER + 'a,3,"male,back,histo\n', "cannot be read"),
    ],
)
def test_a_damaged_file_is_refused_with_its_rows(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "metadata.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=r"metadata\.csv") as caught:
        ClinicalTable.read_csv(path)
    assert named in str(caught.value)
    assert "delete it" in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "metadata.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"metadata\.csv"):
        ClinicalTable.read_csv(tmp_path / "metadata.csv")
