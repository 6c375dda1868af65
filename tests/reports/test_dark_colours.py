"""The colours of models on the dark page: each stands out from the paper, as WCAG 2.2 asks of pictures (3 to 1)."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from reports.figures.style import BACKBONE_COLOURS, ENSEMBLE_COLOURS
from reports.html import RECOLOURED

COLOURS = (*ENSEMBLE_COLOURS, *BACKBONE_COLOURS)


def variables(place: int) -> dict[str, str]:
    """Return the colours that the sheet sets for light (0), dark (1) and printed pages (2)."""
    sheet = resources.files("reports").joinpath("templates", "report.css").read_text(encoding="utf-8")
    return dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6});", re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[place]))


def lightness(colour: str) -> float:
    parts = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((lightness(one), lightness(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def shown(colour: str, place: int) -> str:
    found = RECOLOURED.get(colour, colour)
    return variables(place)[found[4:-1]] if found.startswith("var(") else found


@pytest.mark.parametrize("colour", COLOURS)
def test_every_model_shows_on_dark_paper(colour: str) -> None:
    assert contrast(shown(colour, 1), variables(1)["--paper"]) >= 3


@pytest.mark.parametrize("place", [0, 2])
def test_on_white_paper_the_colours_are_those_of_the_pictures(place: int) -> None:
    assert [shown(colour, place) for colour in COLOURS] == list(COLOURS)
    assert variables(place)["--paper"] == "#ffffff"


def test_no_two_models_get_the_same_colour_on_the_dark_page() -> None:
    assert len({shown(colour, 1) for colour in COLOURS}) == len(COLOURS)
