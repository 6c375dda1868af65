from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataverse_server import (
    LISTING,
    Dataverse,
    break_off,
    isic,
    lie_about_length,
    page,
    picture,
    redirect,
    serve,
    silent,
    status,
    table_of,
    tag,
    zip_of,
)

from cv_folds.data.fetch.published import HAM10000, ISIC2018_TEST, PublishedArchive, PublishedSet
from hamcv import fetching
from hamcv.run_folder import LOCK_FILE
from hamcv.sources import open_dataset

Hamcv = Callable[..., Any]

PART_1, PART_2 = "HAM10000_images_part_1", "HAM10000_images_part_2"
METADATA = "HAM10000_metadata"
TEST_IMAGES, TEST_TABLE = "ISIC2018_Task3_Test_Images", "ISIC2018_Task3_Test_GroundTruth.csv"
ARCHIVES = {PART_1: range(3), PART_2: range(3, 7), TEST_IMAGES: range(100, 102)}


def small(published: PublishedSet) -> PublishedSet:
    """The same files with fewer images."""
    archives = tuple(replace(archive, images=len(ARCHIVES[archive.folders[0]])) for archive in published.archives)
    return replace(published, archives=archives)


def images_of(name: str) -> dict[str, bytes]:
    return {f"{isic(number)}.jpg": picture(number) for number in ARCHIVES[name]}


def packed(name: str, **extra: bytes) -> bytes:
    return zip_of([*images_of(name).items(), ("__MACOSX/._x", b"x"), (".DS_Store", b"x"), *extra.items()])


class Mirror:
    """A server that publishes small forms of the sets; `paths` says where each file is."""

    def __init__(self, dataverse: Dataverse) -> None:
        self.server = dataverse
        self.url = dataverse.url
        self.paths = {
            METADATA: dataverse.add("HAM10000_metadata.tab", table_of([isic(n) for n in range(7)]), table=METADATA),
            PART_1: dataverse.add(f"{PART_1}.zip", packed(PART_1)),
            PART_2: dataverse.add(f"{PART_2}.zip", packed(PART_2)),
            TEST_TABLE: dataverse.add(
                "ISIC2018_Task3_Test_GroundTruth.tab", table_of([isic(n) for n in (100, 101, 35068)]), table=TEST_TABLE
            ),
            TEST_IMAGES: dataverse.add(f"{TEST_IMAGES}.zip", packed(TEST_IMAGES)),
        }

    def replace(self, name: str, content: bytes) -> None:
        """Publish other content, with its checksum."""
        self.server.contents[self.paths[name]] = content
        (entry,) = (entry for entry in self.server.entries if entry["label"].startswith(name))
        digits = hashlib.md5(content).hexdigest()
        entry["dataFile"] |= {"filesize": len(content), "checksum": {"type": "MD5", "value": digits}}

    def fault(self, name: str, *faults: Any) -> None:
        self.server.next_faults[self.paths[name]].extend(faults)

    def always(self, name: str, fault: Any) -> None:
        self.server.faults[self.paths[name]] = fault


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small sets, no proxy, no waiting, an empty folder to be in."""
    monkeypatch.setattr(fetching, "HAM10000", small(HAM10000))
    monkeypatch.setattr(fetching, "ISIC2018_TEST", small(ISIC2018_TEST))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(
        "hamcv.commands.data.Patience", lambda **given: fetching.Patience(**given, sleep=lambda _: None)
    )
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serve() as running:
        yield Mirror(running)


def content_of(folder: Path) -> dict[str, bytes]:
    """Everything in a folder but hidden files."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def published(*names: str) -> dict[str, bytes]:
    return {f"{name}/{image}": content for name in names for image, content in images_of(name).items()}


def test_one_command_gets_everything_and_the_reader_reads_it(hamcv: Hamcv, mirror: Mirror) -> None:
    screen = hamcv("data", "fetch", "--server", mirror.url)
    assert screen.code == 0, screen.err
    folder = Path("data/ham10000")
    table = mirror.server.contents[mirror.paths[METADATA]]
    assert content_of(folder) == published(PART_1, PART_2) | {METADATA: table}
    dataset = open_dataset(str(folder))
    assert dataset.image_ids.tolist() == [isic(number) for number in range(7)]
    info = hamcv("data", "info", folder)
    assert info.code == 0
    assert "every image can be read" in info.out
    assert not Path("data/ham10000-test").exists()


