"""Rendering one lesion with the skin around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import ByteArray
from cv_folds.data.demo.canvas import (
    SIDE,
    Field,
    Pen,
    X,
    Y,
    honeycomb,
    ramp,
    rough_noise,
    smooth_noise,
    spots,
    wandering_path,
)
from cv_folds.data.demo.traits import Traits

Colour = tuple[float, float, float]

# Optical densities of one unit of pigment in red, green and blue light: melanin takes more the shorter the wave,
# haemoglobin takes mostly green and blue.
MELANIN: Colour = (0.55, 0.95, 1.25)
BLOOD: Colour = (0.18, 1.00, 0.80)

BLUE_GREY: Colour = (0.40, 0.43, 0.55)
PURPLE: Colour = (0.42, 0.13, 0.25)
WHITE: Colour = (0.93, 0.84, 0.82)
YELLOW: Colour = (0.80, 0.63, 0.40)
SCALE: Colour = (0.93, 0.86, 0.76)
HAIR: Colour = (0.13, 0.09, 0.08)


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Where the lesion is."""

    inside: Field
    """1 inside, 0 outside, soft between."""
    depth: Field
    """1 in the middle, 0 on the border, negative outside."""
    angle: Field
    """Direction from the middle, in radians."""


def render_lesion(generator: np.random.Generator, traits: Traits) -> ByteArray:
    """Draw a lesion, its skin and the hairs on it.

    Returns
    -------
    ByteArray
        (SIDE, SIDE, 3) uint8 RGB, the lesion about the middle.
    """
    outline = _outline(generator, traits)
    melanin, blood = _pigments(generator, traits, outline)
    picture = _skin(generator)
    for channel in range(3):
        picture[channel] *= np.exp(-np.float32(MELANIN[channel]) * melanin - np.float32(BLOOD[channel]) * blood)
    _blend_deep_colours(generator, traits, outline, picture)
    _blend_surface(generator, traits, outline, picture)
    _blend_hairs(generator, picture)
    return np.ascontiguousarray(np.clip(picture * 255, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def _outline(generator: np.random.Generator, traits: Traits) -> Outline:
    turn, flat = generator.uniform(0, np.pi), generator.uniform(1.0, 1.28)
    x = (X * np.float32(np.cos(turn)) + Y * np.float32(np.sin(turn))) * np.float32(flat)
    y = (Y * np.float32(np.cos(turn)) - X * np.float32(np.sin(turn))) / np.float32(flat)
    angle = np.arctan2(y, x)
    edge = np.full((SIDE, SIDE), traits.radius, dtype=np.float32)
    for order in (2, 3, 4, 5):
        size = traits.irregularity * traits.radius * generator.normal(0, 0.24) / order**0.5
        edge += np.float32(size) * np.cos(order * angle + np.float32(generator.uniform(0, 2 * np.pi)))
    edge += np.float32(0.10 * traits.radius * (0.25 + traits.irregularity)) * rough_noise(generator, 26)
    depth: Field = (1 - np.hypot(x, y) / np.maximum(edge, 8)).astype(np.float32, copy=False)
    width = 0.05 + 0.28 * traits.softness
    return Outline(inside=ramp(depth, -width, width), depth=depth, angle=angle)


def _pigments(generator: np.random.Generator, traits: Traits, outline: Outline) -> tuple[Field, Field]:
    uneven = np.float32(0.36 * traits.patchiness) * rough_noise(generator, 34)
    side = generator.uniform(0, 2 * np.pi)
    lean = (X * np.float32(np.cos(side)) + Y * np.float32(np.sin(side))) / np.float32(traits.radius)
    uneven += np.float32(0.42 * traits.asymmetry) * lean
    uneven += np.float32(generator.uniform(-0.15, 0.3)) * outline.depth
    amount = outline.inside * np.clip(1 + uneven, 0.12, 2.2)
    melanin = np.float32(traits.melanin) * amount

    lines = honeycomb(generator, generator.uniform(7.0, 10.0), generator.uniform(3.5, 6.0))
    fading = outline.inside * ramp(outline.depth, 0.95, 0.15) * ramp(rough_noise(generator, 30), -1.6, 0.6)
    melanin += np.float32(0.75 * traits.network * (0.25 + 0.75 * min(traits.melanin, 1))) * fading * (lines - 0.35)
    clods = spots(generator, int(70 * traits.globules), (1.6, 3.6), outline.inside)
    melanin += np.float32(0.55) * clods * outline.inside
    if traits.streaks > 0.12:
        rays = ramp(np.cos(outline.angle * int(generator.integers(14, 26)) + 2 * smooth_noise(generator, 40)), 0.3, 1)
        rays *= ramp(smooth_noise(generator, 60), -0.2, 0.8)
        melanin += np.float32(1.1 * traits.streaks) * rays * ramp(abs(outline.depth + 0.02), 0.24, 0.0)

    flush = ramp(outline.depth, -0.45, 0.2)
    blood = np.float32(traits.blood) * np.maximum(outline.inside, 0.35 * flush)
    blood = blood * np.clip(1 + np.float32(0.35 * traits.patchiness) * rough_noise(generator, 28), 0.1, 2)
    if traits.vessels > 0.05:
        blood += np.float32(0.65) * _vessels(generator, traits) * ramp(outline.depth, -0.2, 0.15)
    return np.maximum(melanin, 0), np.maximum(blood, 0)


def _vessels(generator: np.random.Generator, traits: Traits) -> Field:
    pen = Pen()
    for _ in range(int(np.ceil(8 * traits.vessels))):
        start_angle = generator.uniform(0, 2 * np.pi)
        reach = traits.radius * generator.uniform(0.3, 1.0)
        start = (SIDE / 2 + reach * np.cos(start_angle), SIDE / 2 + reach * np.sin(start_angle))
        heading = start_angle + np.pi + generator.normal(0, 0.9)
        trunk = wandering_path(generator, start, heading, traits.radius * generator.uniform(0.6, 1.2), 0.28)
        pen.line(trunk, generator.uniform(0.7, 1.6))
        for _ in range(int(generator.integers(1, 5))):
            knot = trunk[int(generator.integers(len(trunk)))]
            turned = heading + generator.choice([-1, 1]) * generator.uniform(0.4, 1.1)
            length = traits.radius * generator.uniform(0.2, 0.6)
            pen.line(wandering_path(generator, (knot[0], knot[1]), turned, length, 0.34), generator.uniform(0.4, 0.9))
    return pen.field()


def _skin(generator: np.random.Generator) -> Field:
    fair, ruddy = generator.beta(4, 2), generator.normal(0, 1)
    base = np.array([0.70 + 0.20 * fair, 0.49 + 0.22 * fair, 0.44 + 0.24 * fair])
    base *= np.exp(np.array([0.02, -0.05, -0.02]) * ruddy)
    shade = np.float32(0.035) * rough_noise(generator, 90) + np.float32(0.022) * rough_noise(generator, 9)
    creases = honeycomb(generator, generator.uniform(9, 14), 9.0)
    shade -= np.float32(generator.uniform(0.0, 0.035)) * creases
    flush = np.float32(0.05) * rough_noise(generator, 45)
    skin = np.empty((3, SIDE, SIDE), dtype=np.float32)
    for channel in range(3):
        skin[channel] = np.float32(base[channel]) * np.exp(shade - np.float32(BLOOD[channel]) * flush)
    return skin


def _blend(picture: Field, colour: Colour, amount: Field) -> None:
    for channel in range(3):
        picture[channel] += amount * (np.float32(colour[channel]) - picture[channel])


def _blend_deep_colours(generator: np.random.Generator, traits: Traits, outline: Outline, picture: Field) -> None:
    if traits.white_centre > 0.08:
        middle = ramp(outline.depth + np.float32(0.12) * rough_noise(generator, 12), 0.1, 0.95)
        _blend(picture, WHITE, np.float32(min(0.85, 0.95 * traits.white_centre)) * middle)
    if traits.veil > 0.05:
        area = ramp(rough_noise(generator, 36), 0.7 - 1.5 * traits.veil, 2.1 - 1.5 * traits.veil)
        area *= np.clip(np.float32(0.55) + np.float32(0.12) * rough_noise(generator, 12), 0, 0.8)
        _blend(picture, BLUE_GREY, area * ramp(outline.depth, 0.02, 0.5))
    if traits.blue_blobs > 0.05:
        nests = spots(generator, int(np.ceil(14 * traits.blue_blobs)), (2.5, 8.5), outline.inside, edge=0.75)
        nests *= np.clip(np.float32(0.62) + np.float32(0.22) * smooth_noise(generator, 7), 0, 0.85)
        _blend(picture, BLUE_GREY, nests * outline.inside)
    if traits.lacunae > 0.06:
        lakes = spots(generator, int(np.ceil(26 * traits.lacunae)), (4.0, 12.0), outline.inside, edge=0.3)
        lakes *= outline.inside * np.float32(min(0.9, 0.4 + 0.6 * traits.lacunae))
        lakes *= np.clip(np.float32(0.82) + np.float32(0.13) * rough_noise(generator, 14), 0.3, 1)
        red, blue = generator.uniform(0.8, 1.5), generator.uniform(0.6, 1.4)
        _blend(picture, (PURPLE[0] * red, PURPLE[1], PURPLE[2] * blue), lakes)


def _blend_surface(generator: np.random.Generator, traits: Traits, outline: Outline, picture: Field) -> None:
    if traits.wax > 0.04:
        bumps = np.clip(0.7 + np.float32(0.4) * smooth_noise(generator, 8), 0, 1.3)
        _blend(picture, YELLOW, np.float32(min(0.6, 0.55 * traits.wax)) * bumps * outline.inside)
    plugs = spots(generator, int(34 * traits.comedones), (1.4, 3.4), outline.inside)
    _blend(picture, (0.24, 0.15, 0.10), np.float32(0.62) * plugs * outline.inside)
    if traits.blood > 0.2 and traits.scale > 0.2:
        openings = spots(generator, int(60 * traits.scale), (1.6, 3.2), outline.inside, edge=0.7)
        _blend(picture, SCALE, np.float32(0.45) * openings * outline.inside)
    pearls = spots(generator, int(42 * traits.milia), (1.2, 2.8), outline.inside)
    _blend(picture, WHITE, np.float32(0.75) * pearls * outline.inside)
    if traits.scale > 0.08:
        patches = ramp(rough_noise(generator, 26), 1.0 - 1.2 * traits.scale, 2.4 - 1.2 * traits.scale)
        flakes = ramp(rough_noise(generator, 8), -0.9, 1.5)
        _blend(picture, SCALE, np.float32(0.85) * patches * flakes * outline.inside)


def _blend_hairs(generator: np.random.Generator, picture: Field) -> None:
    count = int(generator.choice([0, 0, 2, 5, 12, 22], p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.05]))
    if not count:
        return
    pen = Pen()
    grain = generator.uniform(0, 2 * np.pi)
    for _ in range(count):
        start = (float(generator.uniform(0, SIDE)), float(generator.uniform(0, SIDE)))
        path = wandering_path(generator, start, grain + generator.normal(0, 0.5), generator.uniform(60, 220), 0.04)
        pen.line(path, generator.uniform(0.6, 1.3))
    _blend(picture, HAIR, np.float32(generator.uniform(0.5, 0.9)) * pen.field())
