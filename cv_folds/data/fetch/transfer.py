"""Downloading one file so that nothing that arrived has to be sent twice, and nothing wrong is ever kept.

The content goes to ``NAME.part`` beside the target, with a note of what it is a part of; the target appears when it is
whole and its checksum is right. Lengths that a server announces decide nothing by themselves.
"""

from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cv_folds.data.fetch.catalogue import RemoteFile
from cv_folds.data.fetch.web import Patience, TransferError, ignore, is_html, open_url, patiently
from cv_folds.errors import DataError, HamcvError
from cv_folds.files import write_json

_CHUNK = 2**18
# A server that breaks off each time after less than this is given up.
_GAIN = 2**20
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


def download(
    remote: RemoteFile,
    target: Path,
    *,
    limit: int,
    patience: Patience,
    progress: Callable[[int], object] = ignore,
) -> None:
    """Download a file, going on from what an earlier call left.

    Parameters
    ----------
    remote : RemoteFile
        What to download.
    target : Path
        Where to; its folder must exist.
    limit : int
        Most bytes that are taken.
    patience : Patience
        How often to try.
    progress : callable
        Called with the number of bytes that are there.

    Raises
    ------
    TransferError
        When the server does not send it. What arrived is kept for the next call.
    HamcvError
        When the disk does not take it; the same holds.
    DataError
        When the content has another checksum than the list of files says; it is deleted.
    """
    if remote.size is not None and remote.size > limit:
        raise TransferError(f"{remote.name}: is listed with {remote.size} bytes; more than {limit} are not taken")
    part = _Part(target, remote)
    resumed = part.usable() > 0
    _fill(part, limit, patience, progress)
    if resumed and not part.is_right():
        # What an earlier call left was damaged, by a crash for example; nothing of it is worth keeping.
        patience.notice(f"{remote.name}: the part that was there is damaged; starting anew")
        part.discard()
        _fill(part, limit, patience, progress)
    if not part.is_right():
        assert remote.checksum is not None
        found = remote.checksum.of(part.path)
        part.discard()
        raise DataError(
            f"{remote.name}: its {remote.checksum.algorithm} is {found}, but {remote.checksum.digits} is listed; "
            "the download was deleted. Run the same command again; if this repeats, the server has another file than "
            "it lists"
        )
    part.keep()


def _fill(part: _Part, limit: int, patience: Patience, progress: Callable[[int], object]) -> None:
    best = part.usable()

    def gained() -> bool:
        nonlocal best
        if part.length < best + _GAIN:
            return False
        best = part.length
        return True

    patiently(lambda: _attempt(part, limit, patience, progress), patience, gained=gained)


def _attempt(part: _Part, limit: int, patience: Patience, progress: Callable[[int], object]) -> None:
    """Send one request and add what comes; `TransferError` when the part is not whole after it."""
    remote = part.remote
    if remote.size is not None and part.usable() == remote.size > 0:
        return
    with _answer(part, patience.timeout) as (response, start):
        if is_html(response):
            raise TransferError(f"{remote.name}: the server sends a web page instead of the file")
        end = remote.size if remote.size is not None else _announced(response, start)
        most = limit if remote.size is None else remote.size
        if start == 0:
            part.begin(response.headers.get("ETag"))
        done = start
        try:
            with part.path.open("r+b") as stream:
                stream.seek(start)
                for chunk in _chunks(response, remote, patience):
                    if done == 0:
                        _refuse_page(remote, chunk)
                    done += len(chunk)
                    if done > most:
                        raise TransferError(f"{remote.name}: the server sends more than {most} bytes")
                    stream.write(chunk)
                    progress(done)
        except OSError as error:
            raise HamcvError(
                f"{part.path}: cannot be written ({error.strerror or error}); what arrived is kept"
            ) from error
    if end is not None and done < end:
        raise TransferError(f"{remote.name}: broke off after {done} of {end} bytes", again=True)


