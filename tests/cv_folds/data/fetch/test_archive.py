from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from dataverse_server import isic, picture, zip_of

from cv_folds.data.fetch.archive import Limits, remove_unfinished, unpack
from cv_folds.data.fetch.contents import CONTENTS_FILE, check_contents, image_ids, unpacked_folder
from cv_folds.data.fetch.published import PublishedArchive
from cv_folds.errors import DataError, HamcvError

PICTURES = {f"{isic(number)}.jpg": picture(number) for number in range(4)}
GOOD = list(PICTURES.items())

Members = Sequence[tuple[str | zipfile.ZipInfo, bytes]]


def written(folder: Path, members: Members, compression: int = zipfile.ZIP_STORED) -> Path:
    path = folder / "a.zip"
    path.write_bytes(zip_of(members, compression))
    return path


def unpacked(folder: Path, archive: Path, images: int = 4, limits: Limits | None = None) -> dict[str, bytes]:
    unpack(archive, folder / "images", images=images, limits=limits)
    return {path.name: path.read_bytes() for path in (folder / "images").iterdir() if path.name != CONTENTS_FILE}


def complaint(folder: Path, archive: Path, images: int = 4, limits: Limits | None = None) -> str:
    before = archive.read_bytes()
    with pytest.raises(DataError) as caught:
        unpack(archive, folder / "images", images=images, limits=limits)
    # Nothing is left, neither the folder nor what was being filled, and the archive is as it was.
    assert [path.name for path in folder.iterdir()] == [archive.name]
    assert archive.read_bytes() == before
    assert str(archive) in str(caught.value)
    return str(caught.value)


def member(name: str, *, mode: int = 0, system: int = 3) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.create_system = system
    made.external_attr = mode << 16
    return made


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_images_come_out_as_they_went_in(tmp_path: Path, compression: int) -> None:
    done: list[int] = []
    archive = written(tmp_path, GOOD, compression)
    unpack(archive, tmp_path / "images", images=4, progress=done.append)
    assert {name: (tmp_path / "images" / name).read_bytes() for name in PICTURES} == PICTURES
    assert done[-1] == sum(len(content) for content in PICTURES.values())
    assert check_contents(tmp_path / "images")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "images"]


def test_folders_in_the_archive_are_left_out_of_the_names(tmp_path: Path) -> None:
    members = [("part/", b""), *((f"part/deep/{name}", content) for name, content in GOOD)]
    assert unpacked(tmp_path, written(tmp_path, members)) == PICTURES


def test_what_systems_add_is_passed_over(tmp_path: Path) -> None:
    extra = [
        "__MACOSX/", "__MACOSX/part/._ISIC_0000000.jpg", "part/.DS_Store", ".DS_Store", "part/._ISIC_0000001.jpg",
        "Thumbs.db", "LICENSE.txt", "ATTRIBUTION.txt", "README.txt",
    ]  # fmt: skip
    assert unpacked(tmp_path, written(tmp_path, [*GOOD, *((name, b"") for name in extra)])) == PICTURES


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/ISIC_0000009.jpg", "an absolute"),
        ("//host/ISIC_0000009.jpg", "an absolute"),
        ("C:/ISIC_0000009.jpg", "an absolute"),
        ("C:ISIC_0000009.jpg", "an absolute"),
        ("\\\\host\\share\\ISIC_0000009.jpg", "an absolute"),
        ("..\\ISIC_0000009.jpg", "an absolute"),
        ("../ISIC_0000009.jpg", "out of the folder"),
        ("part/../../ISIC_0000009.jpg", "out of the folder"),
        ("part/..", "out of the folder"),
        ("__MACOSX/../../ISIC_0000009.jpg", "out of the folder"),
        ("ISIC_0000009.jpg\n", "unprintable"),
        ("\x1b[2JISIC_0000009.jpg", "unprintable"),
        ("ISIC_0000009.exe", "no image"),
        ("ISIC_0000009.jpg.sh", "no image"),
        ("ISIC_0000009", "no image"),
        ("photo.jpg", "no image"),
        ("sitecustomize.py", "no image"),
        (".bashrc", "no image"),
        ("ISIC_٠٠٠٠٠٠٩.jpg", "no image"),
    ],
)
def test_names_that_do_not_belong_there_stop_everything(tmp_path: Path, name: str, why: str) -> None:
    inside = tmp_path / "below"
    inside.mkdir()
    message = complaint(inside, written(inside, [*GOOD, (name, b"x")]))
    assert why in message
    assert repr(name) in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["below"]


