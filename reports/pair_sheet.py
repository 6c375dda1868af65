"""A page of image pairs side by side, for a person who decides whether they show one lesion.

It holds the images themselves: it is for the user's own machine, not for a report that is passed on.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from cv_folds.arrays import ByteArray, FloatArray
from cv_folds.data.dataset import LesionDataset
from cv_folds.leakage import ImagePair
from cv_folds.near_duplicates.features import working_image
from cv_folds.near_duplicates.overlay import lay
from cv_folds.near_duplicates.search import FoundPair
from cv_folds.near_duplicates.settings import SearchSettings

UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class View:
    """One picture with its words."""

    jpeg: str
    """Base64."""
    caption: str
    """What it shows."""


@dataclass(frozen=True, kw_only=True)
class ShownPair:
    """What the page shows of one pair."""

    score: float
    """Probability that the two show one lesion."""
    why: str
    """What speaks for it."""
    warning: str | None
    """What speaks against it: different diagnoses."""
    views: tuple[View, ...]
    """First image, second image, and the second laid on the first where that is known."""


def render_pair_sheet(
    title: str,
    explanation: str,
    pairs: Sequence[ImagePair],
    dataset: LesionDataset,
    found: Sequence[FoundPair],
) -> str:
    """Return the page as HTML 5 with all images inside.

    Parameters
    ----------
    title, explanation : str
        Words above the pairs.
    pairs : sequence of ImagePair
        What to show, in this order.
    dataset : LesionDataset
        Holds the images.
    found : sequence of FoundPair
        The motions that lay second images on first ones.

    Raises
    ------
    DataError
        When an image can no longer be decoded.
    """
    rows = {image: row for row, image in enumerate(dataset.image_ids.tolist())}
    matrices = {(pair.image_a, pair.image_b): np.array(pair.matrix).reshape(2, 3) for pair in found}
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=PackageLoader("reports"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [
        _show(pair, dataset, rows[pair.image_a], rows[pair.image_b], matrices.get((pair.image_a, pair.image_b)))
        for pair in pairs
    ]
    return environment.get_template("pairs.html.j2").render(title=title, explanation=explanation, pairs=shown)


def _show(
    pair: ImagePair,
    dataset: LesionDataset,
    a: int,
    b: int,
    matrix: FloatArray | None,
) -> ShownPair:
    settings = SearchSettings()
    first, second = (working_image(dataset.paths[row], settings) for row in (a, b))
    views = [View(jpeg=_jpeg(image), caption=_words(dataset, row)) for image, row in ((first, a), (second, b))]
    if matrix is not None:
        moved, covered = lay(second, matrix, first.shape[1], first.shape[0])
        grey = np.where(covered[:, :, None] > 0, moved, np.uint8(128))
        views.append(View(jpeg=_jpeg(grey), caption="the second, laid on the first"))
    one, other = (dataset.classes[dataset.labels[row]] for row in (a, b))
    return ShownPair(
        score=pair.score,
        why=pair.why,
        warning=None if one == other else f"Different diagnoses: {one} and {other}",
        views=tuple(views),
    )


def _words(dataset: LesionDataset, row: int) -> str:
    age = dataset.ages[row]
    parts = (
        dataset.image_ids[row],
        f"lesion {dataset.lesion_ids[row]}",
        dataset.classes[dataset.labels[row]],
        UNKNOWN + " age" if np.isnan(age) else f"{age:.0f} years",
        dataset.sexes[row] or UNKNOWN + " sex",
        dataset.localizations[row] or UNKNOWN + " site",
    )
    return ", ".join(str(part) for part in parts)


def _jpeg(image: ByteArray) -> str:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=88)
    return base64.b64encode(stream.getvalue()).decode()
