"""From the class shares that training showed to those that the world has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray, frozen

UNSEEN = 0.5
"""Images that a class without any counts for, so that its logit stays finite."""


@dataclass(frozen=True, kw_only=True)
class PriorShift:
    """The step from a network's class prior to another.

    Notes
    -----
    A network that is trained on shares s_c gives p(c | x) in proportion to p(x | c) s_c. At other shares t_c the
    posterior is in proportion to p(x | c) t_c: ``log t_c - log s_c`` is added to each logit (Saerens, Latinne and
    Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities", Neural Computation 14, 2002).
    """

    shown: FloatArray
    """(n_classes,) positive shares in training, summing to 1."""
    natural: FloatArray
    """(n_classes,) positive shares to be restored, summing to 1."""

    @property
    def offsets(self) -> FloatArray:
        """(n_classes,) in nats, what is added to the logits."""
        offsets: FloatArray = np.log(self.natural) - np.log(self.shown)
        return offsets

    def adjust(self, logits: FloatArray) -> FloatArray:
        """Return logits of the same shape (..., n_classes) for the natural shares."""
        adjusted: FloatArray = logits + self.offsets
        return adjusted


def prior_shift(labels: IntArray, n_classes: int, *, power: float) -> PriorShift:
    """Measure the natural shares, and say which of them training showed.

    Parameters
    ----------
    labels : (n,) int
        Classes of images like those of the training, none of them to be scored.
    n_classes : int
        Number of classes.
    power : float
        `cv_folds.training.settings.TrainingSettings.balancing_power`: in training an image of a class of n images
        counted with a weight of ``n ** -power``; 0 for no balancing, 1 for classes of one size.

    Returns
    -------
    PriorShift
        A class without images counts `UNSEEN` images.
    """
    counts = np.maximum(np.bincount(labels, minlength=n_classes), UNSEEN)
    shown = counts ** (1 - power)
    return PriorShift(shown=frozen(shown / shown.sum()), natural=frozen(counts / counts.sum()))
