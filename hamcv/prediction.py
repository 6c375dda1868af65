"""Predictions of many files as a table; a file that cannot be read does not cost the others their answer."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cv_folds.errors import DataError, list_rows
from cv_folds.files import write_text
from ensemble import EnsemblePredictor
from hamcv.prediction_rows import columns, row


@dataclass(frozen=True, kw_only=True)
class PredictionTable:
    """What the ensemble says about a list of files."""

    csv: str
    """One row a readable file: image, label, prediction_set, spread, then one probability a class."""
    unreadable: tuple[str, ...]
    """One message for each file without an answer."""
    demo: bool
    """True when the ensemble was trained on the generated demo set: its answers mean nothing."""

    def write(self, path: Path) -> None:
        """Write the CSV atomically."""
        write_text(path, self.csv)

    def refuse_unreadable(self) -> None:
        """Raise `DataError` that lists the files without an answer, if there are any."""
        if self.unreadable:
            raise DataError(f"{len(self.unreadable)} images have no answer:\n" + list_rows(self.unreadable))


def predict_files(source: Path, images: Sequence[Path], *, device: str, views: int = 1) -> PredictionTable:
    """Classify image files.

    Parameters
    ----------
    source : Path
        A run folder or a bundle.
    images : sequence of Path
        Image files.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    views : int
        Turned and mirrored views of each image, 1 to 8, that are averaged.

    Returns
    -------
    PredictionTable
        Probabilities with all digits, spread in nats.
    """
    predictor = EnsemblePredictor.load(source, device=device, views=views)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns(predictor.classes_.tolist()))
    unreadable = []
    for path in images:
        try:
            prediction = predictor.explain(path)
        except DataError as error:
            unreadable.append(str(error))
            continue
        writer.writerow(row(path, prediction))
    return PredictionTable(
        csv=text.getvalue(), unreadable=tuple(unreadable), demo=predictor.bundle.manifest.training_data.demo
    )