@contextmanager
def _answer(part: _Part, timeout: float) -> Iterator[tuple[http.client.HTTPResponse, int]]:
    """Ask for what is missing; yield the answer and the byte at which it begins."""
    url = part.remote.url
    if start := part.usable():
        headers = {"Range": f"bytes={start}-"} | ({"If-Range": part.etag} if part.etag else {})
        try:
            response = open_url(url, timeout=timeout, headers=headers)
        except TransferError as error:
            # Beyond the end of what the server has: our part is of something else.
            if error.status != 416:
                raise
        else:
            with response:
                if response.status == 200:
                    yield response, 0
                    return
                if _continues(response, start, part):
                    yield response, start
                    return
    with open_url(url, timeout=timeout) as response:
        if response.status != 200:
            raise TransferError(f"{part.remote.name}: the server sends a part that was not asked for")
        yield response, 0


def _continues(response: http.client.HTTPResponse, start: int, part: _Part) -> bool:
    """Whether an answer with status 206 begins where our part ends, in the same content."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if found is None or int(found[1]) != start or int(found[2]) < start:
        return False
    if part.remote.size is not None and found[3] not in ("*", str(part.remote.size)):
        return False
    tag = response.headers.get("ETag")
    return part.etag is None or tag is None or tag == part.etag


def _announced(response: http.client.HTTPResponse, start: int) -> int | None:
    return None if response.length is None else start + response.length


def _chunks(response: http.client.HTTPResponse, remote: RemoteFile, patience: Patience) -> Iterator[bytes]:
    """Yield what arrives; whatever the network does becomes a `TransferError`, so that it is no error of the disk."""
    since, taken = patience.clock(), 0
    while True:
        try:
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            words = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise TransferError(f"{remote.name}: broke off ({words})", again=True) from error
        if not chunk:
            return
        yield chunk
        taken += len(chunk)
        if (passed := patience.clock() - since) >= patience.timeout:
            if taken < patience.slowest * passed:
                raise TransferError(f"{remote.name}: only {taken} bytes in {passed:.0f} s", again=True)
            since, taken = patience.clock(), 0


def _refuse_page(remote: RemoteFile, first: bytes) -> None:
    if first[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        raise TransferError(f"{remote.name}: the server sends a web page instead of the file")


class _Part:
    """``NAME.part`` and ``NAME.part.json``, which says what it is a part of.

    Parameters
    ----------
    target : Path
        Where the whole file goes.
    remote : RemoteFile
        What it shall be a part of.
    """

    def __init__(self, target: Path, remote: RemoteFile) -> None:
        self.remote = remote
        self.path = target.with_name(f"{target.name}.part")
        self.etag: str | None = None
        self._target = target
        self._note = target.with_name(f"{target.name}.part.json")

    @property
    def length(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def usable(self) -> int:
        """Return how many bytes of the same content are there; sets `etag`.

        Only what can be recognised counts: by the checksum that the whole must have, or by the server's tag.
        """
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0
        wanted = self._identity()
        if not isinstance(note, dict) or {key: note.get(key) for key in wanted} != wanted:
            return 0
        tag = note.get("etag")
        self.etag = tag if isinstance(tag, str) else None
        if self.etag is None and self.remote.checksum is None:
            return 0
        return self.length if self.remote.size is None or self.length <= self.remote.size else 0

    def begin(self, tag: str | None) -> None:
        """Start with an empty part; a weak tag does not promise the same bytes."""
        self.path.write_bytes(b"")
        self.etag = tag if tag is not None and tag.startswith('"') and tag.isprintable() else None
        write_json(self._note, self._identity() | {"etag": self.etag})

    def is_right(self) -> bool:
        """Whether the whole has the checksum that is listed, if any."""
        checksum = self.remote.checksum
        return checksum is None or checksum.of(self.path) == checksum.digits

    def keep(self) -> None:
        """Make it the target."""
        with self.path.open("rb") as stream:
            os.fsync(stream.fileno())
        self.path.replace(self._target)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete it."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self.etag = None

    def _identity(self) -> dict[str, object]:
        checksum = self.remote.checksum
        return {
            "size": self.remote.size,
            "checksum": None if checksum is None else f"{checksum.algorithm}:{checksum.digits}",
            # The same bytes may come from another server, but a tag means something to its own only.
            "url": self.remote.url if checksum is None else None,
        }
