"""What lies below a folder: looked up once, then asked by every reader."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from cv_folds.data.readers.table import read_header
from cv_folds.errors import DataError, list_rows

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".txt"})

_COMPRESSED = frozenset({".jpg", ".jpeg", ".png"})
"""Files whose last bytes depend on the picture; of others, all of one format have one size and may end alike."""
_ENDING = 4096


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files below a folder; hidden ones are left out."""

    root: Path
    """The folder."""
    files: tuple[Path, ...]
    """All files, folder by folder in the order of their names."""

    @cached_property
    def images(self) -> tuple[Path, ...]:
        """Files with the extension of an image, in any case."""
        return tuple(path for path in self.files if path.suffix.lower() in IMAGE_SUFFIXES)

    @cached_property
    def others(self) -> tuple[Path, ...]:
        """Files that are no images."""
        images = set(self.images)
        return tuple(path for path in self.files if path not in images)

    @cached_property
    def tables(self) -> tuple[Path, ...]:
        """Files with the extension of a table, in any case."""
        return tuple(path for path in self.others if path.suffix.lower() in TABLE_SUFFIXES)

    @cached_property
    def by_stem(self) -> dict[str, tuple[Path, ...]]:
        """File name without extension to the images of that name."""
        return _grouped((path.stem, path) for path in self.images)

    @cached_property
    def by_name(self) -> dict[str, tuple[Path, ...]]:
        """File name to the images of that name."""
        return _grouped((path.name, path) for path in self.images)

    def relative(self, path: Path) -> str:
        """Return the path below the folder, with slashes."""
        return path.relative_to(self.root).as_posix()

    def find_table(self, name: str) -> Path | None:
        """Return the table of this name: in any case, with the extension of a table or none.

        Raises
        ------
        DataError
            When several are there and they differ.
        """
        suffixes = TABLE_SUFFIXES | {""}
        found = [path for path in self.others if path.stem.lower() == name.lower() and path.suffix.lower() in suffixes]
        if len({path.read_bytes() for path in found} if len(found) > 1 else found) > 1:
            raise DataError(
                f"{self.root}: several metadata tables that differ; keep one:\n" + list_rows([str(p) for p in found])
            )
        return found[0] if found else None

    def image_of(self, image_id: str) -> Path | None:
        """Return the image of an id, which is its file name without extension; None when there is none or no one.

        One mirror ships every image twice, in folders whose names differ only in case: copies are taken for one.
        """
        found = self.by_stem.get(image_id, ())
        return found[0] if found and _alike(found) else None

    def complaint(self, image_id: str) -> str:
        """Say why `image_of` found nothing."""
        if found := self.by_stem.get(image_id):
            return f"image {image_id} has several different files: {', '.join(map(str, found))}"
        return f"image {image_id} is not below the folder (looked for {image_id}.jpg, .png, ...)"

    def named(self, text: str) -> tuple[Path, ...]:
        """Return the images that a path, a file name or a file name without extension can mean.

        A path may start anywhere; what lies outside the folder is never looked at. Copies count once. The extension may
        be in another case, as long as no image has it in this one.
        """
        wanted = PurePosixPath(text.replace("\\", "/"))
        found = self.by_name.get(wanted.name) or self.by_stem.get(wanted.name, ())
        if not found:
            # Cameras write .JPG where tables say .jpg.
            alike = self.by_stem.get(wanted.stem, ())
            found = tuple(path for path in alike if path.suffix.lower() == wanted.suffix.lower())
            wanted = wanted.with_suffix(found[0].suffix) if found else wanted
        below = str(wanted).lstrip("/")
        if (exact := self.root / below) in found:
            return (exact,)
        nested = tuple(path for path in found if self.relative(path).endswith(f"/{below}"))
        best = nested or found
        return best[:1] if _alike(best) else best

    def describe(self) -> str:
        """Say in a few lines what lies there, for a person whose folder was not understood."""
        if not self.files:
            return "  nothing"
        folders = _grouped((self.relative(path).rpartition("/")[0] or ".", path) for path in self.images)
        lines = [f"{folder}: {_some([path.name for path in images])}" for folder, images in sorted(folders.items())]
        for path in self.others[:8]:
            header = read_header(path) if path.suffix.lower() in TABLE_SUFFIXES | {""} else ()
            columns = f", with columns {', '.join(header[:12])}" if len(header) > 1 else ""
            lines.append(self.relative(path) + columns)
        if len(self.others) > 8:
            lines.append(f"{len(self.others) - 8} more files")
        return list_rows(lines)


def scan(root: Path) -> Listing:
    """List the files below a folder; links to folders are followed, each folder is entered once.

    Raises
    ------
    DataError
        When the folder is not there.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name the folder that holds the images and their table with --data")
    return Listing(root=root, files=tuple(_files_below(root, set())))


def _files_below(folder: Path, entered: set[tuple[int, int]]) -> Iterator[Path]:
    status = folder.stat()
    if (place := (status.st_dev, status.st_ino)) in entered:
        return
    entered.add(place)
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir():
            if entry.name != "__MACOSX":
                yield from _files_below(folder / entry.name, entered)
        # A link to nowhere is no file: its row is then reported like that of any missing image.
        elif entry.is_file():
            yield folder / entry.name


def _grouped(pairs: Iterator[tuple[str, Path]]) -> dict[str, tuple[Path, ...]]:
    groups: dict[str, list[Path]] = {}
    for key, path in pairs:
        groups.setdefault(key, []).append(path)
    return {key: tuple(paths) for key, paths in groups.items()}


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} images, {names[0]} ..."


def _alike(paths: tuple[Path, ...]) -> bool:
    return len(paths) == 1 or (len({path.stat().st_size for path in paths}) == 1 and len(set(map(_ending, paths))) == 1)


def _ending(path: Path) -> bytes:
    """Return what tells copies from other images of equal size, without reading all of the usual, large files."""
    with path.open("rb") as stream:
        if path.suffix.lower() in _COMPRESSED:
            stream.seek(max(path.stat().st_size - _ENDING, 0))
        return stream.read()
