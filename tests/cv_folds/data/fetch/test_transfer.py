from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from dataverse_server import (
    Dataverse,
    break_off,
    chunked,
    endless,
    honest,
    ignore_range,
    lie_about_length,
    page,
    redirect,
    silent,
    status,
    tag,
    without_tag,
    wrong_range,
)

from cv_folds.data.fetch.catalogue import Checksum, RemoteFile
from cv_folds.data.fetch.transfer import download
from cv_folds.data.fetch.web import Patience, TransferError
from cv_folds.errors import DataError, HamcvError

CONTENT = np.random.default_rng(0).bytes(300_000)
LIMIT = 10**7


class Transfer:
    """One file of a server and where it goes."""

    def __init__(self, dataverse: Dataverse, folder: Path, patience: Patience, content: bytes = CONTENT) -> None:
        self.dataverse = dataverse
        self.content = content
        self.path = dataverse.add("a.zip", content)
        self.target = folder / "a.zip"
        self.part = folder / "a.zip.part"
        self.note = folder / "a.zip.part.json"
        self.patience = patience
        self.remote = RemoteFile(
            name="a.zip",
            url=dataverse.url + self.path,
            size=len(content),
            checksum=Checksum(algorithm="md5", digits=hashlib.md5(content).hexdigest()),
        )

    def run(self, **changes: object) -> None:
        arguments: dict = {"limit": LIMIT, "patience": self.patience} | changes
        download(self.remote, self.target, **arguments)

    def fails(self, kind: type[HamcvError] = TransferError, **changes: object) -> str:
        with pytest.raises(kind) as caught:
            self.run(**changes)
        assert not self.target.exists()
        return str(caught.value)

    def arrived(self) -> bool:
        """Whether the target is whole and nothing else is left."""
        return self.target.read_bytes() == self.content and not self.part.exists() and not self.note.exists()

    def leave_part(self, length: int = 100_000) -> None:
        """Leave what an interrupted call would."""
        self.dataverse.next_faults[self.path].append(break_off(length))
        self.fails(patience=replace(self.patience, attempts=1))
        assert self.part.stat().st_size == length

    @property
    def ranges(self) -> list[str | None]:
        return self.dataverse.ranges(self.path)


@pytest.fixture
def transfer(dataverse: Dataverse, tmp_path: Path, patience: Patience) -> Transfer:
    return Transfer(dataverse, tmp_path, patience)


def test_a_file_arrives_whole(transfer: Transfer) -> None:
    done: list[int] = []
    transfer.run(progress=done.append)
    assert transfer.arrived()
    assert done == sorted(done)
    assert done[-1] == len(CONTENT)


def test_an_empty_file_arrives(dataverse: Dataverse, tmp_path: Path, patience: Patience) -> None:
    transfer = Transfer(dataverse, tmp_path, patience, b"")
    transfer.run()
    assert transfer.arrived()


@pytest.mark.parametrize("seed", range(5))
def test_a_transfer_that_breaks_off_goes_on_where_it_ended(transfer: Transfer, seed: int) -> None:
    cuts = np.random.default_rng(seed).integers(1, 60_000, 2).tolist()
    transfer.dataverse.next_faults[transfer.path].extend(break_off(cut) for cut in cuts)
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, f"bytes={cuts[0]}-", f"bytes={cuts[0] + cuts[1]}-"]
    assert {request.if_range for request in transfer.dataverse.seen[1:]} == {tag(CONTENT)}


def test_a_later_call_goes_on_where_an_earlier_ended(transfer: Transfer) -> None:
    transfer.leave_part()
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, "bytes=100000-"]


def test_the_range_goes_along_with_a_redirect(transfer: Transfer) -> None:
    transfer.leave_part()
    elsewhere = transfer.dataverse.add("elsewhere", CONTENT)
    transfer.dataverse.faults[transfer.path] = redirect(f"{elsewhere}?signature=secret")
    transfer.run()
    assert transfer.arrived()
    assert transfer.dataverse.ranges(elsewhere) == ["bytes=100000-"]


def test_without_a_strong_tag_the_checksum_is_enough_to_go_on(transfer: Transfer) -> None:
    transfer.dataverse.next_faults[transfer.path].append(break_off(1000, ETag='W/"weak"'))
    transfer.dataverse.faults[transfer.path] = without_tag
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, "bytes=1000-"]
    assert transfer.dataverse.seen[1].if_range is None


