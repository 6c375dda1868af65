from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from dataverse_server import LISTING, Dataverse, break_off, endless, page, status

from cv_folds.data.fetch.catalogue import Catalogue, Checksum, read_catalogue
from cv_folds.data.fetch.published import DATASET, HAM10000, ISIC2018_TEST
from cv_folds.data.fetch.web import Patience, TransferError


def catalogue(dataverse: Dataverse, patience: Patience) -> Catalogue:
    return read_catalogue(dataverse.url, DATASET, patience)


def test_files_are_found_by_name_and_carry_what_is_listed(dataverse: Dataverse, patience: Patience) -> None:
    dataverse.add("README.txt", b"hello")
    path = dataverse.add("HAM10000_images_part_1.zip", b"zip")
    found = catalogue(dataverse, patience).find(("HAM10000_images_part_1.zip",))
    assert found.url == dataverse.url + path
    assert found.size == 3
    assert found.checksum == Checksum(algorithm="md5", digits=hashlib.md5(b"zip").hexdigest())
    assert (dataverse.seen[0].path, dataverse.seen[0].query) == (LISTING, "persistentId=doi:10.7910/DVN/DBW86T")


@pytest.mark.parametrize(
    ("published", "label", "original"),
    [
        (HAM10000, "HAM10000_metadata.tab", "HAM10000_metadata"),
        (HAM10000, "HAM10000_metadata.tab", None),
        (ISIC2018_TEST, "ISIC2018_Task3_Test_GroundTruth.tab", "ISIC2018_Task3_Test_GroundTruth.csv"),
        (HAM10000, "ham10000_METADATA", "x"),
    ],
)
def test_a_table_is_taken_as_it_was_uploaded_and_its_checksum_is_not_believed(
    dataverse: Dataverse, patience: Patience, published, label: str, original: str | None
) -> None:
    path = dataverse.add(label, b"table", table=original or label)
    found = catalogue(dataverse, patience).find(published.table.names)
    assert found.url == f"{dataverse.url}{path}?format=original"
    assert (found.size, found.checksum) == (None, None)


def test_an_exact_name_goes_before_other_names(dataverse: Dataverse, patience: Patience) -> None:
    dataverse.add("HAM10000_metadata.txt", b"notes")
    path = dataverse.add("HAM10000_metadata", b"table")
    assert catalogue(dataverse, patience).find(HAM10000.table.names).url == dataverse.url + path


@pytest.mark.parametrize(("name", "algorithm"), [("SHA-1", "sha1"), ("SHA-256", "sha256"), ("SHA-512", "sha512")])
def test_other_checksums_are_known(
    dataverse: Dataverse, patience: Patience, tmp_path: Path, name: str, algorithm: str
) -> None:
    digits = hashlib.new(algorithm, b"x").hexdigest()
    dataverse.add("a.zip", b"x", md5=None, checksum={"type": name, "value": digits.upper()})
    checksum = catalogue(dataverse, patience).find(("a.zip",)).checksum
    assert checksum == Checksum(algorithm=algorithm, digits=digits)
    (tmp_path / "x").write_bytes(b"x")
    assert checksum is not None
    assert checksum.of(tmp_path / "x") == digits


def test_an_unknown_checksum_is_none(dataverse: Dataverse, patience: Patience) -> None:
    dataverse.add("a.zip", b"x", md5=None, checksum={"type": "CRC", "value": "1"})
    assert catalogue(dataverse, patience).find(("a.zip",)).checksum is None


def test_what_is_not_listed_is_said_with_what_is(dataverse: Dataverse, patience: Patience) -> None:
    dataverse.add("other.zip", b"x")
    with pytest.raises(TransferError, match=r"lists no a\.zip; it lists\n  other\.zip"):
        catalogue(dataverse, patience).find(("a.zip",))


def test_a_file_that_is_kept_from_the_public_is_said(dataverse: Dataverse, patience: Patience) -> None:
    dataverse.add("a.zip", b"x", restricted=True)
    with pytest.raises(TransferError, match=r"keeps a\.zip from the public"):
        catalogue(dataverse, patience).find(("a.zip",))


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"null", b"[]", b"{}", b"not JSON", b"[" * 100_000, b'{"data": {"latestVersion": {}}}',
        b'{"data": {"latestVersion": {"files": [{"label": "a"}]}}}',
        b'{"data": {"latestVersion": {"files": [{"label": "a", "dataFile": {"id": "../../etc/passwd"}}]}}}',
        b'{"data": {"latestVersion": {"files": [{"label": "a", "dataFile": {"id": -1}}]}}}',
        b'{"data": {"latestVersion": {"files": [{"label": "a", "dataFile": {"id": 1, "filesize": -1}}]}}}',
    ],
)  # fmt: skip
def test_an_answer_that_is_no_list_is_refused(dataverse: Dataverse, patience: Patience, answer: bytes) -> None:
    dataverse.faults[LISTING] = status(200, answer, Content_Type="application/json")
    with pytest.raises(TransferError, match="is no list of files as Dataverse gives it"):
        catalogue(dataverse, patience)
    assert len(dataverse.seen) == 1


def test_a_web_page_is_refused(dataverse: Dataverse, patience: Patience) -> None:
    dataverse.faults[LISTING] = page()
    with pytest.raises(TransferError, match="a web page instead of a list"):
        catalogue(dataverse, patience)


def test_an_endless_list_is_refused(dataverse: Dataverse, patience: Patience) -> None:
    dataverse.faults[LISTING] = endless
    with pytest.raises(TransferError, match="more than the 8388608 bytes"):
        catalogue(dataverse, patience)


def test_a_list_that_breaks_off_is_asked_for_again(
    dataverse: Dataverse, patience: Patience, waits: list[float]
) -> None:
    dataverse.add("a.zip", b"x")
    dataverse.next_faults[LISTING].extend([break_off(20), status(503)])
    assert catalogue(dataverse, patience).find(("a.zip",)).size == 1
    assert waits == [1.0, 2.0]


def test_names_of_the_list_never_become_paths(dataverse: Dataverse, patience: Patience) -> None:
    dataverse.add("../../a.zip", b"x", filename="a.zip")
    assert catalogue(dataverse, patience).find(("a.zip",)).url.endswith("/api/access/datafile/100")
