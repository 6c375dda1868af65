"""Where the images come from when a command is given a folder, or none."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cv_folds.data.cache import cache_root
from cv_folds.data.dataset import LesionDataset
from cv_folds.data.demo import DEMO_LESION_PREFIX, demo_folder
from cv_folds.data.ham10000 import read_ham10000
from hamcv.config import DEMO

USUAL_FOLDER = Path("data", "ham10000")

DEMO_BANNER = (
    "DEMO SET: these images are generated. Scores on them show that the software works; "
    "they say nothing about skin lesions."
)


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """Which data a command works on, and why."""

    data: str
    """An absolute folder, or ``demo``."""
    reason: str
    """For the log."""


def choose_data(option: str | None) -> DataChoice:
    """Choose the data: the option, else ``HAMCV_DATA``, else ``data/ham10000`` here, else the demo set."""
    if option is not None:
        return DataChoice(data=option if option == DEMO else _absolute(option), reason="--data")
    if named := os.environ.get("HAMCV_DATA"):
        return DataChoice(data=named if named == DEMO else _absolute(named), reason="environment variable HAMCV_DATA")
    if USUAL_FOLDER.is_dir():
        return DataChoice(data=_absolute(str(USUAL_FOLDER)), reason=f"{USUAL_FOLDER} in the current folder")
    return DataChoice(data=DEMO, reason=f"no --data, no HAMCV_DATA and no {USUAL_FOLDER} here: the built-in demo set")


def open_dataset(data: str, *, limit_lesions: int | None = None, seed: int = 0) -> LesionDataset:
    """Read the dataset that `DataChoice.data` names.

    Raises
    ------
    DataError
        When the folder cannot be read as HAM10000.
    """
    if data == DEMO:
        dataset = read_ham10000(demo_folder(cache_root()), name=DEMO, demo=True)
    else:
        dataset = read_ham10000(Path(data), name=Path(data).name)
        # A demo set that was written to a folder of the user's stays one.
        generated = all(lesion.startswith(DEMO_LESION_PREFIX) for lesion in dataset.lesion_ids.tolist())
        dataset = replace(dataset, demo=generated)
    if limit_lesions is not None:
        dataset = dataset.limit_lesions(limit_lesions, np.random.default_rng([seed, limit_lesions]))
    return dataset


def _absolute(folder: str) -> str:
    return str(Path(folder).expanduser().absolute())
