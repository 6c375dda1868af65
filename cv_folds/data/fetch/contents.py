"""Unpacked images: which folder has them, and whether they are still as they came out of the archive.

`unpack` leaves a list of names, sizes and CRC-32 sums in the folder. A folder that a person unpacked has none; it
counts as whole when it has the right number of images.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cv_folds.data.fetch.published import PublishedArchive
from cv_folds.data.fetch.web import ignore
from cv_folds.errors import DataError, list_rows
from cv_folds.files import write_json

CONTENTS_FILE = ".contents.json"

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image as it came out of an archive."""

    name: str
    """File name."""
    size: int
    """Bytes."""
    crc32: int
    """CRC-32 of the content."""


def write_contents(folder: Path, archive: str, files: Sequence[ImageFile]) -> None:
    """Write the list of a folder's images."""
    listed = {file.name: [file.size, file.crc32] for file in files}
    write_json(folder / CONTENTS_FILE, {"schema": 1, "archive": archive, "files": listed})


def unpacked_folder(root: Path, archive: PublishedArchive) -> Path | None:
    """Return the folder below `root` that has the images of an archive; None when there is none.

    Raises
    ------
    DataError
        When there is one, with another number of images.
    """
    for name in archive.folders:
        folder = root / name
        if not folder.exists():
            continue
        found = len(image_ids(folder))
        if found != archive.images:
            raise DataError(
                f"{folder}: holds {found} images instead of {archive.images}; "
                "delete it or move it away, then run the same command again"
            )
        return folder
    return None


def image_ids(folder: Path) -> frozenset[str]:
    """Return the ids (file names without suffix) of all images below a folder."""
    return frozenset(
        Path(name).stem
        for _, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in _SUFFIXES and not name.startswith("._")
    )


def check_contents(folder: Path, progress: Callable[[int], object] = ignore) -> bool:
    """Compare every image with the list, where there is one.

    Parameters
    ----------
    folder : Path
        What `unpacked_folder` returned.
    progress : callable
        Called with the number of bytes read.

    Returns
    -------
    bool
        Whether there is a list; without one nothing was compared.

    Raises
    ------
    DataError
        When images are missing or changed: all of them at once.
    """
    listed = _read_contents(folder)
    if listed is None:
        return False
    problems: list[str] = []
    done = 0
    for file in listed:
        path = folder / file.name
        if not path.is_file():
            problems.append(f"{file.name} is missing")
        elif path.stat().st_size != file.size or _crc32(path) != file.crc32:
            problems.append(f"{file.name} is not as it was unpacked")
        done += file.size
        progress(done)
    if problems:
        raise DataError(f"{folder}: delete the folder, then run the same command again, for\n{list_rows(problems)}")
    return True


def listed_bytes(folder: Path) -> int | None:
    """Return the bytes of all images of a list; None without one."""
    listed = _read_contents(folder)
    return None if listed is None else sum(file.size for file in listed)


def _read_contents(folder: Path) -> list[ImageFile] | None:
    path = folder / CONTENTS_FILE
    if not path.is_file():
        return None
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return [ImageFile(name=str(name), size=int(size), crc32=int(crc)) for name, (size, crc) in files.items()]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: is no list of contents; delete the folder and run the same command again") from error


def _crc32(path: Path) -> int:
    crc = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc
