"""Reading safetensors files: their header on its own, and their tensors in one pass with the checksum.

The format is a length, a JSON header with the type, shape and place of every tensor, then the bytes of the tensors
without gaps. Read here, since the usual readers hold a file twice for a while, or map it beside what was read: with 15
networks that is memory which a prediction does not have.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from cv_folds.errors import DataError

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
_NAME = re.compile(r"[\w.]+")
_LONGEST_HEADER = 16 * 2**20
"""Far above what the names and shapes of any network take."""
_MOST_NUMBERS = 2**48
"""Far above what any memory holds; of an empty tensor too, whose other sides torch multiplies."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    n_bytes: int


def check_weights_file(path: Path) -> None:
    """Raise `DataError` that names the file when it is anything but safetensors of plain numbers."""
    with path.open("rb") as stream:
        _places(_header(stream, path), path.stat().st_size, path)


def read_weights(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    """Read all tensors of a file.

    Parameters
    ----------
    path : Path
        A safetensors file.
    sha256 : str
        What its checksum must be.

    Returns
    -------
    dict of str to tensor
        On the CPU, in the types of the file.

    Raises
    ------
    DataError
        When the file cannot be read, is malformed, or was changed.
    """
    changed = DataError(f"{path} was changed after the bundle was loaded; load the bundle again")
    try:
        with path.open("rb") as stream:
            header = _header(stream, path)
            digest = hashlib.sha256(header)
            tensors = {}
            for place in _places(header, path.stat().st_size, path):
                tensor = torch.empty(place.shape, dtype=place.dtype)
                content = tensor.reshape(-1).view(torch.uint8).numpy().data
                if stream.readinto(content) != place.n_bytes:
                    raise changed
                digest.update(content)
                tensors[place.name] = tensor
    except OSError as error:
        raise DataError(f"{path} cannot be read any more ({error}); load the bundle again") from error
    if digest.hexdigest() != sha256:
        raise changed
    return tensors


def _header(stream: BinaryIO, path: Path) -> bytes:
    """Return the length and the header as they stand in the file."""
    start = stream.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > _LONGEST_HEADER:
        raise DataError(f"{path} is no safetensors file{_guess(start)}; do not use it")
    return start + stream.read(length)


def _places(header: bytes, file_size: int, path: Path) -> list[_Place]:
    """Return what is in a file, in the order of its bytes."""
    try:
        content = json.loads(header[8:])
        content.pop("__metadata__", None)
        places = [_place(name, entry) for name, entry in sorted(content.items(), key=lambda item: _offsets(item[1]))]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is no safetensors file (its header: {error!r}); do not use it") from error
    end = 0
    for place, (first, last) in zip(places, sorted(map(_offsets, content.values())), strict=True):
        if first != end or last - first != place.n_bytes:
            raise DataError(f"{path}: the bytes of {place.name!r} are not where its header says; do not use it")
        end = last
    if len(header) + end != file_size:
        raise DataError(f"{path} is {file_size} bytes long, its header speaks of {len(header) + end}; do not use it")
    return places


def _offsets(entry: dict[str, Any]) -> tuple[int, int]:
    first, last = entry["data_offsets"]
    return int(first), int(last)


def _place(name: str, entry: dict[str, Any]) -> _Place:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a tensor")
    dtype, shape = _DTYPES[entry["dtype"]], tuple(int(side) for side in entry["shape"])
    if min(shape, default=0) < 0 or math.prod(max(side, 1) for side in shape) > _MOST_NUMBERS:
        raise ValueError(f"{name!r} has no size that a tensor can have")
    return _Place(name=name, dtype=dtype, shape=shape, n_bytes=math.prod(shape) * dtype.itemsize)


def _guess(start: bytes) -> str:
    if start.startswith(b"PK"):
        return " but looks like a zip archive, which may hold a pickle"
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        return " but looks like a pickle, whose reading can run code"
    return ""
