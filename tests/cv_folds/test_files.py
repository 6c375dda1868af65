from __future__ import annotations

import errno
import json
import math
import os

import pytest

from cv_folds import files
from cv_folds.files import sha256, write_atomically, write_json, write_text


def test_content_arrives_and_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "größer\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "größer\n".encode()
    write_json(tmp_path / "d.json", {"x": [1.5, None, "ü"]})
    assert json.loads((tmp_path / "d.json").read_text(encoding="utf-8")) == {"x": [1.5, None, "ü"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "d.json"]


def test_the_target_is_whole_before_and_after_and_never_in_between(tmp_path):
    target = tmp_path / "t.txt"
    write_text(target, "old")

    def write(partial):
        partial.write_text("ne")
        assert target.read_text() == "old"
        assert partial.parent == target.parent
        partial.write_text("new")

    write_atomically(target, write)
    assert target.read_text() == "new"


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch, step, error):
    target = tmp_path / "t.txt"
    write_text(target, "old")

    def fail(*args):
        raise error

    def write(partial):
        partial.write_text("half of the n")
        if step == "write":
            fail()

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    if step == "rename":
        monkeypatch.setattr(files.Path, "replace", fail)
    with pytest.raises(type(error)):
        write_atomically(target, write)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_without_a_standard_form_is_refused(tmp_path, value):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_checksum(tmp_path):
    # The example of FIPS 180-2, appendix B.1.
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