def test_what_it_prints_at_the_end(hamcv: Hamcv, mirror: Mirror) -> None:
    screen = hamcv("data", "fetch", "my data", "--server", mirror.url)
    assert screen.out.splitlines()[0] == "HAM10000: 7 images and their table in my data; fetched and checked"
    assert "licence: CC BY-NC 4.0" in screen.out
    assert "https://doi.org/10.1038/sdata.2018.161" in screen.out
    assert screen.out.splitlines()[-1] == "next: hamcv data info 'my data'"
    # The log of the work is not part of the result, and there is nothing in it that only a terminal understands.
    assert "md5 as listed" in screen.err
    assert not re.search(r"[\x1b━╸]", screen.out + screen.err)


def test_the_test_set_goes_beside_it(hamcv: Hamcv, mirror: Mirror) -> None:
    screen = hamcv("data", "fetch", "ham", "--test", "--server", mirror.url)
    assert screen.code == 0, screen.err
    table = mirror.server.contents[mirror.paths[TEST_TABLE]]
    assert content_of(Path("ham-test")) == published(TEST_IMAGES) | {TEST_TABLE: table}
    assert "ISIC 2018 Task 3, test set: 2 images and their table in ham-test" in screen.out
    assert open_dataset("ham").root == Path("ham")


def test_tables_are_asked_for_as_they_were_uploaded(hamcv: Hamcv, mirror: Mirror) -> None:
    hamcv("data", "fetch", "ham", "--server", mirror.url)
    queries = {request.path: request.query for request in mirror.server.seen}
    assert queries[mirror.paths[METADATA]] == "format=original"
    assert queries[mirror.paths[PART_1]] == ""


def test_a_second_call_asks_the_server_nothing_and_says_that_all_is_there(hamcv: Hamcv, mirror: Mirror) -> None:
    hamcv("data", "fetch", "ham", "--test", "--server", mirror.url)
    asked = len(mirror.server.seen)
    before = {path: path.stat().st_mtime_ns for path in Path("ham").rglob("*")}
    screen = hamcv("data", "fetch", "ham", "--test", "--server", mirror.url)
    assert screen.code == 0
    assert screen.out.count("all was there, and was checked") == 2
    assert len(mirror.server.seen) == asked
    assert {path: path.stat().st_mtime_ns for path in Path("ham").rglob("*")} == before


def test_the_test_set_can_be_fetched_later(hamcv: Hamcv, mirror: Mirror) -> None:
    hamcv("data", "fetch", "ham", "--server", mirror.url)
    screen = hamcv("data", "fetch", "ham", "--test", "--server", mirror.url)
    assert "in ham; all was there, and was checked" in screen.out
    assert "in ham-test; fetched and checked" in screen.out
    assert len(mirror.server.ranges(mirror.paths[PART_1])) == 1


def test_a_second_call_finds_damage(hamcv: Hamcv, mirror: Mirror) -> None:
    hamcv("data", "fetch", "ham", "--server", mirror.url)
    victim = Path("ham", PART_1, f"{isic(1)}.jpg")
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
    assert screen.code == 3
    assert f"{isic(1)}.jpg is not as it was unpacked" in screen.err
    shutil.rmtree(Path("ham", PART_1))
    assert hamcv("data", "fetch", "ham", "--server", mirror.url).code == 0
    assert len(mirror.server.ranges(mirror.paths[PART_2])) == 1


