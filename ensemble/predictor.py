"""Prediction on new images with everything that a run learned."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags

from cv_folds.arrays import FloatArray, StrArray, frozen
from cv_folds.errors import DataError, UsageError
from cv_folds.images import ImageSource
from ensemble.bundle import Bundle, find_bundle, read_bundle
from ensemble.device import resolve_device
from ensemble.disagreement import spread_of, spread_within_folds, vote_entropy_of
from ensemble.estimator_tags import classifier_tags
from ensemble.inputs import Images, read_images
from ensemble.members import Members
from ensemble.passes import Batch, passes
from ensemble.pipeline import probabilities_of
from ensemble.prediction import Prediction
from ensemble.views import AS_IT_IS, Views


class EnsemblePredictor:
    """The ensemble of a run, ready for new images. Any number of threads may use one.

    Parameters
    ----------
    bundle : Bundle
        A verified bundle.
    device : torch.device
        Where the members run, in float32.
    views : Views
        Turned and mirrored views of every image, whose results are averaged (test-time augmentation).

    Notes
    -----
    The members of each fold go through the combiner together, and the results of all folds are averaged.

    The same image gives the same numbers whatever else is in the call: members and combiner always see batches of
    one fixed shape (1 image on a CPU, 32 on a CUDA device, filled up with blanks). On a CPU this holds bit by bit,
    with any number of cores, since every member is computed by one thread.

    Files are decoded, and the next images computed, while the caller works on a result. What is held does not grow
    with the number of images.

    To scikit-learn it is a fitted classifier: scorers, displays and `sklearn.calibration.CalibrationDisplay` take it,
    with images in place of a table. `fit` changes nothing, and a clone is the predictor itself.
    """

    def __init__(self, bundle: Bundle, device: torch.device, *, views: Views = AS_IT_IS) -> None:
        self.bundle = bundle
        self.device = device
        self._views = views
        self._members = Members(bundle, device)

    @classmethod
    def load(
        cls, path: str | Path, device: str = "auto", *, views: int = 1, spins: int | None = None, seed: int = 0
    ) -> EnsemblePredictor:
        """Load a predictor.

        Parameters
        ----------
        path : str or Path
            A run folder or a bundle. Every checksum is verified; the weights are read when first needed.
        device : str
            ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        views : int
            Quarter turns and mirror images of every image for test-time augmentation, 1 to 8; 1 is the image itself.
        spins : int, optional
            Turns by random angles that are averaged with them, 0 to 64. Default: as many as the scores and the
            calibration of the ensemble come from (`training.held_out_spins` of its run), which is mostly none.
        seed : int
            Of the random angles, which are the same for every image.

        Raises
        ------
        DataError
            When there is no bundle, or it is damaged.
        UsageError
            When there is no such device, or a number of views is out of range.
        """
        target, seen = resolve_device(device), Views(turns=views, spins=spins or 0, seed=seed)
        bundle = read_bundle(find_bundle(Path(path)))
        if spins is None:
            seen = replace(seen, spins=bundle.manifest.preprocessing.held_out_spins)
        return cls(bundle, target, views=seen)

    @property
    def views(self) -> Views:
        """Views of every image that are averaged."""
        return self._views

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
        batches = _all_read(self._batches(images, AS_IT_IS))
        return np.concatenate([empty, *(batch.logits[: batch.n_read, 0] for batch in batches)])

    def predict_proba(self, images: Images) -> FloatArray:
        """Return class probabilities.

        Parameters
        ----------
        images : Images
            One image or many, of any sizes from 8 pixels up. Iterables are read in pieces, so that memory stays
            bounded.

        Returns
        -------
        (n, n_classes) float64
            Rows sum to 1, columns as in `classes_`; no image gives no row.

        Raises
        ------
        DataError
            When an image cannot be read; the message names it.
        """
        batches = _all_read(self._batches(images, self._views))
        pieces = [probabilities_of(self.bundle, batch.logits)[: batch.n_read] for batch in batches]
        return np.concatenate([np.empty((0, len(self.bundle.manifest.classes))), *pieces])

    def predict(self, images: Images) -> StrArray:
        """Return the (n,) names of the most probable classes; `images` as for `predict_proba`."""
        labels: StrArray = self.classes_[self.predict_proba(images).argmax(axis=1)]
        return labels

    def score(self, images: Images, labels: Sequence[str], sample_weight: Sequence[float] | None = None) -> float:
        """Return the accuracy, as every classifier of scikit-learn does.

        Parameters
        ----------
        images : Images
            As for `predict_proba`.
        labels : (n,) sequence of str
            True class names.
        sample_weight : (n,) sequence of float, optional
            Weight of each image.
        """
        return float(accuracy_score(np.asarray(labels), self.predict(images), sample_weight=sample_weight))

    def fit(self, images: object = None, labels: object = None) -> Self:  # noqa: ARG002
        """Do nothing: the ensemble was fitted by its run, and scikit-learn asks for this method's name only."""
        return self

    def get_params(self, deep: bool = True) -> dict[str, object]:  # noqa: ARG002
        """Return the settings by name."""
        return {"bundle": self.bundle, "device": self.device, "views": self._views}

    def __sklearn_tags__(self) -> Tags:
        return classifier_tags(len(self.bundle.manifest.classes))

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> Self:
        # As of scikit-learn's FrozenEstimator: what was learned is no setting that a copy could do without.
        return self

    def explain(self, image: ImageSource) -> Prediction:
        """Return everything about one image; several, or none, raise `UsageError`."""
        predictions = tuple(itertools.islice(self.explain_each(image), 2))
        if len(predictions) != 1:
            raise UsageError("explain takes one image; use explain_each for several")
        return predictions[0]

    def explain_each(self, images: Images) -> Iterator[Prediction]:
        """Yield everything about each image, in order; `images` as for `predict_proba`."""
        for answer in self.try_each(images):
            if isinstance(answer, DataError):
                raise answer
            yield answer

    def try_each(self, images: Images) -> Iterator[Prediction | DataError]:
        """Yield everything about each image, in order, or why it cannot be read; the others get their answer."""
        for batch in self._batches(images, self._views):
            rows = iter(self._explained(batch))
            for error in batch.errors:
                yield next(rows) if error is None else error

    def _explained(self, batch: Batch) -> Iterator[Prediction]:
        classes, rule = self.bundle.manifest.classes, self.bundle.outliers
        probabilities = probabilities_of(self.bundle, batch.logits)
        inside = self.bundle.prediction_sets.members(probabilities)
        information, votes = spread_of(batch.logits), vote_entropy_of(batch.logits)
        within = spread_within_folds(batch.logits)
        far = None
        if rule is not None and batch.distances is not None:
            members = [(member.backbone, member.fold) for member in self._members.ordered]
            far = rule.distance_of(batch.distances, members)
        for row in range(batch.n_read):
            distance = None if far is None else float(far[row])
            yield Prediction(
                label=classes[probabilities[row].argmax()],
                probabilities=frozen(probabilities[row]),
                classes=classes,
                mutual_information=float(information[row]),
                vote_entropy=float(votes[row]),
                distance=distance,
                prediction_set=tuple(itertools.compress(classes, inside[row].tolist())),
                warning=None if rule is None else rule.warning(distance, float(within[row])),
            )

    def _batches(self, images: Images, views: Views) -> Iterator[Batch]:
        read = read_images(images, self._members.image_size, device=self.device)
        return passes(self._members, read, views)


def _all_read(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Pass batches on; the first image that could not be read is raised."""
    for batch in batches:
        for error in batch.errors:
            if error is not None:
                raise error
        yield batch
