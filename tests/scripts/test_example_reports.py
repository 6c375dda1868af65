"""The pictures of the README, and how they are made."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from reports.document import Document, Paragraph, Section
from reports.pdf import render_pdf

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 300_000


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import example_reports

    return example_reports


def test_the_readme_shows_every_picture_and_each_is_small(script: ModuleType) -> None:
    shown = re.findall(r"!\[[^\]]{30,}\]\((docs/images/[^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    made = {f"docs/images/{part.name}.png" for part in (*script.SCREENSHOTS, *script.PAGES)}
    assert set(shown) == made == {f"docs/images/{path.name}" for path in (ROOT / "docs" / "images").iterdir()}
    for name in shown:
        assert (ROOT / name).stat().st_size < MOST_BYTES, name
        with Image.open(ROOT / name) as picture:
            assert picture.format == "PNG"
            assert picture.width > 600


def test_a_picture_loses_colours_until_it_is_small(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "MOST_BYTES", 12_000)
    generator = np.random.default_rng(0)
    noise = Image.fromarray(generator.integers(0, 256, (120, 120, 3), dtype=np.uint8))
    path = script.shrunk(noise, tmp_path / "noise.png")
    assert path.stat().st_size <= 12_000
    with Image.open(path) as picture:
        assert picture.size == (120, 120)
        assert 2 < len(picture.getcolors() or ()) < 256
    with pytest.raises(SystemExit, match=r"large\.png: is larger than 12 kB"):
        script.shrunk(noise.resize((300, 300)), tmp_path / "large.png")


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="needs pdftoppm and pdftotext (poppler)")
def test_pages_are_found_by_their_words(script: ModuleType, tmp_path: Path) -> None:
    text = Paragraph(text="What stands on the first page. " + "More of the same kind. " * 400)
    document = Document(
        title="Example",
        subtitle="of two pages",
        banner=None,
        date=datetime(2025, 3, 1, tzinfo=UTC),
        sections=(
            Section(name="first", title="First", blocks=(text,)),
            Section(name="second", title="Second", blocks=(Paragraph(text="The very last words"),)),
        ),
    )
    path = tmp_path / "report.pdf"
    path.write_bytes(render_pdf(document))
    assert script.page_with(path, "What stands on the first page") == 1
    last = script.page_with(path, "The very last words")
    assert last > 1
    with pytest.raises(SystemExit, match="no page holds 'nothing of this'"):
        script.page_with(path, "nothing of this")
    sheet = script.side_by_side(path, [1, last], tmp_path, share=0.5)
    one = script.side_by_side(path, [1], tmp_path, share=0.5)
    assert sheet.height == one.height < one.width
    assert one.width < sheet.width < 2 * one.width
    assert np.asarray(sheet.convert("L")).min() < 100


@pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), reason="needs Chromium"
)
def test_a_screenshot_shows_the_beginning_of_a_page(script: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<body style='margin:0;background:#00ff00'><div style='height:50px;background:#ff0000'></div>")
    picture = script.screenshot(page, tmp_path / "shot.png", 300)
    assert picture.size == (script.WIDTH, 300)
    assert picture.getpixel((500, 20)) == (255, 0, 0)
    assert picture.getpixel((500, 200)) == (0, 255, 0)
