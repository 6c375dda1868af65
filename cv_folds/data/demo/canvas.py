"""Drawing primitives on the square canvas that a lesion is rendered on."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 304
"""Canvas width and height in pixels: room for any turn of a 200x150 photograph."""

Field: TypeAlias = NDArray[np.float32]
"""(SIDE, SIDE) float32, one value a canvas pixel."""

_AXIS = np.arange(SIDE, dtype=np.float32) - np.float32((SIDE - 1) / 2)
X: Field = np.broadcast_to(_AXIS[None, :], (SIDE, SIDE))
Y: Field = np.broadcast_to(_AXIS[:, None], (SIDE, SIDE))


def smooth_noise(generator: np.random.Generator, cell: float) -> Field:
    """Return noise of mean 0 and standard deviation 1 (about) whose blotches are `cell` pixels wide."""
    knots = int(np.ceil(SIDE / cell)) + 3
    # Cubic interpolation between independent knots lowers the standard deviation to about 0.77.
    return _stretch(generator.standard_normal((knots, knots), dtype=np.float32), SIDE, SIDE / cell) * np.float32(1.3)


def rough_noise(generator: np.random.Generator, cell: float) -> Field:
    """Return noise like `smooth_noise` with two finer octaves, each half as strong, on top."""
    fine = int(np.ceil(4 * SIDE / cell)) + 3
    grid = np.float32(0.25) * generator.standard_normal((fine, fine), dtype=np.float32)
    for finer, weight in ((2, 0.5), (4, 1.0)):
        knots = fine // finer + 3
        layer = generator.standard_normal((knots, knots), dtype=np.float32)
        # Summed on the finest knots, since stretching a layer to the whole canvas is what takes the time.
        grid += np.float32(weight) * _stretch(layer, fine, fine / finer)
    return _stretch(grid, SIDE, 4 * SIDE / cell) * np.float32(1.08)


def _stretch(grid: NDArray[np.float32], side: int, cells: float) -> NDArray[np.float32]:
    box = (1.0, 1.0, 1.0 + cells, 1.0 + cells)
    return np.asarray(Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC, box=box))


def ramp(values: Field, low: float, high: float) -> Field:
    """Rise smoothly from 0 at `low` to 1 at `high` (falling when `low` is the larger)."""
    part: Field = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return part * part * (3 - 2 * part)


def honeycomb(generator: np.random.Generator, spacing: float, wander: float) -> Field:
    """Return a net of lines (1 on a line, 0 in a hole) in a bent hexagonal lattice.

    Parameters
    ----------
    spacing : float
        Distance between holes in pixels.
    wander : float
        How far the lattice is bent, in pixels.
    """
    turn = generator.uniform(0, np.pi)
    x = X + np.float32(wander) * rough_noise(generator, 4 * spacing)
    y = Y + np.float32(wander) * rough_noise(generator, 4 * spacing)
    pitch = 4 * np.pi / (np.sqrt(3) * spacing)
    waves = np.zeros((SIDE, SIDE), dtype=np.float32)
    for angle in (turn, turn + np.pi / 3, turn + 2 * np.pi / 3):
        waves += np.cos(np.float32(pitch * np.cos(angle)) * x + np.float32(pitch * np.sin(angle)) * y)
    return ramp(waves, 0.4, -1.3)


def spots(
    generator: np.random.Generator, count: int, radii: tuple[float, float], within: Field, edge: float = 0.35
) -> Field:
    """Return round spots (1 inside, 0 outside) at random places, likelier where `within` is high.

    Parameters
    ----------
    count : int
        How many.
    radii : (float, float)
        Smallest and largest radius in pixels.
    edge : float
        Width of a spot's border as a share of its radius.
    """
    field = np.zeros((SIDE, SIDE), dtype=np.float32)
    if count < 1:
        return field
    weights = np.cumsum(within[::4, ::4].ravel(), dtype=np.float64)
    places = np.searchsorted(weights, generator.random(count) * weights[-1])
    jitter = generator.uniform(0, 4, size=(count, 2))
    for place, (dy, dx), radius, flat in zip(
        places.tolist(),
        jitter.tolist(),
        generator.uniform(*radii, size=count).tolist(),
        generator.uniform(0.75, 1.3, size=count).tolist(),
        strict=True,
    ):
        row, column = divmod(place, SIDE // 4)
        centre_y, centre_x = 4 * row + dy, 4 * column + dx
        reach = int(1.4 * radius) + 2
        top, left = max(0, int(centre_y) - reach), max(0, int(centre_x) - reach)
        rows = np.arange(top, min(SIDE, int(centre_y) + reach + 1), dtype=np.float32)[:, None]
        columns = np.arange(left, min(SIDE, int(centre_x) + reach + 1), dtype=np.float32)[None, :]
        distance = np.hypot((rows - centre_y) * flat, (columns - centre_x) / flat).astype(np.float32)
        part = field[top : top + rows.size, left : left + columns.size]
        np.maximum(part, ramp(distance, radius * (1 + edge), radius * (1 - edge)), out=part)
    return field


class Pen:
    """Draws anti-aliased lines, at three times the canvas's resolution."""

    _FINER = 3

    def __init__(self) -> None:
        self._image = Image.new("L", (self._FINER * SIDE, self._FINER * SIDE))
        self._draw = ImageDraw.Draw(self._image)

    def line(self, points: NDArray[np.float64], width: float) -> None:
        """Draw a line through `points` ((n, 2) x and y in canvas pixels), `width` pixels wide."""
        path = [(x, y) for x, y in (self._FINER * points).tolist()]
        self._draw.line(path, fill=255, width=max(1, round(self._FINER * width)), joint="curve")

    def field(self) -> Field:
        """Return what was drawn: 1 on a line, 0 off it."""
        return np.asarray(self._image.reduce(self._FINER), dtype=np.float32) / np.float32(255)


def wandering_path(
    generator: np.random.Generator, start: tuple[float, float], heading: float, length: float, bend: float
) -> NDArray[np.float64]:
    """Return (n, 2) points 3 pixels apart, turning by about `bend` radians a step, the turns themselves smooth."""
    steps = max(3, int(length / 3))
    turns = np.convolve(generator.normal(0, bend, size=steps + 4), np.full(5, 0.45), mode="valid")
    headings = heading + np.cumsum(turns)
    points = np.tile(np.array(start), (len(headings) + 1, 1))
    points[1:] += np.cumsum(3 * np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)
    return points
