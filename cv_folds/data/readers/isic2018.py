"""ISIC 2018, task 3: HAM10000 as training set, with a validation and a test set."""

from __future__ import annotations

from cv_folds.data.readers.isic import IsicLayout, IsicPart, read_isic, recognises_isic
from cv_folds.data.readers.listing import Listing
from cv_folds.data.readers.reader import Reader, Reading
from cv_folds.data.settings import ColumnSettings

TEST_TRUTH = "ISIC2018_Task3_Test_GroundTruth"
"""Name of the truth of the test set, without extension."""
NOT_SCORED = {"ISIC_0035068": "it is no photograph; the challenge did not score it and not every release has it"}
"""Test image to the reason why it is left out (https://github.com/ImageMarkup/isic-challenge-scoring)."""

_LAYOUT = IsicLayout(
    classes=("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"),
    parts={
        "train": IsicPart(
            truth="ISIC2018_Task3_Training_GroundTruth", details="ISIC2018_Task3_Training_LesionGroupings"
        ),
        "val": IsicPart(truth="ISIC2018_Task3_Validation_GroundTruth", details=None),
        "test": IsicPart(truth=TEST_TRUTH, details=None),
    },
    left_out=NOT_SCORED,
)


def _recognises(listing: Listing, _: ColumnSettings) -> bool:
    return recognises_isic(listing, _LAYOUT)


def _read(listing: Listing, _: ColumnSettings) -> Reading:
    return read_isic(listing, _LAYOUT)


ISIC2018 = Reader(
    looks_for="ISIC2018_Task3_Training_GroundTruth.csv, _Validation_ or _Test_, with one column a class",
    recognises=_recognises,
    read=_read,
)
