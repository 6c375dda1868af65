from __future__ import annotations

from pathlib import Path

import pytest

from cv_folds.errors import DataError
from reports.given_table import TableColumns, read_columns


def read(path: Path, content: bytes) -> TableColumns:
    path.write_bytes(content)
    return read_columns(
        path, labels="truth", probabilities={"NA": "p1", "mel": "p2"}, groups="patient", images=None, name="theirs"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_whatever_program_wrote_it(tmp_path: Path, encoding: str, delimiter: str, line_end: str) -> None:
    lines = ["truth,patient,p1,p2", "NA,001,0.25,0.75", "mel,2,1,0", ""]
    found = read(tmp_path / "theirs.csv", line_end.join(lines).replace(",", delimiter).encode(encoding))
    assert list(found.labels) == ["NA", "mel"]
    assert list(found.groups or ()) == ["001", "2"]
    assert found.models["theirs"].tolist() == [[0.25, 0.75], [1.0, 0.0]]


def test_messages_name_the_line_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"theirs\.csv, row 5, p2: 'much'"):
        read(tmp_path / "theirs.csv", b"truth,patient,p1,p2\n\n\nNA,1,0,1\nmel,2,0,much\n")
    with pytest.raises(DataError, match="have not 4 cells as the first has:\n  line 3: 3"):
        read(tmp_path / "theirs.csv", b"truth,patient,p1,p2\nNA,1,0,1\nmel,2,0\n")
