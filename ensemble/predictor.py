"""Prediction on new images with everything that a run learned."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cv_folds.arrays import FloatArray, StrArray, frozen
from cv_folds.errors import DataError, UsageError
from cv_folds.images import ImageSource
from ensemble.bundle import MANIFEST, Bundle, read_bundle
from ensemble.device import resolve_device
from ensemble.disagreement import spread_of
from ensemble.inputs import Images, each_image, pixels_of
from ensemble.members import Members
from ensemble.pipeline import probabilities_of
from ensemble.prediction import Prediction
from ensemble.views import MOST_VIEWS, turned

_BATCH = {"cpu": 1, "cuda": 32}


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """What the members say about one batch, blanks included."""

    logits: FloatArray
    """(batch, n_views, n_folds, n_backbones, n_classes), always of one shape."""
    n_images: int
    """How many of the first rows are images; the others are blanks."""


class EnsemblePredictor:
    """The ensemble of a run, ready for new images. Any number of threads may use one.

    Parameters
    ----------
    bundle : Bundle
        A verified bundle.
    device : torch.device
        Where the members run, in float32.
    views : int
        Turned and mirrored views of every image, 1 to 8, whose results are averaged (test-time augmentation);
        the first is the image as it is.

    Notes
    -----
    The members of each fold go through the combiner together, and the results of all folds are averaged.

    The same image gives the same numbers whatever else is in the call: members and combiner always see batches of
    one fixed shape (1 image on a CPU, 32 on a CUDA device, filled up with blanks). On a CPU this holds bit by bit.
    """

    def __init__(self, bundle: Bundle, device: torch.device, *, views: int = 1) -> None:
        if not 1 <= views <= MOST_VIEWS:
            raise UsageError(f"{views} views: give a number from 1 to {MOST_VIEWS}")
        self.bundle = bundle
        self.device = device
        self._views = views
        self._members = Members(bundle, device)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", *, views: int = 1) -> EnsemblePredictor:
        """Load a predictor.

        Parameters
        ----------
        path : str or Path
            A run folder or a bundle. Every checksum is verified; the weights are read when first needed.
        device : str
            ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        views : int
            Views of every image for test-time augmentation, 1 to 8.

        Raises
        ------
        DataError
            When there is no bundle, or it is damaged.
        UsageError
            When there is no such device, or `views` is out of range.
        """
        target = resolve_device(device)
        path = Path(path)
        if not path.is_dir():
            raise DataError(f"{path}: no such folder; give a run folder or a bundle")
        folder = path if (path / MANIFEST).is_file() else path / "predictor"
        if not folder.is_dir():
            raise DataError(
                f"{path} is neither a bundle (no {MANIFEST}) nor a finished run (no predictor folder); finish the run "
                "with `hamcv run`"
            )
        return cls(read_bundle(folder), target, views=views)

    @property
    def classes_(self) -> StrArray:
        """(n_classes,) class names in column order."""
        return np.array(self.bundle.manifest.classes, dtype=np.str_)

    def member_logits(self, images: Images) -> FloatArray:
        """Return the raw outputs of all members on the images as they are, without turned views.

        Parameters
        ----------
        images : Images
            One image or many.

        Returns
        -------
        (n, n_folds, n_backbones, n_classes) float64

        Raises
        ------
        DataError
            When an image cannot be read; the message names it.
        """
        manifest = self.bundle.manifest
        empty = np.empty((0, manifest.n_folds, len(manifest.combiner.backbones), len(manifest.classes)))
        batches = self._batches(images, views=1)
        return np.concatenate([empty, *(batch.logits[: batch.n_images, 0] for batch in batches)])

    def predict_proba(self, images: Images) -> FloatArray:
        """Return class probabilities.

        Parameters
        ----------
        images : Images
            One image or many, of any sizes. Iterables are read in pieces, so that memory stays bounded.

        Returns
        -------
        (n, n_classes) float64
            Rows sum to 1, columns as in `classes_`; no image gives no row.

        Raises
        ------
        DataError
            When an image cannot be read; the message names it.
        """
        batches = self._batches(images, views=self._views)
        pieces = [probabilities_of(self.bundle, batch.logits)[: batch.n_images] for batch in batches]
        return np.concatenate([np.empty((0, len(self.bundle.manifest.classes))), *pieces])

    def predict(self, images: Images) -> StrArray:
        """Return the (n,) names of the most probable classes; `images` as for `predict_proba`."""
        labels: StrArray = self.classes_[self.predict_proba(images).argmax(axis=1)]
        return labels

    def explain(self, image: ImageSource) -> Prediction:
        """Return everything about one image; several, or none, raise `UsageError`."""
        predictions = tuple(itertools.islice(self.explain_each(image), 2))
        if len(predictions) != 1:
            raise UsageError("explain takes one image; use explain_each for several")
        return predictions[0]

    def explain_each(self, images: Images) -> Iterator[Prediction]:
        """Yield everything about each image, in order; `images` as for `predict_proba`."""
        classes = self.bundle.manifest.classes
        for batch in self._batches(images, views=self._views):
            probabilities = probabilities_of(self.bundle, batch.logits)[: batch.n_images]
            spreads = spread_of(batch.logits)[: batch.n_images].tolist()
            inside = self.bundle.prediction_sets.members(probabilities).tolist()
            for row, spread, members in zip(probabilities, spreads, inside, strict=True):
                yield Prediction(
                    label=classes[row.argmax()],
                    probabilities=frozen(row),
                    classes=classes,
                    spread=spread,
                    prediction_set=tuple(itertools.compress(classes, members)),
                )

    def _batches(self, images: Images, *, views: int) -> Iterator[_Batch]:
        """Yield the members' outputs, a batch of one fixed size at a time."""
        size = self.bundle.manifest.preprocessing.image_size
        batch_size = _BATCH[self.device.type]
        numbered = enumerate(each_image(images))
        while batch := [pixels_of(image, index, size) for index, image in itertools.islice(numbered, batch_size)]:
            pixels = torch.zeros((batch_size, size, size, 3), dtype=torch.uint8)
            pixels[: len(batch)] = torch.from_numpy(np.stack(batch))
            logits = [self._members.logits(view) for view in itertools.islice(turned(pixels), views)]
            yield _Batch(logits=torch.stack(logits, dim=1).double().numpy(), n_images=len(batch))
