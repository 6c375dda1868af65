"""Predictions of many files as a table; a file that cannot be read does not cost the others their answer."""

from __future__ import annotations

import csv
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cv_folds.errors import DataError, list_rows
from cv_folds.files import write_atomically
from ensemble import EnsemblePredictor
from hamcv.image_files import image_files
from hamcv.prediction_rows import columns, row


@dataclass(frozen=True, kw_only=True)
class Answered:
    """How the prediction of files went."""

    unanswered: tuple[str, ...]
    """One message for each file that cannot be read, and each folder or pattern without an image."""
    demo: bool
    """True when the ensemble was trained on the generated demo set: its answers mean nothing."""

    def refuse_unanswered(self) -> None:
        """Raise `DataError` that lists what has no answer, if there is anything."""
        if self.unanswered:
            raise DataError(f"{len(self.unanswered)} without an answer:\n" + list_rows(self.unanswered))


def predict_files(
    source: Path, given: Sequence[str], *, output: Path | None, device: str, views: int = 1, spins: int | None = None
) -> Answered:
    """Classify image files and write a table, a row a readable file, as the answers come.

    Parameters
    ----------
    source : Path
        A run folder or a bundle.
    given : sequence of str
        Files, folders and patterns, as `image_files` takes them.
    output : Path, optional
        A CSV file, which appears when it is complete; without it, the table goes to stdout.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    views, spins : int
        Views of each image that are averaged; see `EnsemblePredictor.load`.

    Returns
    -------
    Answered
    """
    predictor = EnsemblePredictor.load(source, device=device, views=views, spins=spins)
    unanswered: list[str] = []

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            unanswered.extend(_write_table(predictor, given, stream))

    if output is None:
        unanswered.extend(_write_table(predictor, given, sys.stdout))
    else:
        write_atomically(output, write)
    return Answered(unanswered=tuple(unanswered), demo=predictor.bundle.manifest.training_data.demo)


def _write_table(predictor: EnsemblePredictor, given: Sequence[str], stream: TextIO) -> list[str]:
    """Write the table; return why some have no row."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns(predictor.classes_.tolist()))
    unanswered: list[str] = []
    asked: deque[Path] = deque()

    def paths() -> Iterator[Path]:
        for found in image_files(given):
            if isinstance(found, DataError):
                unanswered.append(str(found))
            else:
                asked.append(found)
                yield found

    for answer in predictor.try_each(paths()):
        path = asked.popleft()
        if isinstance(answer, DataError):
            unanswered.append(str(answer))
        else:
            writer.writerow(row(path, answer))
    return unanswered
