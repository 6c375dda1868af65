"""Photographing a rendered lesion: framing, light, lens and sensor, anew for each image."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from cv_folds.arrays import ByteArray
from cv_folds.data.demo.canvas import SIDE, Field

WIDTH, HEIGHT = 200, 150

_COLUMNS = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None, :]
_ROWS = np.linspace(-HEIGHT / WIDTH, HEIGHT / WIDTH, HEIGHT, dtype=np.float32)[:, None]
_FROM_MIDDLE = np.hypot(_COLUMNS, _ROWS)


def photograph(generator: np.random.Generator, canvas: ByteArray) -> Image.Image:
    """Take one picture of a lesion.

    Parameters
    ----------
    generator : numpy.random.Generator
        Source of framing, light cast, focus, dark corners, gel bubbles and sensor noise.
    canvas : ByteArray
        (SIDE, SIDE, 3) uint8 RGB, from `render_lesion`.

    Returns
    -------
    PIL.Image.Image
        RGB, 200x150.
    """
    framed = _frame(generator, canvas)
    blurred = framed.filter(ImageFilter.GaussianBlur(float(generator.gamma(1.5, 0.28))))
    light = np.asarray(blurred, dtype=np.float32) / np.float32(255)
    light = _illuminate(generator, light)
    if generator.random() < 0.22:
        _add_bubbles(generator, light)
    light += generator.standard_normal(light.shape, dtype=np.float32) * np.float32(generator.uniform(0.003, 0.012))
    return Image.fromarray(np.clip(light * 255, 0, 255).astype(np.uint8))


def _frame(generator: np.random.Generator, canvas: ByteArray) -> Image.Image:
    # The farthest corner, 125 * 1.1 + 14 pixels from the middle, is still on the canvas.
    zoom, turn = generator.uniform(0.82, 1.1), generator.uniform(0, 2 * np.pi)
    flip = generator.choice([-1.0, 1.0])
    shift = generator.uniform(-10, 10, size=2)
    a, b = zoom * np.cos(turn) * flip, -zoom * np.sin(turn)
    d, e = zoom * np.sin(turn) * flip, zoom * np.cos(turn)
    c = SIDE / 2 + shift[0] - a * WIDTH / 2 - b * HEIGHT / 2
    f = SIDE / 2 + shift[1] - d * WIDTH / 2 - e * HEIGHT / 2
    source = Image.fromarray(canvas)
    return source.transform(
        (WIDTH, HEIGHT), Image.Transform.AFFINE, data=(a, b, c, d, e, f), resample=Image.Resampling.BICUBIC
    )


def _illuminate(generator: np.random.Generator, light: Field) -> Field:
    exposure = generator.normal(0, 0.06)
    cast = generator.normal(0, 0.03, size=3)
    gains = np.exp(exposure + cast).astype(np.float32)
    lean = generator.normal(0, 0.04, size=2)
    evenness = 1 + np.float32(lean[0]) * _COLUMNS + np.float32(lean[1]) * _ROWS
    if generator.random() < 0.3:
        reach, fall = generator.uniform(0.98, 1.25), generator.uniform(0.04, 0.25)
        evenness *= np.float32(0.06) + np.float32(0.94) * np.clip((reach - _FROM_MIDDLE) / np.float32(fall), 0, 1)
    else:
        evenness *= 1 - np.float32(generator.uniform(0.0, 0.22)) * _FROM_MIDDLE**2
    contrast = np.float32(np.exp(generator.normal(0, 0.07)))
    return (light**contrast) * gains * evenness[:, :, None]


def _add_bubbles(generator: np.random.Generator, light: Field) -> None:
    for _ in range(int(generator.integers(1, 7))):
        x, y = generator.uniform(-1, 1), generator.uniform(-0.75, 0.75)
        radius = generator.uniform(0.02, 0.09)
        distance = np.hypot(_COLUMNS - np.float32(x), _ROWS - np.float32(y)) / np.float32(radius)
        rim = np.exp(-(((distance - 1) / 0.16) ** 2))
        inner = np.exp(-(((distance - 0.8) / 0.16) ** 2))
        glint = np.exp(-((np.hypot(_COLUMNS - x + 0.4 * radius, _ROWS - y + 0.4 * radius) / (0.22 * radius)) ** 2))
        light += (0.13 * inner - 0.16 * rim + 0.4 * glint)[:, :, None].astype(np.float32)
