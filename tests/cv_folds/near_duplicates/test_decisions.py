from __future__ import annotations

import pytest
from near_duplicate_samples import dataset_of, skin, view

from cv_folds.errors import DataError
from cv_folds.near_duplicates.decisions import read_decisions
from cv_folds.near_duplicates.settings import AuditSettings


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    pictures = dict.fromkeys("abcdef", view(skin(0)))
    return dataset_of(tmp_path_factory.mktemp("data"), pictures, lesions={"a": "L1", "b": "L1"})


def settings(tmp_path, accept=None, reject=None):
    files = {}
    for name, text in (("accept", accept), ("reject", reject)):
        if text is not None:
            (tmp_path / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
            files[name] = str(tmp_path / f"{name}.csv")
    return AuditSettings(**files)


def test_without_files_nothing_is_decided(dataset):
    decisions = read_decisions(AuditSettings(), dataset)
    assert decisions.accepted == decisions.rejected == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "image_a,image_b\nd,c\ne,f\n",
        "score,image_a,why,image_b\n1,d,'x',c\n.5,f,,e\n",
        "\ufeffIMAGE_A;Image_B\r\nd;c\r\ne;f\r\n",
        "image_a\timage_b\nd\tc\ne\tf\nc\td",
    ],
)
def test_pairs_are_read_whatever_their_order_and_form(tmp_path, dataset, text):
    decisions = read_decisions(settings(tmp_path, accept=text), dataset)
    assert decisions.accepted == {("c", "d"), ("e", "f")}
    assert decisions.rejected == frozenset()


def test_all_bad_rows_of_both_files_are_listed(tmp_path, dataset):
    accept = "image_a,image_b\na,c\nc,d\nx,a\ne,e,why\n"
    reject = "image_a,image_b\nd,c\na,b\nd,b\nx,y\na,f\n"
    with pytest.raises(DataError) as caught:
        read_decisions(settings(tmp_path, accept, reject), dataset)
    assert str(caught.value).splitlines() == [
        "7 bad rows in the decided pairs:",
        "  accept.csv, row 5: 3 cells for 2 columns",
        "  accept.csv, row 4: the data have no image 'x'",
        "  accept.csv, row 5: image e is paired with itself",
        "  reject.csv, row 5: the data have no image 'x' and no image 'y'",
        "  reject.csv, row 2: c and d are accepted in accept.csv, row 3",
        "  reject.csv, row 3: a and b have one lesion id, L1",
        "  reject.csv, row 4: b and d are one lesion by accepted pairs and lesion ids",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "image_a, image_b missing.*Found: nothing"),
        ("image_a,other\na,b\n", "image_b missing.*Found: image_a, other"),
        ("image_a,image_b,image_a\na,b,c\n", "there twice: image_a"),
        (b"image_a,image_b\n\xff\xfe,b\n", "not UTF-8"),
        ('image_a,image_b\n"a,b\n', "row 2"),
    ],
)
def test_tables_that_cannot_be_read_are_refused(tmp_path, dataset, text, words):
    with pytest.raises(DataError, match=words) as caught:
        read_decisions(settings(tmp_path, reject=text), dataset)
    assert "reject.csv" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path, dataset):
    with pytest.raises(DataError, match=r"nowhere\.csv: cannot be read"):
        read_decisions(AuditSettings(accept=str(tmp_path / "nowhere.csv")), dataset)


def test_a_short_row_is_a_bad_row(tmp_path, dataset):
    with pytest.raises(DataError, match="row 2: the data have no image ''"):
        read_decisions(settings(tmp_path, accept="image_a,image_b\na\n"), dataset)
