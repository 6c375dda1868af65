from __future__ import annotations

from collections.abc import Iterator

import pytest
from dataverse_server import Dataverse, serve

from cv_folds.data.fetch.web import Patience


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the tests is reached directly, whatever the environment says."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def dataverse() -> Iterator[Dataverse]:
    with serve() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    """The seconds that would have been waited."""
    return []


@pytest.fixture
def patience(waits: list[float]) -> Patience:
    return Patience(attempts=3, timeout=20.0, sleep=waits.append)