def test_archives_are_kept_when_asked_for(hamcv: Hamcv, mirror: Mirror) -> None:
    hamcv("data", "fetch", "ham", "--keep-archives", "--server", mirror.url)
    assert sorted(path.name for path in Path("ham").glob("*.zip")) == [f"{PART_1}.zip", f"{PART_2}.zip"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (status(403), "answered 403 (Forbidden)"),
        (status(404), "answered 404 (Not Found)"),
        (status(500), "answered 500 (Internal Server Error) (2 attempts)"),
        (status(202, x_amzn_waf_action="challenge"), "answered 202 instead of data"),
        (redirect(LISTING), "redirects in a circle"),
        (redirect("file:///etc/passwd"), "redirects in a circle, or to where"),
        (page(), "a web page instead of a list of files"),
        (status(200, b"{}"), "is no list of files"),
    ],
)
def test_a_refused_list_of_files_leads_to_the_steps_by_hand(
    hamcv: Hamcv, mirror: Mirror, tmp_path: Path, fault: Any, words: str
) -> None:
    mirror.server.faults[LISTING] = fault
    screen = hamcv("data", "fetch", "my ham", "--test", "--retries", "1", "--server", mirror.url)
    assert screen.code == 1
    assert words in screen.err
    assert f"1. open {mirror.url}/dataset.xhtml?persistentId=doi:10.7910/DVN/DBW86T in a browser" in screen.err
    names = f"{METADATA}, {PART_1}.zip, {PART_2}.zip"
    assert f"2. download {names} and put them into {tmp_path / 'my ham'}, zip files as they are" in screen.err
    names = f"{TEST_TABLE}, {TEST_IMAGES}.zip"
    assert f"3. download {names} and put them into {tmp_path / 'my ham-test'}, zip files" in screen.err
    assert "4. run `hamcv data fetch 'my ham' --test`: it unpacks and checks them, without network" in screen.err
    assert "Traceback" not in screen.err
    # An empty data folder would be taken for the data by other commands.
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (status(403), "answered 403 (Forbidden)"),
        (status(404), "answered 404 (Not Found)"),
        (status(503), "answered 503 (Service Unavailable)"),
        (page(), "sends a web page instead of the file"),
        (page("application/zip"), "sends a web page instead of the file"),
        (lie_about_length(-(10**6)), "broke off after 0 of"),
        (break_off(10), "broke off after"),
        (redirect("/nowhere"), "answered 404"),
    ],
)
def test_a_refused_file_leads_to_the_steps_for_what_is_missing(
    hamcv: Hamcv, mirror: Mirror, fault: Any, words: str
) -> None:
    mirror.always(PART_2, fault)
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url, "--retries", "1")
    assert screen.code == 1
    assert words in screen.err
    assert f"download {PART_2}.zip and put them" in screen.err
    # What came before stays, and is not asked for again.
    assert content_of(Path("ham", PART_1)) == images_of(PART_1)
    del mirror.server.faults[mirror.paths[PART_2]]
    assert hamcv("data", "fetch", "ham", "--server", mirror.url).code == 0
    assert len(mirror.server.ranges(mirror.paths[PART_1])) == 1


def test_the_steps_by_hand_work(hamcv: Hamcv, mirror: Mirror) -> None:
    """What a person does with a browser: the table in the other form, the zip files as they are."""
    folder = Path("ham")
    folder.mkdir()
    (folder / "HAM10000_metadata.tab").write_bytes(table_of([isic(n) for n in range(7)], "\t"))
    for name in (PART_1, PART_2):
        (folder / f"{name}.zip").write_bytes(packed(name))
    screen = hamcv("data", "fetch", "ham", "--server", "http://127.0.0.1:1")
    assert screen.code == 0, screen.err
    assert "7 images and their table in ham; fetched and checked" in screen.out
    assert len(open_dataset(str(folder))) == 7
    # Whoever downloaded them decides about them.
    assert (folder / f"{PART_1}.zip").exists()


def test_folders_that_a_person_unpacked_count_but_it_is_said(hamcv: Hamcv) -> None:
    Path("ham").mkdir()
    Path("ham", "HAM10000_metadata.csv").write_bytes(table_of([isic(n) for n in range(7)]))
    for name in (PART_1, PART_2):
        with zipfile.ZipFile(Path("x.zip"), "w") as archive:
            for image, content in images_of(name).items():
                archive.writestr(image, content)
            archive.extractall(Path("ham", name, name))
    screen = hamcv("data", "fetch", "ham", "--server", "http://127.0.0.1:1")
    assert screen.code == 0, screen.err
    assert screen.out.count("unpacked by hand") == 2
    assert "all was there" in screen.out


def test_half_a_folder_is_a_question_for_a_person(hamcv: Hamcv, mirror: Mirror) -> None:
    Path("ham", PART_1).mkdir(parents=True)
    Path("ham", PART_1, f"{isic(0)}.jpg").write_bytes(b"x")
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
    assert screen.code == 3
    assert f"{Path('ham', PART_1)}: holds 1 images instead of 3; delete it or move it away" in screen.err
    assert mirror.server.seen == []


