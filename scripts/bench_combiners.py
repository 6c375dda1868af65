"""CPU seconds of every combiner in a cross-fit, on made-up logits of the size of HAM10000.

    python scripts/bench_combiners.py [--images 10015] [--backbones 3]

Each is fitted on four of five folds, refitted on three of them for each pair of folds, and fitted once on all rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cv_folds.arrays import FloatArray, IntArray, StrArray, frozen
from cv_folds.clinical import ClinicalTable
from ensemble.combiners import COMBINERS, Combiner
from ensemble.settings import EnsembleSettings

N_FOLDS = 5
CLASS_SIZES = (327, 514, 1099, 115, 1113, 6705, 142)
"""Images a class in HAM10000."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """Rows as a run has them."""

    logits: FloatArray
    labels: IntArray
    groups: StrArray
    folds: IntArray
    clinical: ClinicalTable


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line a combiner."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_015)
    parser.add_argument("--backbones", type=int, default=3)
    options = parser.parse_args(arguments)
    made = make(options.images, options.backbones, np.random.default_rng(0))
    total = 0.0
    for name, combiner in COMBINERS.items():
        begun = time.process_time()
        cross_fit(combiner, made)
        spent = time.process_time() - begun
        total += spent
        print(f"{name:14} {spent:6.2f} s", flush=True)
    print(f"{'together':14} {total:6.2f} s")


def make(n_images: int, n_backbones: int, generator: np.random.Generator) -> Made:
    """Make logits that say something about the class, images of one lesion being alike."""
    n_classes, n_lesions = len(CLASS_SIZES), int(0.75 * n_images)
    lesion = np.sort(np.r_[np.arange(n_lesions), generator.integers(n_lesions, size=n_images - n_lesions)])
    labels = generator.choice(n_classes, size=n_lesions, p=np.array(CLASS_SIZES) / sum(CLASS_SIZES))[lesion]
    logits = generator.normal(size=(n_images, n_backbones, n_classes))
    logits += generator.normal(scale=1.5, size=(n_lesions, 1, n_classes))[lesion]
    logits[np.arange(n_images), :, labels] += 3
    ages = generator.normal(50, 17, n_lesions)[lesion] + 3 * labels
    return Made(
        logits=logits,
        labels=labels,
        groups=np.array([f"lesion_{number:05d}" for number in lesion]),
        folds=generator.integers(N_FOLDS, size=n_lesions)[lesion],
        clinical=ClinicalTable(
            image_ids=frozen([f"image_{number:05d}" for number in range(n_images)]),
            ages=frozen(np.where(generator.random(n_images) < 0.01, np.nan, ages)),
            sexes=frozen(generator.choice(["male", "female", ""], n_lesions, p=[0.53, 0.46, 0.01])[lesion]),
            localizations=frozen(generator.choice([*(f"site {site}" for site in range(14)), ""], n_lesions)[lesion]),
            dx_types=frozen([""] * n_images),
        ),
    )


def cross_fit(combiner: type[Combiner], made: Made) -> None:
    """Fit, refit and combine as a run does."""
    settings = EnsembleSettings()

    def rows(which: np.ndarray) -> tuple[FloatArray, IntArray, StrArray]:
        return made.logits[which], made.labels[which], made.groups[which]

    for fold in range(N_FOLDS):
        rest, held_out = made.folds != fold, made.folds == fold
        fitted = combiner.fit(*rows(rest), settings, made.clinical.rows(rest))
        fitted.combine(made.logits[held_out], made.clinical.rows(held_out))
        for other in set(range(N_FOLDS)) - {fold}:
            inner, scored = rest & (made.folds != other), made.folds == other
            again = fitted.refit(*rows(inner), made.clinical.rows(inner))
            again.combine(made.logits[scored], made.clinical.rows(scored))
    combiner.fit(made.logits, made.labels, made.groups, settings, made.clinical)


if __name__ == "__main__":
    main()
