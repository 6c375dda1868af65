"""Where the images come from when a command is given a folder, or none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cv_folds.data.cache import cache_root
from cv_folds.data.dataset import LesionDataset
from cv_folds.data.demo import DEMO_LESION_PREFIX, demo_folder
from cv_folds.data.readers import AUTO, read_dataset
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import UsageError
from hamcv.config import resolve
from hamcv.run_config import DEMO, RunConfig
from reports.wording import listing

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


def open_dataset(
    data: str,
    *,
    format: str = AUTO,  # noqa: A002 - named as its option is
    columns: ColumnSettings | None = None,
    limit_lesions: int | None = None,
    seed: int = 0,
) -> LesionDataset:
    """Read the dataset that `DataChoice.data` names.

    Parameters
    ----------
    data : str
        A folder, or ``demo``.
    format : str
        Its layout, one of `cv_folds.data.readers.FORMATS`.
    columns : ColumnSettings, optional
        Which columns a plain table, or a table of groups, has.
    limit_lesions : int, optional
        Keep a random subset of about this many lesions.
    seed : int
        Of the subset.

    Raises
    ------
    UsageError
        When there is no such format, one is forced on the demo set, or the data have not the columns that are set.
    DataError
        When the folder cannot be read.
    """
    if data == DEMO:
        if format not in (AUTO, "ham10000"):
            raise UsageError(f"--format {format}: the demo set is in the layout ham10000; name a folder with --data")
        dataset = read_dataset(demo_folder(cache_root()), layout="ham10000", columns=columns, name=DEMO, demo=True)
    else:
        dataset = read_dataset(Path(data), layout=format, columns=columns)
        # A demo set that was written to a folder of the user's stays one.
        generated = all(lesion.startswith(DEMO_LESION_PREFIX) for lesion in dataset.lesion_ids.tolist())
        dataset = replace(dataset, demo=generated)
    return limited(dataset, limit_lesions, seed=seed)


def part_of_run(whole: LesionDataset, config: RunConfig) -> LesionDataset:
    """Return the images that a run works on: of some lesions or all, all of a lesion or one."""
    dataset = limited(whole, config.limit_lesions, seed=config.seed)
    return dataset.one_image_per_lesion() if config.unit == "lesion" else dataset


def limited(dataset: LesionDataset, limit_lesions: int | None, *, seed: int) -> LesionDataset:
    """Return a random subset of about this many lesions, or all when it is None."""
    if limit_lesions is None:
        return dataset
    return dataset.limit_lesions(limit_lesions, np.random.default_rng([seed, limit_lesions]))


def settings_of_data(
    data: str,
    layout: str | None,
    assignments: Sequence[str] | None,
    *,
    allowed: Sequence[str] = ("columns.KEY",),
    options: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Resolve ``--format`` and ``--set`` for commands that take only some of the settings of a run.

    Parameters
    ----------
    data : str
        A folder, or ``demo``.
    layout : str or None
        Of ``--format``.
    assignments : sequence of str or None
        Of ``--set``.
    allowed : sequence of str
        What may be set: ``NAME.KEY`` for a whole table of settings, ``NAME`` for a single one.
    options : mapping, optional
        Further settings: dotted key to value; values of None are passed over.

    Raises
    ------
    UsageError
        When an assignment sets something else, or a setting is wrong.
    """
    given, known = list(assignments or []), {_table_or_key(name) for name in allowed}
    if other := [text for text in given if _table_or_key(text.partition("=")[0].strip()) not in known]:
        raise UsageError(f"--set {', '.join(other)}: this command takes {listing(tuple(allowed))} only")
    return resolve("default", {"data": data, "format": layout, **(options or {})}, given)


def open_with_options(data: str, layout: str | None, assignments: Sequence[str] | None) -> LesionDataset:
    """Read a dataset with ``--format`` and ``--set columns.KEY=NAME``, for commands without further settings.

    Raises
    ------
    UsageError
        When an assignment sets something else, or a setting is wrong.
    DataError
        When the folder cannot be read.
    """
    config = settings_of_data(data, layout, assignments)
    return open_dataset(config.data, format=config.format, columns=config.columns)


def _table_or_key(key: str) -> str:
    """Return what a setting belongs to: a table, which ends in a dot, or nothing but itself."""
    name, dot, _ = key.partition(".")
    return name + dot


def _absolute(folder: str) -> str:
    return str(Path(folder).expanduser().absolute())