def test_a_wrong_checksum_is_bad_data(hamcv: Hamcv, mirror: Mirror) -> None:
    mirror.server.contents[mirror.paths[PART_1]] = bytes(len(packed(PART_1)))
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
    assert screen.code == 3
    assert f"{PART_1}.zip: its md5 is" in screen.err
    assert "the download was deleted" in screen.err
    assert content_of(Path("ham")).keys() == {METADATA}


@pytest.mark.parametrize("content", [b"", b"<p>maintenance</p>", b"a,b\n1,2\n", table_of(["1"])])
def test_another_table_is_bad_data_and_does_not_stay(hamcv: Hamcv, mirror: Mirror, content: bytes) -> None:
    mirror.server.contents[mirror.paths[METADATA]] = content
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
    assert screen.code == 3
    assert "is not the published table" in screen.err
    assert not Path("ham", METADATA).exists()


def test_a_table_of_other_images_is_bad_data(hamcv: Hamcv, mirror: Mirror) -> None:
    mirror.server.contents[mirror.paths[METADATA]] = table_of([isic(n) for n in (0, 1, 2, 3, 4, 5, 9)])
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
    assert screen.code == 3
    assert f"{isic(9)} has no image" in screen.err
    assert f"{isic(6)}, an image, has no row" in screen.err


@pytest.mark.parametrize("name", ["../evil.jpg", "/evil.jpg", "evil.py", f"deep/{isic(0)}.jpg"])
def test_a_hostile_archive_unpacks_nothing_and_does_not_stay(
    hamcv: Hamcv, mirror: Mirror, tmp_path: Path, name: str
) -> None:
    mirror.replace(PART_1, packed(PART_1, **{name: b"evil"}))
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
    assert screen.code == 3
    assert f"'{name}'" in screen.err
    assert content_of(tmp_path).keys() == {f"ham/{METADATA}"}


def test_an_archive_with_an_image_too_few_is_bad_data(hamcv: Hamcv, mirror: Mirror) -> None:
    mirror.replace(PART_1, zip_of(list(images_of(PART_1).items())[1:]))
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
    assert screen.code == 3
    assert "holds 2 images instead of 3" in screen.err


def test_a_file_that_is_not_listed_is_said(hamcv: Hamcv, mirror: Mirror) -> None:
    mirror.server.entries = [entry for entry in mirror.server.entries if not entry["label"].startswith(PART_2)]
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
    assert screen.code == 1
    assert f"lists no {PART_2}.zip; it lists" in screen.err
    # Found out before hours of downloading.
    assert mirror.server.ranges(mirror.paths[PART_1]) == []


def test_transfers_that_break_off_are_told_and_made_up_for(hamcv: Hamcv, mirror: Mirror) -> None:
    mirror.fault(PART_1, break_off(500), status(503))
    mirror.fault(PART_2, break_off(700))
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
    assert screen.code == 0, screen.err
    assert mirror.server.ranges(mirror.paths[PART_1]) == [None, "bytes=500-", "bytes=500-"]
    assert f"{PART_1}.zip: broke off after 500 of" in screen.err
    assert "next attempt in 1 s" in screen.err


def test_a_full_disk_is_found_before_the_download(
    hamcv: Hamcv, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12 - 10**6, 10**6))
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
    assert screen.code == 1
    assert "ham: needs 0.07 GB, but the disk has 0.00 GB free; free the rest or name another folder" in screen.err
    assert "by hand" not in screen.err
    assert mirror.server.ranges(mirror.paths[PART_1]) == []


def test_no_network_at_all(hamcv: Hamcv, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        screen = hamcv("data", "fetch", "ham", "--server", address)
    assert screen.code == 1
    assert "cannot be reached (Connection refused) (5 attempts)" in screen.err
    assert "Or by hand:" in screen.err
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_says_nothing(hamcv: Hamcv, mirror: Mirror) -> None:
    mirror.server.faults[LISTING] = silent
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url, "--timeout", "1", "--retries", "0")
    assert screen.code == 1
    assert "no answer in time" in screen.err


@pytest.mark.parametrize("address", ["ftp://x", "file:///x", "dataverse.harvard.edu", ""])
def test_a_server_must_be_a_web_address(hamcv: Hamcv, address: str) -> None:
    screen = hamcv("data", "fetch", "ham", "--server", address)
    assert screen.code == 2
    assert "--server" in screen.err


