"""The HTML report in a browser: silent, offline, usable with keyboard, phone and screen reader, dark and on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headless_browser import Opened, opened, running_browser, violations

from reports.content import build_document
from reports.document import Cell, Column, Document, Figure, Table
from reports.evaluation import evaluate
from reports.html import render_html
from reports.run_folder import read_run_folder
from reports.settings import ReportSettings
from reports.table_csv import table_csv

PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
HOSTILE = (
    "<script>alert(1)</script>",
    "</svg><img src=x onerror=alert(2)>",
    "=1+2,\"' onload='alert(3)",
    "</style></title><b>&amp;",
)

# The contrast of every letter in the pictures, which axe does not look at, with the paper behind it. Two colours are
# kept for letters on coloured cells, which look the same on every page.
FAINT_LETTERS = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((part) => part / 255).map(
      (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll("svg text")]
    .filter((text) => !["rgb(27, 31, 37)", "rgb(255, 255, 255)"].includes(getComputedStyle(text).fill))
    .map((text) => {
      const [high, low] = [light(getComputedStyle(text).fill), paper].sort((a, b) => b - a);
      return [text.closest("figure").id, text.textContent, (high + 0.05) / (low + 0.05)];
    })
    .filter(([, , ratio]) => ratio < 4.5);
}"""


@pytest.fixture(scope="module")
def document(make_run: Callable[..., Any]) -> Document:
    made = make_run(
        backbones=("resnet18", "resnet50"),
        n_folds=2,
        n_epochs=2,
        demo=True,
        weights="none",
        undefined=("df", "precision"),
    )
    settings = ReportSettings(resamples=100)
    scores = evaluate(made.predictions, demo=True, settings=settings, generator=np.random.default_rng(0))
    # What was declared undefined by hand stays as it is.
    scores = replace(scores, models=made.evaluation.models)
    return build_document(read_run_folder(made.path, scores.classes), scores, made.predictions)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with running_browser() as found:
        yield found


@pytest.fixture(scope="module")
def report(document: Document, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_html(document), encoding="utf-8")
    return path


@pytest.fixture
def seen(browser: Any, report: Path) -> Iterator[Opened]:
    with opened(browser, report) as found:
        yield found


def unfold(page: Any) -> None:
    page.evaluate("() => document.querySelectorAll('details').forEach((part) => { part.open = true; })")


def column(page: Any, table: str, place: int) -> list[str]:
    return page.evaluate(
        "([table, place]) => [...document.querySelectorAll(`#${table} tbody tr`)].map("
        "(row) => row.cells[place].dataset.key)",
        [table, place],
    )


def direction(page: Any, table: str, place: int) -> str | None:
    return page.locator(f"#{table} thead th").nth(place).get_attribute("aria-sort")


def test_a_page_is_silent_and_loads_nothing(seen: Opened, report: Path) -> None:
    unfold(seen.page)
    seen.page.locator("#leaderboard thead button").first.click()
    seen.page.wait_for_timeout(100)
    assert seen.requests == [report.as_uri()]
    assert seen.complaints == []


def test_the_policy_stops_what_would_load_or_run(seen: Opened) -> None:
    # Were a name ever to become markup, the browser would still refuse to fetch or to run it.
    seen.page.evaluate(
        """() => {
          const image = document.createElement("img");
          image.src = "http://127.0.0.1:9/picture.png";
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          const link = document.createElement("button");
          link.setAttribute("onclick", "window.ran = true");
          document.body.append(image, script, link);
          link.click();
        }"""
    )
    seen.page.wait_for_timeout(100)
    assert seen.page.evaluate("() => window.ran") is None
    assert all("Content Security Policy" in words for words in seen.complaints)
    assert len(seen.complaints) == 3