def test_a_name_with_a_nul_is_seen_as_it_is_stored(tmp_path: Path) -> None:
    # zipfile writes no such name: put it into the finished file, in both places.
    content = zip_of([*GOOD, ("ISIC_0000009.jpgXsh", b"x")]).replace(b"ISIC_0000009.jpgXsh", b"ISIC_0000009.jpg\0sh")
    (tmp_path / "a.zip").write_bytes(content)
    assert "unprintable" in complaint(tmp_path, tmp_path / "a.zip", images=5)


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        (stat.S_IFLNK | 0o777, "a link"),
        (stat.S_IFIFO | 0o644, "no plain file"),
        (stat.S_IFCHR | 0o644, "no plain file"),
        (stat.S_IFBLK | 0o644, "no plain file"),
        (stat.S_IFSOCK | 0o644, "no plain file"),
        (stat.S_IFDIR | 0o755, "no plain file"),
    ],
)
@pytest.mark.parametrize("system", [0, 3])
def test_links_and_special_files_stop_everything(tmp_path: Path, mode: int, why: str, system: int) -> None:
    bad = member("ISIC_0000009.jpg", mode=mode, system=system)
    assert f"'ISIC_0000009.jpg': {why}" in complaint(tmp_path, written(tmp_path, [*GOOD, (bad, b"/etc/passwd")]))


def test_a_folder_that_is_a_link_stops_everything(tmp_path: Path) -> None:
    bad = member("part/", mode=stat.S_IFLNK | 0o777)
    assert "'part/': a link" in complaint(tmp_path, written(tmp_path, [(bad, b""), *GOOD]))


def test_plain_files_with_their_rights_come_out_without_them(tmp_path: Path) -> None:
    odd = member("ISIC_0000009.jpg", mode=stat.S_IFREG | stat.S_ISUID | 0o777)
    unpacked(tmp_path, written(tmp_path, [*GOOD, (odd, picture(9))]), images=5)
    mode = (tmp_path / "images" / "ISIC_0000009.jpg").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_IXUSR)