def test_with_neither_tag_nor_checksum_nothing_is_continued(transfer: Transfer) -> None:
    transfer.remote = replace(transfer.remote, checksum=None, size=None)
    transfer.dataverse.next_faults[transfer.path].append(break_off(1000, ETag='W/"weak"'))
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, None]


def test_with_a_tag_alone_it_is_continued(transfer: Transfer) -> None:
    transfer.remote = replace(transfer.remote, checksum=None, size=None)
    transfer.dataverse.next_faults[transfer.path].append(break_off(1000))
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, "bytes=1000-"]


def test_a_file_that_changed_meanwhile_is_started_anew(transfer: Transfer) -> None:
    transfer.remote = replace(transfer.remote, checksum=None, size=None)
    transfer.dataverse.next_faults[transfer.path].append(break_off(1000, ETag='"an older one"'))
    transfer.run()
    # The server answers with the whole, for the tag is not its own.
    assert transfer.arrived()
    assert [request.if_range for request in transfer.dataverse.seen] == [None, '"an older one"']


def test_a_part_of_another_file_is_not_continued(transfer: Transfer) -> None:
    transfer.leave_part()
    other = np.random.default_rng(1).bytes(len(CONTENT))
    transfer.dataverse.contents[transfer.path] = transfer.content = other
    checksum = Checksum(algorithm="md5", digits=hashlib.md5(other).hexdigest())
    transfer.remote = replace(transfer.remote, checksum=checksum)
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, None]


@pytest.mark.parametrize("note", ["", "null", "[]", "{", '{"etag": 5}', "\x00"])
def test_a_part_with_a_damaged_note_is_not_continued(transfer: Transfer, note: str) -> None:
    transfer.leave_part()
    transfer.note.write_text(note)
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, None]


def test_a_part_that_is_too_long_is_not_continued(transfer: Transfer) -> None:
    transfer.leave_part()
    transfer.part.write_bytes(bytes(len(CONTENT) + 1))
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, None]


def test_a_part_that_is_whole_is_not_asked_for(transfer: Transfer) -> None:
    transfer.leave_part()
    transfer.part.write_bytes(CONTENT)
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None]


@pytest.mark.parametrize("length", [100_000, len(CONTENT)])
def test_a_damaged_part_is_started_anew_once(transfer: Transfer, length: int) -> None:
    transfer.leave_part()
    transfer.part.write_bytes(bytes(length))
    told: list[str] = []
    transfer.run(patience=replace(transfer.patience, notice=told.append))
    assert transfer.arrived()
    assert transfer.ranges[-1] is None
    assert any("damaged" in line for line in told)


def test_a_server_that_ignores_ranges_starts_anew(transfer: Transfer) -> None:
    transfer.leave_part()
    transfer.dataverse.faults[transfer.path] = ignore_range
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, "bytes=100000-"]


@pytest.mark.parametrize(
    "content_range",
    [
        "", "bytes", "bytes */300000", "bytes 0-299999/300000", "bytes 99999-299999/300000",
        "bytes 100001-299999/300000",
        "bytes 100000-299999/299999", "bytes 100000-99999/300000", "items 100000-299999/300000",
        f"bytes {'9' * 5000}-1/1",
    ],
)  # fmt: skip
def test_a_range_that_does_not_fit_starts_anew(transfer: Transfer, content_range: str) -> None:
    transfer.leave_part()
    transfer.dataverse.faults[transfer.path] = wrong_range(content_range)
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, "bytes=100000-", None]


@pytest.mark.parametrize("total", ["*", "300000"])
def test_a_range_that_fits_is_continued(transfer: Transfer, total: str) -> None:
    transfer.leave_part()
    transfer.dataverse.faults[transfer.path] = wrong_range(f"bytes 100000-299999/{total}")
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, "bytes=100000-"]


def test_a_range_of_another_version_starts_anew(transfer: Transfer) -> None:
    transfer.leave_part()
    transfer.dataverse.next_faults[transfer.path].append(break_off(10**6, ETag='"another"'))
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, "bytes=100000-", None]


