"""ISIC 2019: eight classes from HAM10000, BCN_20000 and MSK, with partly missing lesion ids."""

from __future__ import annotations

from cv_folds.data.readers.isic import IsicLayout, IsicPart, read_isic, recognises_isic
from cv_folds.data.readers.listing import Listing
from cv_folds.data.readers.reader import Reader, Reading
from cv_folds.data.settings import ColumnSettings

_LAYOUT = IsicLayout(
    classes=("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"),
    parts={
        "train": IsicPart(truth="ISIC_2019_Training_GroundTruth", details="ISIC_2019_Training_Metadata"),
        "test": IsicPart(truth="ISIC_2019_Test_GroundTruth", details="ISIC_2019_Test_Metadata"),
    },
    unknown="UNK",
)


def _recognises(listing: Listing, _: ColumnSettings) -> bool:
    return recognises_isic(listing, _LAYOUT)


def _read(listing: Listing, _: ColumnSettings) -> Reading:
    return read_isic(listing, _LAYOUT)


ISIC2019 = Reader(
    looks_for="ISIC_2019_Training_GroundTruth.csv or _Test_, with one column a class",
    recognises=_recognises,
    read=_read,
)