def test_tables_sort_by_click_and_by_key(seen: Opened) -> None:
    page = seen.page
    before = column(page, "leaderboard", 1)
    heading = page.locator("#leaderboard thead th").nth(1).locator("button")
    heading.click()
    assert column(page, "leaderboard", 1) == sorted(before, key=float)
    assert direction(page, "leaderboard", 1) == "ascending"
    heading.focus()
    page.keyboard.press("Enter")
    assert column(page, "leaderboard", 1) == sorted(before, key=float, reverse=True)
    assert direction(page, "leaderboard", 1) == "descending"
    page.locator("#leaderboard thead th").nth(0).locator("button").focus()
    page.keyboard.press("Space")
    assert column(page, "leaderboard", 0) == sorted(column(page, "leaderboard", 0))
    assert [direction(page, "leaderboard", place) for place in (0, 1)] == ["ascending", None]
    assert page.locator("#announcement").text_content() == "Sorted by Model, rising"


def test_rows_without_a_number_stay_last(seen: Opened, document: Document) -> None:
    unfold(seen.page)
    table = next(table for table in document.tables() if table.name == "classes-stack")
    place = next(place for place, head in enumerate(table.columns) if head.label == "Precision")
    for _ in range(2):
        seen.page.locator("#classes-stack thead th").nth(place).locator("button").click()
        assert column(seen.page, "classes-stack", place)[-1] == "n/a"


def test_a_table_is_copied_as_the_csv_file_has_it(seen: Opened, document: Document) -> None:
    unfold(seen.page)
    for name in ("leaderboard", "classes-stack", "settings", "merged-pairs", "operating-points-image"):
        table = next(table for table in document.tables() if table.name == name)
        button = seen.page.locator(f"#{name} .copy")
        button.focus()
        seen.page.keyboard.press("Enter")
        seen.page.locator(f"#{name} .copy", has_text="Copied").wait_for()
        assert seen.page.evaluate("() => navigator.clipboard.readText()") == table_csv(table)


def test_every_entry_of_the_contents_reaches_its_section(seen: Opened, document: Document) -> None:
    links = seen.page.locator("nav a")
    assert links.all_inner_texts() == [section.title for section in document.sections]
    for place, section in enumerate(document.sections):
        links.nth(place).click()
        heading = seen.page.locator(f"#heading-{section.name}")
        assert seen.page.url.endswith(f"#section-{section.name}")
        assert heading.inner_text() == section.title
        top = heading.bounding_box()["y"]
        banner = seen.page.locator(".banner").bounding_box()
        at_the_end = seen.page.evaluate("() => scrollY + innerHeight >= document.documentElement.scrollHeight - 2")
        # The banner stays in view, and must not cover the heading. The last sections cannot be scrolled to the top.
        assert banner["y"] + banner["height"] <= top < (720 if at_the_end else 200)


def test_the_keyboard_reaches_links_and_foldings_and_can_skip(seen: Opened) -> None:
    page = seen.page
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"
    folded = page.locator("details").first
    folded.locator("summary").focus()
    page.keyboard.press("Enter")
    assert folded.get_attribute("open") is not None


@pytest.mark.parametrize("options", [{}, PHONE | {"color_scheme": "dark"}], ids=["desk", "phone at night"])
def test_axe_finds_nothing_serious(browser: Any, report: Path, options: dict[str, Any]) -> None:
    with opened(browser, report, **options) as seen:
        unfold(seen.page)
        assert violations(seen.page) == []


def test_letters_stand_out_from_the_paper(seen: Opened) -> None:
    unfold(seen.page)
    for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "light"), ("print", "dark")):
        seen.page.emulate_media(media=media, color_scheme=scheme)
        paper = seen.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") == ((media, scheme) != ("screen", "dark"))
        assert seen.page.evaluate(FAINT_LETTERS) == [], (media, scheme)
    assert violations(seen.page, "color-contrast") == []


def test_paper_shows_what_is_folded_and_not_what_is_for_the_hand(seen: Opened) -> None:
    seen.page.emulate_media(media="print")
    seen.page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert seen.page.locator("details:not([open])").count() == 0
    for selector in ("nav", ".skip", ".copy"):
        assert not any(part.is_visible() for part in seen.page.locator(selector).all())


