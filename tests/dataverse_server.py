"""A server on this machine that answers like Dataverse, and misbehaves on demand."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

import numpy as np
from PIL import Image

LISTING = "/api/datasets/:persistentId/"

Fault = Callable[["Handler", bytes], None]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request that the server got."""

    path: str
    query: str
    range: str | None
    if_range: str | None
    agent: str | None


class Dataverse:
    """Files, the list of them, and what goes wrong with the next requests for a path."""

    def __init__(self, address: str) -> None:
        self.url = address
        self.contents: dict[str, bytes] = {}
        self.entries: list[dict[str, Any]] = []
        self.next_faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.faults: dict[str, Fault] = {}
        self.seen: list[Seen] = []
        self.over = threading.Event()

    def add(
        self, label: str, content: bytes, *, table: str | None = None, restricted: bool = False, **file: Any
    ) -> str:
        """Publish a file and return its path; `table` is the name under which a table was uploaded."""
        number = 100 + len(self.entries)
        file = {
            "id": number,
            "filename": label,
            "filesize": len(content),
            "md5": hashlib.md5(content).hexdigest(),
            "checksum": {"type": "MD5", "value": hashlib.md5(content).hexdigest()},
            "friendlyType": "whatever",
        } | file
        if table is not None:
            # Of the archival form, which differs from what was uploaded.
            other = {"filesize": 7, "md5": "0" * 32, "checksum": {"type": "MD5", "value": "0" * 32}}
            file |= other | {"originalFileFormat": "text/csv", "originalFileName": table, "tabularData": True}
        self.entries.append({"label": label, "restricted": restricted, "version": 1, "dataFile": file})
        path = f"/api/access/datafile/{number}"
        self.contents[path] = content
        return path

    def listing(self) -> bytes:
        version = {"id": 1, "versionState": "RELEASED", "files": self.entries}
        return json.dumps({"status": "OK", "data": {"id": 1, "latestVersion": version}}).encode()

    def ranges(self, path: str) -> list[str | None]:
        return [request.range for request in self.seen if request.path == path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    dataverse: Dataverse

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.dataverse.seen.append(
            Seen(
                path=path,
                query=query,
                range=self.headers.get("Range"),
                if_range=self.headers.get("If-Range"),
                agent=self.headers.get("User-Agent"),
            )
        )
        content = self.dataverse.listing() if path == LISTING else self.dataverse.contents.get(path)
        self.close_connection = True
        waiting = self.dataverse.next_faults[path]
        fault = waiting.popleft() if waiting else self.dataverse.faults.get(path, honest)
        with suppress(ConnectionError):
            if content is None and fault is honest:
                fault = status(404)
            fault(self, content or b"")

    def begin(self, code: int, headers: dict[str, object]) -> None:
        self.send_response(code)
        for name, value in {"Connection": "close", "Content-Type": "application/octet-stream", **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def tag(content: bytes) -> str:
    return f'"{hashlib.sha1(content).hexdigest()}"'


def asked_from(handler: Handler, content: bytes) -> int:
    wanted = handler.headers.get("Range")
    if wanted is None or handler.headers.get("If-Range") not in (None, tag(content)):
        return 0
    return int(wanted.removeprefix("bytes=").removesuffix("-"))


def head(handler: Handler, content: bytes, **headers: object) -> int:
    """Send the headers of a proper answer and return where it starts; -1 when there is nothing there."""
    start = asked_from(handler, content)
    if start >= len(content) > 0:
        handler.begin(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": 0})
        return -1
    own: dict[str, object] = {"Content-Length": len(content) - start, "ETag": tag(content)}
    if start:
        own["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    handler.begin(206 if start else 200, own | names)
    return start


def honest(handler: Handler, content: bytes) -> None:
    start = head(handler, content)
    if start >= 0:
        handler.wfile.write(content[start:])


def without_tag(handler: Handler, content: bytes) -> None:
    start = head(handler, content, ETag='W/"weak"')
    handler.wfile.write(content[start:])


def break_off(after: int, **headers: object) -> Fault:
    """Send so many bytes of what was asked for, then close the connection."""

    def fault(handler: Handler, content: bytes) -> None:
        start = head(handler, content, **headers)
        if start >= 0:
            handler.wfile.write(content[start : start + after])

    return fault


def lie_about_length(by: int) -> Fault:
    def fault(handler: Handler, content: bytes) -> None:
        start = asked_from(handler, content)
        rest = content[start:]
        begins = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        handler.begin(206 if start else 200, {"Content-Length": max(len(rest) + by, 0), **begins})
        handler.wfile.write(rest)

    return fault


def ignore_range(handler: Handler, content: bytes) -> None:
    handler.begin(200, {"Content-Length": len(content), "ETag": tag(content)})
    handler.wfile.write(content)


def wrong_range(content_range: str) -> Fault:
    def fault(handler: Handler, content: bytes) -> None:
        if handler.headers.get("Range") is None:
            honest(handler, content)
            return
        start = asked_from(handler, content)
        handler.begin(206, {"Content-Range": content_range, "Content-Length": len(content) - start})
        handler.wfile.write(content[start:])

    return fault


def status(code: int, body: bytes = b"", **headers: object) -> Fault:
    def fault(handler: Handler, content: bytes) -> None:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.begin(code, {"Content-Length": len(body), **names})
        handler.wfile.write(body)

    return fault


def redirect(to: str, code: int = 303) -> Fault:
    return status(code, b"elsewhere", Location=to)


def page(content_type: str = "text/html; charset=utf-8") -> Fault:
    return status(200, b"<!DOCTYPE html><html><body>Please log in</body></html>", Content_Type=content_type)


def endless(handler: Handler, content: bytes) -> None:
    """Announce no length and never end."""
    handler.begin(200, {})
    while not handler.dataverse.over.is_set():
        handler.wfile.write(bytes(2**16))


def silent(handler: Handler, content: bytes) -> None:
    """Take the request and say nothing."""
    handler.dataverse.over.wait(30)


def chunked(cut: int | None = None) -> Fault:
    """Send in chunks, without a length; with `cut`, end after so many bytes without the last chunk."""

    def fault(handler: Handler, content: bytes) -> None:
        handler.begin(200, {"Transfer-Encoding": "chunked"})
        part = content[:cut]
        handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        if cut is None:
            handler.wfile.write(b"0\r\n\r\n")

    return fault


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # Without the look-up of this machine's name, which takes seconds where there is no network.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]


@contextmanager
def serve() -> Iterator[Dataverse]:
    """Serve on a free port of this machine until the block ends."""
    server = Server(("127.0.0.1", 0), Handler)
    dataverse = Dataverse(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Bound", (Handler,), {"dataverse": dataverse})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield dataverse
    finally:
        dataverse.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def picture(seed: int) -> bytes:
    """A small JPEG file."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, format="JPEG", quality=90)
    return stream.getvalue()


def zip_of(members: Sequence[tuple[str | zipfile.ZipInfo, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file with the members as given, repeated names included."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def table_of(images: Sequence[str], separator: str = ",", *, classes: Sequence[str] = ("nv", "mel")) -> bytes:
    """A metadata table with a lesion of its own for each image."""
    rows = [["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]]
    for number, image in enumerate(images):
        rows.append([f"HAM_{number:07d}", image, classes[number % len(classes)], "histo", "50.0", "male", "back"])
    return "".join(separator.join(row) + "\n" for row in rows).encode()


def isic(number: int) -> str:
    return f"ISIC_{number:07d}"
