"""The colours of models: each stands out from the paper, as WCAG 2.2 asks of pictures (3 to 1), and from the others.

That holds for the white page, the dark page and print, and for eyes that lack one of the three kinds of cones.
"""

from __future__ import annotations

import re
from importlib import resources
from itertools import combinations

import numpy as np
import pytest

from reports.figures.style import BACKBONE_COLOURS, ENSEMBLE_COLOURS
from reports.html import RECOLOURED

COLOURS = (*ENSEMBLE_COLOURS, *BACKBONE_COLOURS)


def variables(place: int) -> dict[str, str]:
    """Return the colours that the sheet sets for light (0), dark (1) and printed pages (2)."""
    sheet = resources.files("reports").joinpath("templates", "report.css").read_text(encoding="utf-8")
    return dict(re.findall(r"(--[a-z-]+): (#[0-9a-f]{6});", re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[place]))


def linear(colour: str) -> np.ndarray:
    """Return red, green and blue as amounts of light."""
    parts = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lightness(colour: str) -> float:
    return float(linear(colour) @ (0.2126, 0.7152, 0.0722))


def contrast(one: str, other: str) -> float:
    high, low = sorted((lightness(one), lightness(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def shown(colour: str, place: int) -> str:
    found = RECOLOURED.get(colour, colour)
    return variables(place)[found[4:-1]] if found.startswith("var(") else found


# Machado, Oliveira and Fernandes, IEEE Trans Vis Comput Graph 2009;15:1291-1298, at full severity, on linear light.
EYES = {
    "all cones": np.eye(3),
    "no long cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no middle cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no short cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def seen(colour: str, eyes: np.ndarray) -> np.ndarray:
    """Return a colour as such eyes see it, in Oklab (Ottosson 2020), where distances are those that people see."""
    cones = np.clip(eyes @ linear(colour), 0, 1) @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("colour", COLOURS)
def test_every_model_shows_on_the_paper(colour: str, place: int) -> None:
    assert contrast(shown(colour, place), variables(place)["--paper"]) >= 3


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("eyes", EYES)
def test_every_eye_tells_the_models_apart(eyes: str, place: int) -> None:
    found = {colour: seen(shown(colour, place), EYES[eyes]) for colour in COLOURS}
    # A distance of 0.02 is about the least that anybody sees when two patches touch.
    least = 0.11 if eyes == "all cones" else 0.06
    for one, other in combinations(COLOURS, 2):
        assert np.linalg.norm(found[one] - found[other]) >= least, (one, other)


@pytest.mark.parametrize("place", [0, 2])
def test_on_white_paper_the_colours_are_those_of_the_pictures(place: int) -> None:
    assert [shown(colour, place) for colour in COLOURS] == list(COLOURS)
    assert variables(place)["--paper"] == "#ffffff"


def test_no_two_models_get_the_same_colour_on_the_dark_page() -> None:
    assert len({shown(colour, 1) for colour in COLOURS}) == len(COLOURS)
