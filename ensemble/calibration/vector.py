"""Vector scaling: a scale and an offset for each class's log-probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import log_softmax, softmax
from threadpoolctl import threadpool_limits

from cv_folds.arrays import FloatArray, IntArray, StrArray, frozen
from cv_folds.errors import DataError
from ensemble.calibration.logs import floored_logs
from ensemble.inner_folds import inner_folds
from ensemble.priors import PriorShift
from ensemble.settings import EnsembleSettings
from ensemble.stored import read_stored

_MOST_STEPS = 100
_TOLERANCE = 1e-12
"""Expected gain of the next step, in nats a row, below which the search ends."""
_SHORTEST = 1e-10


@dataclass(frozen=True, kw_only=True)
class VectorScaling:
    """Softmax of ``scale * log-probability + offset``, class by class (Guo et al., ICML 2017)."""

    penalty: float
    """How strongly scales were drawn towards 1 and offsets towards 0."""
    scales: FloatArray
    """(n_classes,)."""
    offsets: FloatArray
    """(n_classes,) in nats."""

    @property
    def n_classes(self) -> int:
        """Number of columns."""
        return len(self.scales)

    @classmethod
    def fit(
        cls,
        probabilities: FloatArray,
        labels: IntArray,
        groups: StrArray,
        settings: EnsembleSettings,
        prior: PriorShift | None = None,  # noqa: ARG003
    ) -> Self:
        """Minimise the log-loss plus an L2 penalty on the distance from the identity.

        Parameters
        ----------
        probabilities : (n, n_classes) float64
            Of models that had not seen the rows.
        labels : (n,) int
            True class numbers.
        groups : (n,) str
            Rows of one group stay together in the cross-validation that chooses the penalty.
        settings : EnsembleSettings
            `calibration_penalties` and `inner_folds`.
        prior : PriorShift, optional
            Not used.

        Returns
        -------
        VectorScaling
            The penalty keeps a class without rows, or one that is never in doubt, close to the identity.
        """
        # Sums of several threads depend on their number.
        with threadpool_limits(limits=1):
            logs = floored_logs(probabilities)
            return cls._fit(logs, labels, _choose_penalty(cls, logs, labels, groups, settings))

    @classmethod
    def _fit(cls, logs: FloatArray, labels: IntArray, penalty: float) -> Self:
        """Newton's method with halved steps; the objective is strictly convex."""
        n_classes = logs.shape[1]
        identity = np.repeat([1.0, 0.0], n_classes)
        truth = np.eye(n_classes)[labels]
        rows = np.arange(len(labels))

        def objective(theta: FloatArray) -> float:
            scores = theta[:n_classes] * logs + theta[n_classes:]
            loss = -float(log_softmax(scores, axis=1)[rows, labels].sum())
            return loss + penalty / 2 * float(((theta - identity) ** 2).sum())

        theta, value = identity, objective(identity)
        for _ in range(_MOST_STEPS):
            guess = softmax(theta[:n_classes] * logs + theta[n_classes:], axis=1)
            residual = guess - truth
            gradient = np.concatenate([(residual * logs).sum(axis=0), residual.sum(axis=0)])
            gradient += penalty * (theta - identity)
            step = np.linalg.solve(_curvature(guess, logs) + penalty * np.eye(2 * n_classes), gradient)
            gain = float(gradient @ step)
            if gain <= _TOLERANCE * len(labels):
                break
            length = 1.0
            while objective(theta - length * step) > value - 1e-4 * length * gain and length > _SHORTEST:
                length /= 2
            theta = theta - length * step
            value = objective(theta)
        return cls(penalty=penalty, scales=frozen(theta[:n_classes]), offsets=frozen(theta[n_classes:]))

    def calibrate(self, probabilities: FloatArray) -> FloatArray:
        """Return (n, n_classes) probabilities from such."""
        assert probabilities.shape[1] == self.n_classes
        calibrated: FloatArray = softmax(self._scores(floored_logs(probabilities)), axis=1)
        return calibrated

    def _scores(self, logs: FloatArray) -> FloatArray:
        scores: FloatArray = self.scales * logs + self.offsets
        return scores

    def loss(self, logs: FloatArray, labels: IntArray) -> float:
        """Return the summed log-loss in nats on (n, n_classes) log-probabilities and (n,) labels."""
        return -float(log_softmax(self._scores(logs), axis=1)[np.arange(len(labels)), labels].sum())

    def parameters(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"penalty": self.penalty, "scales": self.scales.tolist(), "offsets": self.offsets.tolist()}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Read what `parameters` returned; anything else raises `DataError`."""
        stored = read_stored(_Parameters, parameters, "calibrator vector")
        if len(stored.scales) != len(stored.offsets):
            raise DataError("parameters of calibrator vector: there must be as many scales as offsets")
        return cls(penalty=stored.penalty, scales=frozen(stored.scales), offsets=frozen(stored.offsets))


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    penalty: float = Field(gt=0)
    scales: list[float] = Field(min_length=1)
    offsets: list[float] = Field(min_length=1)


def _curvature(guess: FloatArray, logs: FloatArray) -> FloatArray:
    """Return the (2c, 2c) second derivatives of the summed log-loss by scales and offsets."""
    moved = np.concatenate([guess * logs, guess], axis=1)
    by_scale, mixed, by_offset = (guess * logs**2).sum(axis=0), (guess * logs).sum(axis=0), guess.sum(axis=0)
    own = np.block([[np.diag(by_scale), np.diag(mixed)], [np.diag(mixed), np.diag(by_offset)]])
    curvature: FloatArray = own - moved.T @ moved
    return curvature


def _choose_penalty(
    scaling: type[VectorScaling], logs: FloatArray, labels: IntArray, groups: StrArray, settings: EnsembleSettings
) -> float:
    """Return the penalty with the smallest log-loss in grouped inner cross-validation; of equals the strongest."""
    penalties = sorted(settings.calibration_penalties, reverse=True)
    if len(penalties) == 1 or len(np.unique(labels)) == 1 or len(np.unique(groups)) == 1:
        return penalties[0]
    inner = inner_folds(labels, groups, most=settings.inner_folds)
    losses = [
        sum(
            scaling._fit(logs[inner != fold], labels[inner != fold], penalty).loss(
                logs[inner == fold], labels[inner == fold]
            )
            for fold in np.unique(inner)
        )
        for penalty in penalties
    ]
    return penalties[int(np.argmin(losses))]
