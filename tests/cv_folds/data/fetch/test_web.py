from __future__ import annotations

import io
import socket
import urllib.request
from dataclasses import replace
from http.client import HTTPMessage

import pytest
from dataverse_server import Dataverse, endless, redirect, silent, status

from cv_folds.data.fetch.web import (
    Patience,
    TransferError,
    _Redirects,
    check_server,
    open_url,
    patiently,
    read_bounded,
)
from cv_folds.errors import UsageError


def complaint(url: str, timeout: float = 20.0) -> TransferError:
    with pytest.raises(TransferError) as caught:
        open_url(url, timeout=timeout).close()
    assert caught.value.exit_code == 1
    return caught.value


def test_the_answer_is_read_and_the_server_learns_who_asks(dataverse: Dataverse) -> None:
    path = dataverse.add("a.bin", b"content")
    with open_url(dataverse.url + path, timeout=20) as response:
        assert read_bounded(response, "here", 7) == b"content"
    # Names of HTTP libraries are refused by Harvard's firewall.
    assert dataverse.seen[0].agent == "hamcv"


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 501])
def test_a_refusal_is_final_and_named(dataverse: Dataverse, code: int) -> None:
    dataverse.faults["/x"] = status(code, b"<html>no</html>")
    error = complaint(f"{dataverse.url}/x")
    assert (error.status, error.again) == (code, False)
    assert f"answered {code} (" in str(error)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_failure_of_the_server_is_worth_another_attempt(dataverse: Dataverse, code: int) -> None:
    dataverse.faults["/x"] = status(code, Retry_After="17")
    error = complaint(f"{dataverse.url}/x")
    assert (error.status, error.again, error.wait) == (code, True, 17.0)


@pytest.mark.parametrize("asked", ["Fri, 31 Dec 2027 23:59:59 GMT", "-5", "9" * 300, "²"])
def test_a_wait_that_is_no_number_of_seconds_is_passed_over(dataverse: Dataverse, asked: str) -> None:
    dataverse.faults["/x"] = status(503, Retry_After=asked.encode("latin-1", "replace").decode("latin-1"))
    assert complaint(f"{dataverse.url}/x").wait is None


def test_an_empty_answer_for_a_browser_to_solve_is_a_refusal(dataverse: Dataverse) -> None:
    dataverse.faults["/x"] = status(202, x_amzn_waf_action="challenge")
    assert "answered 202 instead of data" in str(complaint(f"{dataverse.url}/x"))


def test_redirects_are_followed_with_the_range(dataverse: Dataverse) -> None:
    path = dataverse.add("a.bin", b"content")
    dataverse.faults["/x"] = redirect(f"{path}?signed=yes")
    with open_url(f"{dataverse.url}/x", timeout=20, headers={"Range": "bytes=3-"}) as response:
        assert response.status == 206
        assert read_bounded(response, "here", 100) == b"tent"


def test_redirects_in_a_circle_end(dataverse: Dataverse) -> None:
    dataverse.faults |= {"/x": redirect("/y", 302), "/y": redirect("/x", 302)}
    error = complaint(f"{dataverse.url}/x")
    assert "redirects in a circle" in str(error)
    assert not error.again
    assert len(dataverse.seen) < 15


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x", "http://[", "gopher://x"]
)
def test_redirects_lead_to_web_addresses_only(dataverse: Dataverse, to: str) -> None:
    dataverse.faults["/x"] = redirect(to)
    assert not complaint(f"{dataverse.url}/x").again


def test_redirects_do_not_lead_from_https_to_http() -> None:
    request = urllib.request.Request("https://127.0.0.1/x")
    with pytest.raises(TransferError, match="from https to http"):
        _Redirects().redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), "http://127.0.0.1/x")
    followed = _Redirects().redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), "https://127.0.0.1/y")
    assert followed is not None
    assert followed.full_url == "https://127.0.0.1/y"


def test_the_body_of_a_redirect_is_not_read(dataverse: Dataverse) -> None:
    path = dataverse.add("a.bin", b"content")

    def long_redirect(handler, content):
        handler.begin(302, {"Location": path})
        while not dataverse.over.is_set():
            handler.wfile.write(bytes(2**16))

    dataverse.faults["/x"] = long_redirect
    with open_url(f"{dataverse.url}/x", timeout=20) as response:
        assert read_bounded(response, "here", 7) == b"content"


def test_a_longer_answer_than_reasonable_is_not_read_to_its_end(dataverse: Dataverse) -> None:
    dataverse.faults["/x"] = endless
    with (
        open_url(f"{dataverse.url}/x", timeout=20) as response,
        pytest.raises(TransferError, match="more than the 1000"),
    ):
        read_bounded(response, "here", 1000)


def test_a_server_that_says_nothing_is_given_up(dataverse: Dataverse) -> None:
    dataverse.faults["/x"] = silent
    error = complaint(f"{dataverse.url}/x", timeout=0.2)
    assert "no answer in time" in str(error)
    assert error.again


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = complaint(f"http://127.0.0.1:{taken.getsockname()[1]}/x")
    assert "cannot be reached (Connection refused)" in str(error)
    assert error.again


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_other_schemes_are_unknown(url: str) -> None:
    complaint(url)


@pytest.mark.parametrize(
    "address",
    ["", "dataverse.org", "ftp://x", "file:///x", "http://", "http://u:p@x", "http://x?y=1", "http://x#y",
     "http://x:99999", "http://x:0", "http://[x", "http://x/\n"],
)  # fmt: skip
def test_only_plain_web_addresses_are_servers(address: str) -> None:
    with pytest.raises(UsageError, match="--server"):
        check_server(address)


def test_the_slash_at_the_end_of_an_address_goes() -> None:
    assert check_server("https://example.org/dvn/") == "https://example.org/dvn"


def test_attempts_are_counted_and_the_waits_grow(patience: Patience, waits: list[float]) -> None:
    told: list[str] = []
    tries = 0

    def attempt() -> None:
        nonlocal tries
        tries += 1
        raise TransferError("no", again=True)

    with pytest.raises(TransferError, match=r"no \(6 attempts\)"):
        patiently(attempt, replace(patience, attempts=6, longest_wait=5, notice=told.append))
    assert tries == 6
    assert waits == [1, 2, 4, 5, 5]
    assert told[0] == "no; next attempt in 1 s"


def test_a_final_failure_is_not_repeated(patience: Patience, waits: list[float]) -> None:
    def attempt() -> None:
        raise TransferError("never", again=False)

    with pytest.raises(TransferError, match=r"^never$"):
        patiently(attempt, patience)
    assert waits == []


@pytest.mark.parametrize(("asked", "waited"), [(None, 1.0), (0.0, 1.0), (30.0, 30.0), (5000.0, 60.0)])
def test_a_wait_that_the_server_asks_for_is_kept_within_bounds(
    patience: Patience, waits: list[float], asked: float | None, waited: float
) -> None:
    def attempt() -> None:
        raise TransferError("busy", again=True, wait=asked)

    with pytest.raises(TransferError):
        patiently(attempt, replace(patience, attempts=2))
    assert waits == [waited]


def test_whoever_gains_something_keeps_the_attempts(patience: Patience, waits: list[float]) -> None:
    gains = iter([True, True, True, True, False, False])

    def attempt() -> None:
        raise TransferError("broke off", again=True)

    with pytest.raises(TransferError, match="3 attempts"):
        patiently(attempt, patience, gained=lambda: next(gains))
    assert waits == [1.0, 1.0, 1.0, 1.0, 2.0]