def test_a_range_beyond_the_end_starts_anew(transfer: Transfer) -> None:
    transfer.leave_part()
    transfer.dataverse.next_faults[transfer.path].append(status(416, Content_Range="bytes */5"))
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, "bytes=100000-", None]


def test_a_part_that_nobody_asked_for_is_refused(transfer: Transfer) -> None:
    transfer.dataverse.faults[transfer.path] = status(206, CONTENT, Content_Range="bytes 0-299999/300000")
    assert "a part that was not asked for" in transfer.fails()


def test_a_length_that_is_too_long_does_not_hinder(transfer: Transfer, waits: list[float]) -> None:
    transfer.dataverse.faults[transfer.path] = lie_about_length(+5000)
    transfer.run()
    assert transfer.arrived()
    assert waits == []


def test_a_length_that_is_too_short_is_made_up_for(transfer: Transfer) -> None:
    transfer.dataverse.next_faults[transfer.path].append(lie_about_length(-250_000))
    transfer.run()
    assert transfer.arrived()
    assert transfer.ranges == [None, "bytes=50000-"]


def test_a_server_that_always_lies_is_given_up(transfer: Transfer, waits: list[float]) -> None:
    transfer.dataverse.faults[transfer.path] = lie_about_length(-(10**9))
    assert "broke off after 0 of 300000 bytes (3 attempts)" in transfer.fails()
    assert waits == [1.0, 2.0]


def test_without_a_size_the_announced_length_counts(transfer: Transfer) -> None:
    transfer.remote = replace(transfer.remote, size=None, checksum=None)
    transfer.dataverse.faults[transfer.path] = lie_about_length(+5000)
    assert "broke off after 300000 of 305000 bytes" in transfer.fails()


def test_chunks_arrive(transfer: Transfer) -> None:
    transfer.remote = replace(transfer.remote, size=None, checksum=None)
    transfer.dataverse.faults[transfer.path] = chunked()
    transfer.run()
    assert transfer.arrived()


def test_chunks_that_break_off_are_noticed_without_any_length(transfer: Transfer) -> None:
    transfer.remote = replace(transfer.remote, size=None, checksum=None)
    transfer.dataverse.faults[transfer.path] = chunked(cut=1000)
    assert "broke off" in transfer.fails()


def test_more_than_listed_is_refused(transfer: Transfer) -> None:
    transfer.dataverse.faults[transfer.path] = status(200, CONTENT + b"x")
    assert "sends more than 300000 bytes" in transfer.fails()


def test_nothing_endless_is_taken(transfer: Transfer) -> None:
    transfer.remote = replace(transfer.remote, size=None, checksum=None)
    transfer.dataverse.faults[transfer.path] = endless
    assert "sends more than 1000000 bytes" in transfer.fails(limit=10**6)
    assert transfer.part.stat().st_size <= 10**6


def test_a_listed_size_beyond_the_limit_is_not_even_asked_for(transfer: Transfer) -> None:
    assert "300000 bytes; more than 299999 are not taken" in transfer.fails(limit=299_999)
    assert transfer.ranges == []


def test_a_wrong_checksum_deletes_the_download_and_says_so(transfer: Transfer) -> None:
    transfer.dataverse.contents[transfer.path] = bytes(len(CONTENT))
    message = transfer.fails(DataError)
    assert hashlib.md5(CONTENT).hexdigest() in message
    assert hashlib.md5(bytes(len(CONTENT))).hexdigest() in message
    assert "was deleted" in message
    assert not transfer.part.exists()
    assert not transfer.note.exists()
    assert len(transfer.ranges) == 1


def test_a_wrong_checksum_after_going_on_is_an_error_when_it_stays(transfer: Transfer) -> None:
    transfer.leave_part()
    transfer.dataverse.contents[transfer.path] = bytes(len(CONTENT))
    assert "was deleted" in transfer.fails(DataError)
    assert transfer.ranges[-1] is None


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/zip", "text/plain"])
def test_a_web_page_is_no_data_whatever_it_calls_itself(transfer: Transfer, content_type: str) -> None:
    transfer.remote = replace(transfer.remote, size=None, checksum=None)
    transfer.dataverse.faults[transfer.path] = page(content_type)
    assert "sends a web page instead of the file" in transfer.fails()