def test_every_control_and_picture_has_a_name(seen: Opened) -> None:
    unfold(seen.page)
    names = seen.page.evaluate(
        "() => [...document.querySelectorAll('button, a, summary, svg, [role=region], table')].map((part) => "
        "[part.tagName, (part.getAttribute('aria-label') ?? part.caption?.textContent ?? "
        "(part.hasAttribute('aria-labelledby') "
        "? document.getElementById(part.getAttribute('aria-labelledby')).textContent : part.textContent)).trim()])"
    )
    assert len(names) > 50
    assert [tag for tag, words in names if not words] == []


def test_a_phone_never_scrolls_sideways(browser: Any, report: Path) -> None:
    with opened(browser, report, **PHONE) as seen:
        unfold(seen.page)
        wide = seen.page.evaluate(
            "() => [...document.querySelectorAll('body *')].filter((part) => !part.closest('.scroll') && "
            "!part.matches('.skip') && part.getBoundingClientRect().right > 391)"
            ".map((part) => part.outerHTML.slice(0, 90))"
        )
        assert wide == []
        assert seen.page.evaluate("() => document.documentElement.scrollWidth") == 390


def test_metadata_stays_text(browser: Any, document: Document, tmp_path: Path, make_run: Callable[..., Any]) -> None:
    made = make_run(classes=HOSTILE, backbones=("resnet18",), n_folds=2, n_epochs=1, data_name=HOSTILE[0])
    folder = read_run_folder(made.path, made.evaluation.classes)
    (pair,) = folder.audit.merged_pairs
    pairs = tuple(pair.model_copy(update={"image_a": name, "lesion_b": name}) for name in HOSTILE)
    folder = replace(folder, audit=folder.audit.model_copy(update={"merged_pairs": pairs}))
    whole = build_document(folder, made.evaluation, made.predictions)
    tables = tuple(
        Table(
            name=f"site-{place}",
            caption=name,
            columns=(Column(label=name, numeric=False, explain=name),),
            rows=((Cell(text=name, detail=name, note=name),),) * 2,
        )
        for place, name in enumerate(HOSTILE)
    )
    figures = tuple(
        Figure(name=f"picture-{place}", caption=name, alt=name, svg=document.figures()[0].svg)
        for place, name in enumerate(HOSTILE)
    )
    first, *others = whole.sections
    changed = replace(
        whole, banner=HOSTILE[1], sections=(replace(first, blocks=(*first.blocks, *tables, *figures)), *others)
    )
    (tmp_path / "page.html").write_text(render_html(changed), encoding="utf-8")
    with opened(browser, tmp_path / "page.html") as seen:
        page = seen.page
        unfold(page)
        for place in range(len(HOSTILE)):
            page.locator(f"#site-{place} thead button").click()
            page.locator(f"#site-{place} .copy").click()
            page.locator(f"#site-{place} .copy", has_text="Copied").wait_for()
            assert page.evaluate("() => navigator.clipboard.readText()") == table_csv(tables[place])
        assert seen.complaints == []
        assert len(seen.requests) == 1
        assert page.locator("img, body script ~ script, body style, body b").count() == 0
        assert page.locator("#merged-pairs tbody th").all_inner_texts() == list(HOSTILE)
        assert page.locator("#class-counts tbody th").all_inner_texts()[:-1] == list(HOSTILE)
        assert page.locator("[id^=site] thead button").all_inner_texts() == list(HOSTILE)
        assert page.evaluate(
            "() => [...document.querySelectorAll('[id^=picture] svg')].map((svg) => svg.getAttribute('aria-label'))"
        ) == list(HOSTILE)
        assert page.locator(".banner").inner_text() == HOSTILE[1]
        assert HOSTILE[0] in page.title()