def test_a_folder_must_not_be_a_file(hamcv: Hamcv, mirror: Mirror) -> None:
    Path("ham-test").write_text("mine")
    screen = hamcv("data", "fetch", "ham", "--test", "--server", mirror.url)
    assert screen.code == 2
    assert "ham-test: is a file" in screen.err
    assert mirror.server.seen == []


def test_two_at_a_time_do_not_get_into_each_others_way(hamcv: Hamcv, mirror: Mirror) -> None:
    # What `hold` does, without the time that importing it takes.
    code = f"import fcntl, sys; lock = open('ham/{LOCK_FILE}', 'a+'); fcntl.lockf(lock, fcntl.LOCK_EX)\n"
    code += "print('held', flush=True); sys.stdin.read()"
    Path("ham").mkdir()
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
        other.communicate(b"")
    assert screen.code == 4
    assert "ham is in use by another process" in screen.err
    assert "name another folder" in screen.err
    assert hamcv("data", "fetch", "ham", "--server", mirror.url).code == 0


START = """
import sys
from dataclasses import replace
from hamcv import fetching

counts = {"HAM10000_images_part_1.zip": 3, "HAM10000_images_part_2.zip": 4}
archives = tuple(replace(archive, images=counts[archive.name]) for archive in fetching.HAM10000.archives)
fetching.HAM10000 = replace(fetching.HAM10000, archives=archives)
from hamcv.cli import main
main()
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"NO_COLOR": "1"}
    command = [sys.executable, "-c", START, "data", "fetch", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_process_that_is_killed_midway_is_gone_on_from(hamcv: Hamcv, mirror: Mirror) -> None:
    # Large enough for something to be on disk when the process ends.
    noise = {name: np.random.default_rng(5).bytes(700_000) for name in images_of(PART_2)}
    mirror.replace(PART_2, zip_of(list(noise.items())))
    half = 1_500_000

    def stop_midway(handler, content):
        handler.begin(200, {"Content-Length": len(content), "ETag": tag(content)})
        handler.wfile.write(content[:half])
        handler.wfile.flush()
        silent(handler, content)

    mirror.fault(PART_2, stop_midway)
    part = Path("ham", f"{PART_2}.zip.part")
    with start("ham", "--server", mirror.url) as process:
        # Nothing is asserted about how long this takes; a process that ended early ends the wait, too.
        while process.poll() is None and not (part.is_file() and part.stat().st_size > half // 2):
            time.sleep(0.02)
        process.kill()
        _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    there = part.stat().st_size
    assert half // 2 < there <= half
    assert not Path("ham", PART_2).exists()
    screen = hamcv("data", "fetch", "ham", "--server", mirror.url)
    assert screen.code == 0, screen.err
    assert mirror.server.ranges(mirror.paths[PART_2]) == [None, f"bytes={there}-"]
    assert content_of(Path("ham", PART_2)) == noise
    assert not list(Path("ham").glob("*.part*"))


def test_what_a_killed_unpacking_left_is_done_anew(hamcv: Hamcv, mirror: Mirror) -> None:
    left = Path("ham", f".{PART_1}.unpacking-abc123")
    left.mkdir(parents=True)
    (left / f"{isic(0)}.jpg").write_bytes(b"half")
    assert hamcv("data", "fetch", "ham", "--server", mirror.url).code == 0
    assert not left.exists()
    assert content_of(Path("ham", PART_1)) == images_of(PART_1)


def test_bars_on_a_terminal_keep_no_color(mirror: Mirror) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", START, "data", "fetch", "ham", "--server", mirror.url]
    environment = os.environ | {"NO_COLOR": "1", "TERM": "xterm"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        # Linux answers with an error when the other side is closed.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 4096):
                seen += piece
        os.close(ours)
    assert process.returncode == 0
    text = seen.decode()
    assert "checking" in text
    # Moving the cursor is no colour.
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)


def test_what_is_published_has_the_known_numbers() -> None:
    assert HAM10000.images == 10_015
    assert ISIC2018_TEST.images == 1_511
    assert all(isinstance(archive, PublishedArchive) for archive in HAM10000.archives)
