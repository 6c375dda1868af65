"""The pictures of a gallery in a run folder: drawn where images and networks are at hand, shown by every report.

``gallery/`` holds JPEG files and, written last, ``gallery.json``, which says what they show. Names of files are
numbers: an image id may be anything.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cv_folds.arrays import ByteArray, FloatArray
from cv_folds.errors import DataError
from cv_folds.files import write_atomically, write_json
from ensemble.telling_cases import Case
from reports.figures.heat import overlay

GALLERY_FOLDER, GALLERY_FILE = "gallery", "gallery.json"

LONGEST_SIDE = 256
"""Of a picture in pixels: sharp enough at 4 cm in print, small enough for dozens in one file."""

QUALITY = 85
"""Of the JPEG files."""

_JPEG = b"\xff\xd8\xff"
_MEND = "`hamcv report RUN --gallery N` draws the gallery again"


class _Stored(BaseModel):
    # A later version may add keys; an older report must still open the run.
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, use_attribute_docstrings=True)


class StoredMap(_Stored):
    """What speaks for a class in an image."""

    file: str = Field(pattern=r"^[a-z0-9-]+\.jpg$")
    """Name of the picture with the map on it."""
    backbones: tuple[str, ...]
    """The networks whose maps were averaged."""
    label: str
    """Name of the class."""
    peak: tuple[float, float] | None
    """Where most speaks for it: shares of the width from the left and of the height from the top; None for nowhere."""


class StoredCase(_Stored):
    """One image."""

    image_id: str
    """Image id."""
    file: str = Field(pattern=r"^[a-z0-9-]+\.jpg$")
    """Name of the picture."""
    maps: tuple[StoredMap, ...]
    """In the order of the case's claims; fewer where no network could be explained."""


class GalleryRecord(_Stored):
    """``gallery.json``."""

    form: Literal[1] = Field(default=1, alias="schema")
    """Version of the file's form."""
    model: str
    """The ensemble whose answers are shown."""
    most: int
    """How many images of either kind were asked for."""
    errors: tuple[StoredCase, ...]
    """Wrong answers, the most confident first."""
    disagreements: tuple[StoredCase, ...]
    """Images that divide the members, the most divided first."""
    unexplained: dict[str, str]
    """Backbones without maps: name to reason."""


@dataclass(frozen=True, kw_only=True)
class GalleryFiles:
    """A gallery as it stands in a run folder."""

    record: GalleryRecord
    """What there is."""
    pictures: Mapping[str, bytes]
    """File name to content, each a JPEG."""


@dataclass(frozen=True, kw_only=True)
class DrawnMap:
    """A map to be stored."""

    backbones: tuple[str, ...]
    """The networks it is from."""
    label: str
    """Name of the class that it explains."""
    heat: FloatArray
    """(height, width) from 0 to 1, of the size of the picture."""


@dataclass(frozen=True, kw_only=True)
class DrawnCase:
    """An image to be stored."""

    case: Case
    """Which one, and why."""
    picture: ByteArray
    """(height, width, 3) RGB."""
    maps: tuple[DrawnMap, ...]
    """What speaks for the classes that were claimed."""


def picture_size(width: int, height: int) -> tuple[int, int]:
    """Return the size at which an image is shown; none is made larger."""
    scale = min(1.0, LONGEST_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def write_gallery(
    run: Path,
    *,
    model: str,
    most: int,
    errors: Sequence[DrawnCase],
    disagreements: Sequence[DrawnCase],
    unexplained: Mapping[str, str],
) -> None:
    """Write the gallery of a run folder in place of an earlier one.

    Parameters
    ----------
    run : Path
        The run folder.
    model : str
        The ensemble whose answers are shown.
    most : int
        How many images of either kind were asked for.
    errors, disagreements : sequence of DrawnCase
        In the order in which they are shown.
    unexplained : mapping of str to str
        Backbones without maps, and why.
    """
    remove_gallery(run)
    folder = run / GALLERY_FOLDER
    record = GalleryRecord(
        model=model,
        most=most,
        errors=tuple(_store(folder, f"error-{place:02d}", drawn) for place, drawn in enumerate(errors, start=1)),
        disagreements=tuple(
            _store(folder, f"disagreement-{place:02d}", drawn) for place, drawn in enumerate(disagreements, start=1)
        ),
        unexplained=dict(unexplained),
    )
    write_json(folder / GALLERY_FILE, record.model_dump(mode="json", by_alias=True))


def remove_gallery(run: Path) -> None:
    """Remove the gallery of a run folder, if there is one."""
    folder = run / GALLERY_FOLDER
    if folder.is_dir():
        # The record first: pictures without it are none.
        (folder / GALLERY_FILE).unlink(missing_ok=True)
        shutil.rmtree(folder)


def read_gallery(run: Path) -> GalleryFiles | None:
    """Read the gallery of a run folder; None when there is none, `DataError` that names a damaged file."""
    path = run / GALLERY_FOLDER / GALLERY_FILE
    if not path.is_file():
        return None
    try:
        record = GalleryRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged ({str(error).splitlines()[0]}); {_MEND}") from error
    cases = (*record.errors, *record.disagreements)
    names = [name for case in cases for name in (case.file, *(stored.file for stored in case.maps))]
    return GalleryFiles(record=record, pictures={name: _read_picture(path.parent / name) for name in names})


def _read_picture(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {_MEND}") from error
    if not content.startswith(_JPEG):
        raise DataError(f"{path} is no JPEG file; {_MEND}")
    return content


def _store(folder: Path, name: str, drawn: DrawnCase) -> StoredCase:
    _write_picture(folder / f"{name}.jpg", drawn.picture)
    maps = []
    for place, found in enumerate(drawn.maps, start=1):
        file = f"{name}-map-{place}.jpg"
        _write_picture(folder / file, overlay(drawn.picture, found.heat))
        maps.append(StoredMap(file=file, backbones=found.backbones, label=found.label, peak=_peak(found.heat)))
    return StoredCase(image_id=drawn.case.image_id, file=f"{name}.jpg", maps=tuple(maps))


def _write_picture(path: Path, pixels: ByteArray) -> None:
    # Made of pixels alone: nothing that a camera or a clinic wrote into the file of the image goes along.
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=QUALITY)
    write_atomically(path, lambda partial: partial.write_bytes(stream.getvalue()))


def _peak(heat: FloatArray) -> tuple[float, float] | None:
    if not heat.max() > 0:
        return None
    height, width = heat.shape
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    return round((float(column) + 0.5) / width, 3), round((float(row) + 0.5) / height, 3)
