"""Opening URLs: http and https only, bounded in time, and every failure as one sentence for a person."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from cv_folds.errors import HamcvError, UsageError

# Harvard's firewall answers 403 to the names that HTTP libraries give themselves.
USER_AGENT = "hamcv"

_WORTH_ANOTHER_ATTEMPT = frozenset({408, 425, 429, 500, 502, 503, 504})

Result = TypeVar("Result")


class TransferError(HamcvError):
    """A server that cannot be reached, refuses, breaks off or sends something else than the data.

    Parameters
    ----------
    message : str
        For the person at the terminal.
    again : bool
        Whether another attempt may succeed.
    wait : float, optional
        Seconds that the server asks to wait for.
    status : int, optional
        The HTTP status, where it is what failed.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, again: bool = False, wait: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.again = again
        self.wait = wait
        self.status = status


def ignore(_: object) -> None:
    """Take a message or a number of bytes that nobody wants."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often to try, and how long to wait."""

    attempts: int = 5
    """Attempts in a row that bring nothing new, at least 1."""
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled each time."""
    longest_wait: float = 60.0
    """Bound of that, in seconds, and of what a server may ask for."""
    timeout: float = 60.0
    """Seconds without an answer."""
    slowest: float = 256.0
    """Bytes a second; a server slower than that over a whole `timeout` counts as one that broke off."""
    sleep: Callable[[float], object] = time.sleep
    """Waits for a number of seconds."""
    clock: Callable[[], float] = time.monotonic
    """Seconds that pass."""
    notice: Callable[[str], object] = ignore
    """Is told why there is another attempt."""

    def wait(self, failures: int, asked: float | None) -> float:
        """Return the seconds to wait after so many failures in a row, at least 1."""
        return min(max(self.first_wait * 2.0 ** (failures - 1), asked or 0.0), self.longest_wait)


def patiently(attempt: Callable[[], Result], patience: Patience, *, gained: Callable[[], bool] | None = None) -> Result:
    """Repeat an attempt until it succeeds, fails for good or has failed too often in a row.

    Parameters
    ----------
    attempt : callable
        Raises `TransferError`, with ``again`` where another attempt may succeed.
    patience : Patience
        How often, with what waits between.
    gained : callable, optional
        Asked after a failure: whether there is enough new for the count of failures to start again.

    Returns
    -------
    Result
        What the attempt returned.

    Raises
    ------
    TransferError
        That of the last attempt.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except TransferError as error:
            failures = 1 if gained is not None and gained() else failures + 1
            if not error.again:
                raise
            if failures >= patience.attempts:
                tried = f" ({failures} attempts)" if failures > 1 else ""
                raise TransferError(f"{error}{tried}", status=error.status) from error
            wait = patience.wait(failures, error.wait)
            patience.notice(f"{error}; next attempt in {wait:.0f} s")
            patience.sleep(wait)


def check_server(address: str) -> str:
    """Return the base address of a server without a slash at its end.

    Raises
    ------
    UsageError
        When it is no plain http or https address.
    """
    try:
        parts = urlsplit(address)
        plain = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        plain = False
    if not plain or parts.query or parts.fragment or parts.username is not None or not address.isprintable():
        raise UsageError(
            f"--server {address}: give the address of a Dataverse server like https://dataverse.harvard.edu"
        )
    return address.rstrip("/")


def open_url(url: str, *, timeout: float, headers: Mapping[str, str] | None = None) -> http.client.HTTPResponse:
    """Send a GET request, follow redirects, and return the answer once its headers are there.

    Parameters
    ----------
    url : str
        An http or https address.
    timeout : float
        Seconds without an answer.
    headers : mapping, optional
        Further request headers.

    Returns
    -------
    http.client.HTTPResponse
        With status 200 or 206; to be closed by the caller.

    Raises
    ------
    TransferError
        For every other answer, and for none.
    """
    request = urllib.request.Request(  # noqa: S310  (the opener below knows no other scheme)
        url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **(headers or {})}
    )
    try:
        response = _opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refusal(url, error) from error
    except urllib.error.URLError as error:
        certificate = isinstance(error.reason, ssl.SSLCertVerificationError)
        raise TransferError(
            f"{_short(url)}: cannot be reached ({_words(error.reason)})", again=not certificate
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        again = not isinstance(error, ValueError)
        raise TransferError(f"{_short(url)}: no proper answer ({_words(error)})", again=again) from error
    assert isinstance(response, http.client.HTTPResponse)
    if response.status not in (200, 206):
        # 202 with nothing in it is how a firewall asks a browser to prove that it is one.
        response.close()
        raise TransferError(f"{_short(url)}: answered {response.status} instead of data", status=response.status)
    return response


def is_html(response: http.client.HTTPResponse) -> bool:
    """Whether the answer says of itself that it is a web page."""
    return response.headers.get_content_type() in ("text/html", "application/xhtml+xml")


def read_bounded(response: http.client.HTTPResponse, url: str, limit: int) -> bytes:
    """Return the whole body.

    Raises
    ------
    TransferError
        When it is longer than `limit` bytes, or broken off.
    """
    try:
        content = response.read(limit + 1)
    except (OSError, http.client.HTTPException) as error:
        raise TransferError(f"{_short(url)}: broke off ({_words(error)})", again=True) from error
    if len(content) > limit:
        raise TransferError(f"{_short(url)}: sends more than the {limit} bytes that are reasonable here")
    # With a length given, `read` returns what came when the connection ends early.
    if response.length:
        raise TransferError(f"{_short(url)}: broke off {response.length} bytes before the end", again=True)
    return content


class _Redirects(urllib.request.HTTPRedirectHandler):
    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> Any:
        # urllib would read the body of the redirect to its end, however long it is, and not close it on an error.
        fp.close()
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise TransferError(f"{_short(req.full_url)}: redirects to something that is no web address")
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme == "http":
            raise TransferError(f"{_short(req.full_url)}: redirects from https to http, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Make an opener that knows http and https, and neither files nor FTP; proxies are those of the environment."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _refusal(url: str, error: urllib.error.HTTPError) -> TransferError:
    if 300 <= error.code < 400:
        return TransferError(
            f"{_short(url)}: redirects in a circle, or to where hamcv does not follow", status=error.code
        )
    reason = http.client.responses.get(error.code, "unknown status")
    asked = error.headers.get("Retry-After", "")
    return TransferError(
        f"{_short(url)}: answered {error.code} ({reason})",
        again=error.code in _WORTH_ANOTHER_ATTEMPT,
        wait=float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else None,
        status=error.code,
    )


def _short(url: str) -> str:
    return url.partition("?")[0] if "persistentId" not in url else url


def _words(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
