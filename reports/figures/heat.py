"""A map of what matters, laid on its picture."""

from __future__ import annotations

import matplotlib
import numpy as np

from cv_folds.arrays import ByteArray, FloatArray

COLOURS = "inferno"
"""Even steps for the eye, in grey and for those who do not tell colours apart too."""

STRONGEST = 0.65
"""How far the colour covers the picture where the map is 1."""


def overlay(picture: ByteArray, heat: FloatArray) -> ByteArray:
    """Lay a map on a picture.

    Parameters
    ----------
    picture : (height, width, 3) uint8 array
        RGB.
    heat : (height, width) float array
        From 0, where the picture is grey, to 1.

    Returns
    -------
    (height, width, 3) uint8 array
        The picture in grey, in the colours of the map where that is high.
    """
    assert heat.shape == picture.shape[:2]
    # ITU-R BT.601 luma.
    grey = picture @ np.array([0.299, 0.587, 0.114])
    colours = matplotlib.colormaps[COLOURS](heat)[..., :3] * 255
    cover = STRONGEST * heat[..., None]
    mixed: ByteArray = np.rint(grey[..., None] * (1 - cover) + colours * cover).astype(np.uint8)
    return mixed
