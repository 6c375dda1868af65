"""Unpacking a zip file of images that nobody vouches for.

Nothing but images gets out, under their bare file names, into a folder that appears under its name when all are there.
The limits hold for what is written, not for what the archive says of itself.
"""

from __future__ import annotations

import io
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cv_folds.data.fetch.contents import ImageFile, write_contents
from cv_folds.data.fetch.web import ignore
from cv_folds.errors import DataError, HamcvError, list_rows

IMAGE_NAME = re.compile(r"ISIC_[0-9]{7}\.(jpg|jpeg|png)", re.IGNORECASE)
UNPACKING = ".unpacking-"
"""Between a folder's name and a random end, with a dot before, while it is being filled."""

_PASSED_OVER = frozenset({".ds_store", "thumbs.db", "license.txt", "attribution.txt", "readme.txt"})
_CHUNK = 2**18
# zipfile reads the list of members at one go and makes an object of each.
_LONGEST_LIST = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may grow to."""

    members: int = 20_000
    """Members, whatever they are."""
    total_bytes: int = 8 * 2**30
    """Bytes of all images."""
    image_bytes: int = 64 * 2**20
    """Bytes of one image."""
    ratio: float = 20.0
    """Bytes of an image, and of all, to those that they take in the archive; JPEG files hardly shrink."""
    slack: int = 2**16
    """Bytes that are never too many for `ratio`."""


def unpack(
    archive: Path,
    folder: Path,
    *,
    images: int,
    limits: Limits | None = None,
    progress: Callable[[int], object] = ignore,
) -> None:
    """Unpack the images of a zip file into a new folder, with a list of its contents.

    Parameters
    ----------
    archive : Path
        The zip file.
    folder : Path
        Made; must not exist.
    images : int
        How many images the archive must hold.
    limits : Limits, optional
        What it may grow to.
    progress : callable
        Called with the number of bytes written.

    Raises
    ------
    DataError
        When the archive is damaged, holds anything that does not belong there (all of it is named), holds another
        number of images, or grows beyond the limits. There is no folder then.
    HamcvError
        When the disk does not take it.
    """
    limits = limits or Limits()
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}{UNPACKING}", dir=folder.parent))
    try:
        with _Bounded(archive.open("rb", buffering=0)) as stream, zipfile.ZipFile(stream) as opened:
            members = _checked(archive, opened.infolist(), images, limits)
            files = _Writer(archive, opened, building, limits, progress).write(members)
        write_contents(building, archive.name, files)
        # `mkdtemp` keeps others out; a data set is as open as the folder that it lies in.
        building.chmod(folder.parent.stat().st_mode & 0o777)
        building.rename(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise DataError(f"{archive}: is no whole zip file ({error}); delete it and fetch it again") from error
    except OSError as error:
        raise HamcvError(f"{folder}: {archive.name} cannot be unpacked there ({error.strerror or error})") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Delete what an interrupted `unpack` left for `folder`; nobody else may be unpacking there."""
    for path in folder.parent.glob(f".{folder.name}{UNPACKING}*"):
        shutil.rmtree(path, ignore_errors=True)


class _Bounded(io.BufferedReader):
    """Refuses to read much at one go, so that a list of a billion members never gets into memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = _LONGEST_LIST + 1
        content = super().read(most if size is None or size < 0 else min(size, most))
        if len(content) == most:
            raise zipfile.BadZipFile(f"its list of members is longer than {_LONGEST_LIST} bytes")
        return content


def _checked(archive: Path, members: Sequence[zipfile.ZipInfo], images: int, limits: Limits) -> list[zipfile.ZipInfo]:
    """Return the members that are images; raise when anything else does not belong there."""
    if len(members) > limits.members:
        raise DataError(f"{archive}: holds {len(members)} members; more than {limits.members} are not unpacked")
    chosen: list[zipfile.ZipInfo] = []
    problems: list[str] = []
    seen: dict[str, str] = {}
    for member in members:
        if (problem := _problem(member)) is not None:
            problems.append(f"{member.orig_filename!r}: {problem}")
        elif not _passed_over(member):
            name = _bare(member).lower()
            if name in seen:
                problems.append(f"{member.orig_filename!r}: the same file name as {seen[name]!r}")
            seen.setdefault(name, member.orig_filename)
            chosen.append(member)
    if problems:
        raise DataError(f"{archive}: nothing was unpacked, for it holds\n{list_rows(problems)}")
    if len(chosen) != images:
        raise DataError(f"{archive}: nothing was unpacked, for it holds {len(chosen)} images instead of {images}")
    return chosen


def _problem(member: zipfile.ZipInfo) -> str | None:
    # The name as stored: zipfile ends it at a NUL.
    name = member.orig_filename
    if name.startswith("/") or "\\" in name or ":" in name or not name.isprintable() or not name:
        return "an absolute, foreign or unprintable path"
    if ".." in PurePosixPath(name).parts:
        return "a path that leads out of the folder"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
        return "a link" if kind == stat.S_IFLNK else "no plain file"
    if member.is_dir() or _passed_over(member):
        return None
    if member.flag_bits & 0x1:
        return "encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"packed by an unusual method (number {member.compress_type})"
    if not IMAGE_NAME.fullmatch(_bare(member)):
        return "no image of the ISIC archive (ISIC_0000000.jpg)"
    return None


def _passed_over(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.orig_filename).parts
    return member.is_dir() or "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1].lower() in _PASSED_OVER


def _bare(member: zipfile.ZipInfo) -> str:
    return PurePosixPath(member.orig_filename).name


class _Writer:
    """Writes members and counts what comes out of them.

    Parameters
    ----------
    archive, limits, progress
        As for `unpack`.
    opened : ZipFile
        The opened archive.
    folder : Path
        Where to write.
    """

    def __init__(
        self,
        archive: Path,
        opened: zipfile.ZipFile,
        folder: Path,
        limits: Limits,
        progress: Callable[[int], object],
    ) -> None:
        self._archive = archive
        self._packed = archive.stat().st_size
        self._opened = opened
        self._folder = folder
        self._limits = limits
        self._progress = progress
        self._total = 0

    def write(self, members: Sequence[zipfile.ZipInfo]) -> list[ImageFile]:
        """Write all of them; `DataError` at the first that grows beyond the limits."""
        return [self._write_one(member) for member in members]

    def _write_one(self, member: zipfile.ZipInfo) -> ImageFile:
        name = _bare(member)
        size = crc = 0
        # "x": whatever the checks before may have missed, nothing that exists is written to.
        with self._opened.open(member) as source, (self._folder / name).open("xb") as target:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                self._total += len(chunk)
                self._refuse_growth(member, size)
                target.write(chunk)
                crc = zlib.crc32(chunk, crc)
        self._progress(self._total)
        return ImageFile(name=name, size=size, crc32=crc)

    def _refuse_growth(self, member: zipfile.ZipInfo, size: int) -> None:
        limits = self._limits
        if size > limits.image_bytes:
            problem = f"{member.orig_filename} grows beyond the {limits.image_bytes} bytes that one image may have"
        elif size > limits.slack + limits.ratio * member.compress_size:
            problem = f"{member.orig_filename} grows to more than {limits.ratio:g} times its packed size"
        elif self._total > limits.total_bytes:
            problem = f"its images grow beyond {limits.total_bytes} bytes"
        elif self._total > limits.slack + limits.ratio * self._packed:
            problem = f"its images grow to more than {limits.ratio:g} times the size of the archive"
        else:
            return
        raise DataError(f"{self._archive}: nothing was unpacked, for {problem}")