@pytest.mark.parametrize("name", ["ISIC_0000001.jpg", "isic_0000001.JPG", "other/ISIC_0000001.jpg"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice_stops_everything(tmp_path: Path, name: str) -> None:
    message = complaint(tmp_path, written(tmp_path, [*GOOD, (name, b"x")]))
    assert f"{name!r}: the same file name as 'ISIC_0000001.jpg'" in message


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    message = complaint(tmp_path, written(tmp_path, [("../a", b""), *GOOD, ("/b", b""), ("c.py", b"")]))
    assert all(name in message for name in ("'../a'", "'/b'", "'c.py'"))


@pytest.mark.parametrize("images", [0, 3, 5])
def test_another_number_of_images_stops_everything(tmp_path: Path, images: int) -> None:
    assert f"holds 4 images instead of {images}" in complaint(tmp_path, written(tmp_path, GOOD), images=images)


def test_too_many_members_stop_everything_even_those_passed_over(tmp_path: Path) -> None:
    archive = written(tmp_path, [*GOOD, *((f"__MACOSX/{number}", b"") for number in range(7))])
    assert "holds 11 members; more than 10" in complaint(tmp_path, archive, limits=Limits(members=10))


def test_a_list_of_members_that_would_fill_the_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cv_folds.data.fetch.archive._LONGEST_LIST", 5000)
    archive = written(tmp_path, [*GOOD, *((f"__MACOSX/{'x' * 200}{number}", b"") for number in range(30))])
    assert "its list of members is longer than 5000 bytes" in complaint(tmp_path, archive)


def test_a_bomb_does_not_go_off(tmp_path: Path) -> None:
    archive = written(tmp_path, [*GOOD, (f"{isic(9)}.jpg", bytes(50 * 2**20))], zipfile.ZIP_DEFLATED)
    assert archive.stat().st_size < 2**17
    assert "grows to more than 20 times its packed size" in complaint(tmp_path, archive, images=5)


def test_what_the_archive_says_of_its_sizes_does_not_count(tmp_path: Path) -> None:
    """A member that claims to be as large when packed, and to be small when unpacked."""
    content = bytearray(zip_of([(f"{isic(9)}.jpg", bytes(10 * 2**20))], zipfile.ZIP_DEFLATED))
    place = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, place + 24, 100)
    (tmp_path / "a.zip").write_bytes(bytes(content))
    with pytest.raises(DataError):
        unpack(tmp_path / "a.zip", tmp_path / "images", images=1)
    assert not (tmp_path / "images").exists()


def test_one_image_has_a_limit(tmp_path: Path) -> None:
    archive = written(tmp_path, [*GOOD, (f"{isic(9)}.jpg", np.random.default_rng(0).bytes(9000))])
    message = complaint(tmp_path, archive, images=5, limits=Limits(image_bytes=8000))
    assert "ISIC_0000009.jpg grows beyond the 8000 bytes" in message


def test_all_images_have_a_limit(tmp_path: Path) -> None:
    assert "grow beyond 1000 bytes" in complaint(tmp_path, written(tmp_path, GOOD), limits=Limits(total_bytes=1000))


def test_members_that_share_their_bytes_do_not_multiply(tmp_path: Path) -> None:
    """The list names the same packed bytes many times: each member is within its ratio, the whole is not."""
    name = f"{isic(0)}.jpg".encode()
    content = zip_of([(name.decode(), np.random.default_rng(0).bytes(10_000))])
    start = content.rindex(b"PK\x01\x02")
    end = content.rindex(b"PK\x05\x06")
    entry = content[start:end]
    count = 1000
    entries = b"".join(entry.replace(name, f"{isic(number)}.jpg".encode()) for number in range(count))
    tail = bytearray(content[end:])
    struct.pack_into("<HHII", tail, 8, count, count, len(entries), start)
    (tmp_path / "a.zip").write_bytes(content[:start] + entries + bytes(tail))
    with pytest.raises(DataError):
        unpack(tmp_path / "a.zip", tmp_path / "images", images=count)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_the_whole_has_a_ratio_too(tmp_path: Path) -> None:
    archive = written(tmp_path, [(name, bytes(3000)) for name in PICTURES], zipfile.ZIP_DEFLATED)
    limits = Limits(ratio=5.0, slack=4000)
    assert "5 times the size of the archive" in complaint(tmp_path, archive, limits=limits)


def test_an_encrypted_member_stops_everything(tmp_path: Path) -> None:
    content = bytearray(zip_of(GOOD))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.index(signature)
        content[place + offset] |= 1
    (tmp_path / "a.zip").write_bytes(bytes(content))
    assert "encrypted" in complaint(tmp_path, tmp_path / "a.zip")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_packing_stops_everything(tmp_path: Path, compression: int) -> None:
    assert "packed by an unusual method" in complaint(tmp_path, written(tmp_path, GOOD, compression))


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -30])
def test_a_truncated_archive_is_said(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a.zip").write_bytes(zip_of(GOOD)[:cut])
    assert "is no whole zip file" in complaint(tmp_path, tmp_path / "a.zip")


@pytest.mark.parametrize("seed", range(40))
def test_damage_anywhere_either_does_no_harm_or_is_said(tmp_path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    content = bytearray(zip_of(GOOD, zipfile.ZIP_DEFLATED))
    for place in generator.integers(0, len(content), 3):
        content[place] ^= int(generator.integers(1, 256))
    (tmp_path / "a.zip").write_bytes(bytes(content))
    try:
        found = unpacked(tmp_path, tmp_path / "a.zip")
    except DataError:
        assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    else:
        assert sorted(found.values()) == sorted(PICTURES.values())


def test_an_interrupted_unpacking_is_never_a_finished_one(tmp_path: Path) -> None:
    class KilledError(BaseException):
        pass

    def die(_: int) -> None:
        raise KilledError

    archive = written(tmp_path, GOOD)
    with pytest.raises(KilledError):
        unpack(archive, tmp_path / "images", images=4, progress=die)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    for name in (".images.unpacking-abc", ".images.unpacking-xyz", ".others.unpacking-abc", "images.unpacking-abc"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ISIC_0000000.jpg").write_bytes(b"half")
    remove_unfinished(tmp_path / "images")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".others.unpacking-abc", "images.unpacking-abc"]


def test_a_folder_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.txt").write_text("mine")
    with pytest.raises(HamcvError, match="cannot be unpacked there"):
        unpack(written(tmp_path, GOOD), tmp_path / "images", images=4)
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["mine.txt"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    archive = written(tmp_path, GOOD)
    with pytest.raises(HamcvError, match="No space left on device") as caught:
        unpack(archive, tmp_path / "images", images=4, progress=full)
    assert caught.value.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


ARCHIVE = PublishedArchive(name="a.zip", folders=("images", "input"), images=4)


def test_a_changed_or_missing_image_is_found(tmp_path: Path) -> None:
    unpacked(tmp_path, written(tmp_path, GOOD))
    folder = tmp_path / "images"
    changed = bytearray((folder / "ISIC_0000001.jpg").read_bytes())
    changed[50] ^= 1
    (folder / "ISIC_0000001.jpg").write_bytes(bytes(changed))
    (folder / "ISIC_0000002.jpg").write_bytes(b"short")
    (folder / "ISIC_0000003.jpg").rename(folder / "ISIC_0000007.jpg")
    with pytest.raises(DataError) as caught:
        check_contents(folder)
    lines = str(caught.value).splitlines()
    assert lines[1:] == [
        "  ISIC_0000001.jpg is not as it was unpacked",
        "  ISIC_0000002.jpg is not as it was unpacked",
        "  ISIC_0000003.jpg is missing",
    ]
    assert str(folder) in lines[0]


def test_the_folder_is_found_under_each_of_its_names(tmp_path: Path) -> None:
    assert unpacked_folder(tmp_path, ARCHIVE) is None
    folder = tmp_path / "input" / "nested"
    folder.mkdir(parents=True)
    for name, content in GOOD:
        (folder / name).write_bytes(content)
    (folder / "._ISIC_0000001.jpg").write_bytes(b"")
    assert unpacked_folder(tmp_path, ARCHIVE) == tmp_path / "input"
    assert image_ids(tmp_path / "input") == {isic(number) for number in range(4)}
    # A person unpacked it: nothing is known about the content.
    assert not check_contents(tmp_path / "input")


def test_half_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "ISIC_0000001.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="holds 1 images instead of 4; delete it or move it away"):
        unpacked_folder(tmp_path, ARCHIVE)


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": {"a": 1}}', '{"files": {"a": ["x", "y"]}}'])
def test_a_damaged_list_of_contents_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / CONTENTS_FILE).write_text(text)
    with pytest.raises(DataError, match="is no list of contents"):
        check_contents(tmp_path)
