"""Images as the combiners see them: what the members say, what is true, and what is known of the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cv_folds.arrays import BoolArray, FloatArray, IntArray, StrArray
from cv_folds.clinical import ClinicalTable
from cv_folds.out_of_fold import OutOfFold
from ensemble.priors import PriorShift


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some images in one order."""

    logits: FloatArray
    """(n, n_backbones, n_classes) outputs of networks that had not seen the images."""
    labels: IntArray
    """(n,) class numbers."""
    groups: StrArray
    """(n,) what must stay together in every split."""
    clinical: ClinicalTable
    """Of the same n images in the same order."""

    @classmethod
    def of(cls, oof: OutOfFold, clinical: ClinicalTable | None = None) -> Rows:
        """Return all images of `oof`; `clinical` holds them at least, without it nothing is known about them."""
        known = ClinicalTable.blank(oof.image_ids) if clinical is None else clinical.take(oof.image_ids)
        return cls(logits=oof.logits, labels=oof.labels, groups=oof.groups, clinical=known)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.logits.shape[2])

    def select(self, which: BoolArray) -> Rows:
        """Return the rows of a (n,) mask."""
        return Rows(
            logits=self.logits[which],
            labels=self.labels[which],
            groups=self.groups[which],
            clinical=self.clinical.rows(which),
        )

    def of_backbones(self, columns: Sequence[int]) -> Rows:
        """Return the same images with some of the backbones only."""
        return replace(self, logits=self.logits[:, list(columns)])

    def adjusted(self, prior: PriorShift) -> Rows:
        """Return the same images with logits for the natural class shares."""
        return replace(self, logits=prior.adjust(self.logits))
