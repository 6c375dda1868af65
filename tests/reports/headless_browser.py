"""A headless Chromium without a network, for tests that look at a page as a reader's browser does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SERIOUS = ("serious", "critical")


@dataclass
class Opened:
    """A page that was opened, and what it did."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def running_browser() -> Iterator[Any]:
    """Start a browser, or skip the test with the reason why there is none."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install 'hamcv[test]')")
    with api.sync_playwright() as playwright:
        # A container's root user has no sandbox; the page is ours and has no network.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, path: Path, **options: Any) -> Iterator[Opened]:
    """Open a file and note every request, console message and error; options as of playwright's contexts."""
    context = browser.new_context(offline=True, permissions=["clipboard-read", "clipboard-write"], **options)
    page = context.new_page()
    # A report has megabytes of figures, and a test machine may have other work.
    page.set_default_timeout(180_000)
    found = Opened(page)
    context.on("request", lambda request: found.requests.append(request.url))
    page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (found.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.goto(path.as_uri())
    yield found
    context.close()


def violations(page: Any, *rules: str) -> list[str]:
    """Return what axe finds serious or worse: all its rules, or only those that are named."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    found = axe.run(page, options=options).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]