def test_a_refusal_keeps_what_arrived(transfer: Transfer) -> None:
    transfer.leave_part()
    transfer.dataverse.next_faults[transfer.path].append(status(403))
    assert "answered 403 (Forbidden)" in transfer.fails()
    assert transfer.part.stat().st_size == 100_000
    transfer.run()
    assert transfer.ranges == [None, "bytes=100000-", "bytes=100000-"]


def test_failures_of_the_server_are_waited_out(transfer: Transfer, waits: list[float]) -> None:
    transfer.dataverse.next_faults[transfer.path].extend([status(500), status(503, Retry_After="7")])
    transfer.run()
    assert transfer.arrived()
    assert waits == [1.0, 7.0]


def test_failures_that_stay_are_given_up(transfer: Transfer, waits: list[float]) -> None:
    transfer.dataverse.faults[transfer.path] = status(502)
    assert "answered 502 (Bad Gateway) (3 attempts)" in transfer.fails()
    assert len(waits) == 2


def test_a_server_that_falls_silent_is_given_up(transfer: Transfer) -> None:
    transfer.dataverse.faults[transfer.path] = silent
    assert "no answer in time" in transfer.fails(patience=replace(transfer.patience, attempts=1, timeout=0.2))


def test_a_transfer_that_falls_silent_is_broken_off(transfer: Transfer) -> None:
    def stop_midway(handler, content):
        handler.begin(200, {"Content-Length": len(content), "ETag": tag(content)})
        handler.wfile.write(content[:1000])
        handler.wfile.flush()
        silent(handler, content)

    transfer.dataverse.next_faults[transfer.path].append(stop_midway)
    transfer.run(patience=replace(transfer.patience, timeout=2))
    assert transfer.arrived()
    assert transfer.ranges == [None, "bytes=1000-"]


def test_a_server_that_trickles_is_broken_off(transfer: Transfer) -> None:
    # A clock on which an hour passes at each look: the content comes far too slowly.
    hours = count(0, 3600)
    slow = replace(transfer.patience, attempts=1, clock=lambda: float(next(hours)))
    assert "bytes in 3600 s" in transfer.fails(patience=slow)


def test_whoever_sends_a_lot_each_time_may_break_off_often(
    dataverse: Dataverse, tmp_path: Path, patience: Patience, waits: list[float]
) -> None:
    transfer = Transfer(dataverse, tmp_path, patience, np.random.default_rng(2).bytes(9 * 2**20))
    dataverse.next_faults[transfer.path].extend([break_off(2**20)] * 8)
    transfer.run()
    assert transfer.arrived()
    assert waits == [1.0] * 8


def test_whoever_starts_anew_each_time_gains_nothing(
    dataverse: Dataverse, tmp_path: Path, patience: Patience, waits: list[float]
) -> None:
    transfer = Transfer(dataverse, tmp_path, patience, np.random.default_rng(2).bytes(3 * 2**20))

    def forgetful(handler, content):
        handler.begin(200, {"Content-Length": len(content), "ETag": tag(content)})
        handler.wfile.write(content[: 2 * 2**20])

    dataverse.faults[transfer.path] = forgetful
    assert "broke off" in transfer.fails()
    # The first attempt gained two MiB, the next ones nothing.
    assert len(transfer.ranges) <= 4


def test_a_full_disk_is_no_failure_of_the_server(transfer: Transfer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cv_folds.data.fetch.transfer._refuse_page", full)
    message = transfer.fails(HamcvError)
    assert "cannot be written (No space left on device); what arrived is kept" in message
    assert len(transfer.ranges) == 1


def test_the_note_says_what_the_part_belongs_to(transfer: Transfer) -> None:
    transfer.leave_part()
    note = json.loads(transfer.note.read_text())
    assert note == {
        "size": len(CONTENT), "checksum": f"md5:{hashlib.md5(CONTENT).hexdigest()}", "url": None, "etag": tag(CONTENT),
    }  # fmt: skip


def test_an_older_file_of_the_same_name_is_replaced(transfer: Transfer) -> None:
    transfer.target.write_bytes(b"old")
    transfer.dataverse.faults[transfer.path] = honest
    transfer.run()
    assert transfer.arrived()
