"""The list of a data set's files, as the native API of a Dataverse server gives it.

``GET /api/datasets/:persistentId/?persistentId=DOI`` lists the files of the newest published version. A table that the
server took in as such has two forms: its checksum and size are those of the archival form, the file that was uploaded
comes with ``?format=original``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cv_folds.data.fetch.web import Patience, TransferError, is_html, open_url, patiently, read_bounded
from cv_folds.errors import list_rows

_LONGEST_LISTING = 8 * 2**20
_ALGORITHMS = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """A digest of a whole file."""

    algorithm: str
    """As `hashlib` names it."""
    digits: str
    """Hexadecimal, lower case."""

    def of(self, path: Path) -> str:
        """Return the digits that a file has."""
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.new(self.algorithm, usedforsecurity=False)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file that can be downloaded."""

    name: str
    """As listed; never used as a path."""
    url: str
    """Where its content is."""
    size: int | None
    """Bytes; None where the list does not say it of this form of the file."""
    checksum: Checksum | None
    """None where the list does not give one of this form of the file."""


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All files of a data set on one server."""

    where: str
    """The address of the list."""
    server: str
    """Base address."""
    entries: tuple[Entry, ...]
    """As listed."""

    def find(self, names: Sequence[str]) -> RemoteFile:
        """Return the file that goes by one of `names`, in upper or lower case; the first of `names` goes first.

        Raises
        ------
        TransferError
            When there is none, or when it is kept from the public.
        """
        for name in names:
            for entry in self.entries:
                if name.lower() in entry.names:
                    return self._remote(entry)
        there = sorted(entry.label for entry in self.entries)
        raise TransferError(f"{self.where}: lists no {names[0]}; it lists\n{list_rows(there) or '  nothing'}")

    def _remote(self, entry: Entry) -> RemoteFile:
        if entry.restricted:
            raise TransferError(f"{self.where}: keeps {entry.label} from the public")
        file = entry.file
        url = f"{self.server}/api/access/datafile/{file.id}"
        if file.is_table:
            return RemoteFile(name=entry.label, url=f"{url}?format=original", size=None, checksum=None)
        return RemoteFile(name=entry.label, url=url, size=file.size, checksum=file.digest)


def read_catalogue(server: str, dataset: str, patience: Patience) -> Catalogue:
    """Ask a Dataverse server for the files of a data set.

    Parameters
    ----------
    server : str
        Base address.
    dataset : str
        Persistent id, e.g. ``doi:10.7910/DVN/DBW86T``.
    patience : Patience
        How often to try.

    Raises
    ------
    TransferError
        When the server cannot be reached, refuses, or answers with something else.
    """
    url = f"{server}/api/datasets/:persistentId/?persistentId={quote(dataset, safe=':/')}"

    def attempt() -> bytes:
        with open_url(url, timeout=patience.timeout, headers={"Accept": "application/json"}) as response:
            if is_html(response):
                raise TransferError(f"{url}: answers with a web page instead of a list of files")
            return read_bounded(response, url, _LONGEST_LISTING)

    try:
        listing = _Listing.model_validate_json(patiently(attempt, patience))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise TransferError(f"{url}: is no list of files as Dataverse gives it ({place} {first['msg']})") from error
    return Catalogue(where=url, server=server, entries=tuple(listing.data.version.files))


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Digest(_Record):
    type: str
    value: str


class _File(_Record):
    id: int = Field(ge=0)
    filename: str | None = None
    size: int | None = Field(default=None, alias="filesize", ge=0)
    md5: str | None = None
    checksum: _Digest | None = None
    tabular: bool = Field(default=False, alias="tabularData")
    original_format: str | None = Field(default=None, alias="originalFileFormat")
    original_name: str | None = Field(default=None, alias="originalFileName")

    @property
    def is_table(self) -> bool:
        return self.tabular or self.original_format is not None

    @property
    def digest(self) -> Checksum | None:
        if self.checksum is not None and self.checksum.type in _ALGORITHMS:
            return Checksum(algorithm=_ALGORITHMS[self.checksum.type], digits=self.checksum.value.lower())
        return Checksum(algorithm="md5", digits=self.md5.lower()) if self.md5 else None


class Entry(_Record):
    """A file in the list of a Dataverse server."""

    label: str
    """Name in this version of the data set."""
    restricted: bool = False
    """Kept from the public."""
    file: _File = Field(alias="dataFile")
    """What is stored."""

    @property
    def names(self) -> frozenset[str]:
        """All names of the file, in lower case."""
        return frozenset(name.lower() for name in (self.label, self.file.filename, self.file.original_name) if name)


class _Version(_Record):
    files: list[Entry]


class _Data(_Record):
    version: _Version = Field(alias="latestVersion")


class _Listing(_Record):
    data: _Data
