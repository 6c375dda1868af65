from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

import cv_folds
import ensemble
import hamcv
import reports
from cv_folds.errors import DataError
from cv_folds.text_table import read_first_row, read_text_table

ROWS = (("image", "note, or so", "age"), ("a", 'said "no";\tthen', "40"), ("b", "two\nlines", ""), ("é", "", "3"))


def text(rows=ROWS, delimiter=",", line_end="\n"):
    out = io.StringIO(newline="")
    # With carriage returns alone, the writer would leave a line feed inside a cell without quotes.
    quoting = csv.QUOTE_ALL if line_end == "\r" else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=quoting).writerows(rows)
    return out.getvalue()


def written(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_form_reads_back_what_was_written(tmp_path, encoding, delimiter, line_end):
    path = written(tmp_path, text(delimiter=delimiter, line_end=line_end).encode(encoding))
    table = read_text_table(path)
    assert table.rows == ROWS
    assert table.lines == (1, 2, 4, 5)
    assert read_first_row(path) == ROWS[0]
    assert table.columns() == {name: [row[place] for row in ROWS[1:]] for place, name in enumerate(ROWS[0])}


def test_utf_16_of_the_other_byte_order(tmp_path):
    assert read_text_table(written(tmp_path, b"\xfe\xff" + text().encode("utf-16-be"))).rows == ROWS


@pytest.mark.parametrize("seed", range(20))
def test_random_tables_of_several_columns_read_back(tmp_path, seed):
    rng = np.random.default_rng(seed)
    pieces = ["x", "7", " ", '"', ",", ";", "\n", "é", "''", "0.5"]
    header = tuple(f"c{number}" for number in range(rng.integers(2, 6)))
    rows = [
        ("i", *("".join(rng.choice(pieces, rng.integers(0, 5))) for _ in header[1:])) for _ in range(rng.integers(1, 9))
    ]
    delimiter = (",", ";", "\t")[seed % 3]
    path = written(tmp_path, text([header, *rows], delimiter, ("\n", "\r\n")[seed % 2]))
    assert read_text_table(path).rows == (header, *rows)


def test_blank_lines_are_left_out_and_lines_still_count(tmp_path):
    table = read_text_table(written(tmp_path, "\n\na,b\n,\n \n1,2\n\n"))
    assert table.rows == (("a", "b"), ("", ""), ("1", "2"))
    assert table.lines == (3, 4, 6)


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("a\tb, c\td", ("a", "b, c", "d")),
        ("a;b;c, d", ("a", "b", "c, d")),
        ('"a;b;c;d",e', ("a;b;c;d", "e")),
        ("only", ("only",)),
    ],
)
def test_the_delimiter_is_told_by_what_stands_outside_of_quotes(tmp_path, header, cells):
    path = written(tmp_path, header + "\n")
    assert read_text_table(path).rows == (cells,)
    assert read_first_row(path) == cells


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\r\n1,2\r\n\xe9,3\n", r"not UTF-8 text \(line 3: .*save it as UTF-8"),
        (b"a,b\n1,2\0\n", r"not UTF-8 text \(line 2 has a zero byte"),
        ("a,b\n1,2\n".encode("utf-16-le"), "zero byte"),
        (b'a,b\n1,2\n"3,4\n5,6\n', "row 3: cannot be read.*is a quote left open there"),
        (b"PK\x03\x04\xff\xff", "not UTF-8"),
        (b"\xff\xfea\0\n\0b", r"not UTF-16 text \(line 2: "),
    ],
)
def test_what_is_no_table_is_refused_by_line(tmp_path, content, words):
    with pytest.raises(DataError, match=words) as caught:
        read_text_table(written(tmp_path, content))
    assert "table.csv" in str(caught.value)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(DataError, match=f"{re.escape(str(path))}: cannot be read"):
            read_text_table(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xd8\xff\xe0,\n", b"a\0b,c\n"])
def test_the_first_row_of_what_is_no_table_is_nothing(tmp_path, content):
    assert not "".join(read_first_row(written(tmp_path, content)))


def test_the_first_row_of_a_long_file_is_read_whatever_follows(tmp_path):
    path = written(tmp_path, b"a,b\n" + "é".encode() * 40_000 + b"\xff")
    assert read_first_row(path) == ("a", "b")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("a,b,a\n1,2,3\n", "there twice: a"),
        ("a,b\n1,2\n3\n4,5,6\n7,8\n", r"have not 2 cells as the first has:\n  line 3: 1\n  line 4: 3$"),
    ],
)
def test_columns_need_names_and_full_rows(tmp_path, content, words):
    with pytest.raises(DataError, match=words):
        read_text_table(written(tmp_path, content)).columns()


def test_columns_without_a_name_are_left_out(tmp_path):
    assert read_text_table(written(tmp_path, ",a,\n0,1,\n1,2,\n")).columns() == {"a": ["1", "2"]}
    assert read_text_table(written(tmp_path, "a,b\n")).columns() == {"a": [], "b": []}


def test_nothing_else_opens_tables():
    """An encoding or delimiter that one command understands would otherwise be refused by another."""
    found = {
        file.name
        for package in (cv_folds, ensemble, reports, hamcv)
        for file in Path(package.__file__).parent.rglob("*.py")
        if re.search(r"csv\.(reader|DictReader)|pd\.read_csv|utf-8-sig", file.read_text(encoding="utf-8"))
    }
    # That of options reads the words of an option.
    assert found - {"external.py"} == {"text_table.py"}
