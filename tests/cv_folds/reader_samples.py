"""Small folders in the published layouts, written as their files really look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from cv_folds_samples import random_image

from cv_folds.data.dataset import LesionDataset
from cv_folds.data.readers import AUTO, read_dataset
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import DataError

ISIC2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
ISIC2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")

FORMS = [
    {"start": start, "separator": separator, "line_end": line_end}
    for start in ("", "\ufeff")
    for separator in (",", "\t", ";")
    for line_end in ("\n", "\r\n", "\r")
]
"""Byte order mark, separator and line end, in all combinations."""


def write_table(
    path: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    start: str = "",
    separator: str = ",",
    line_end: str = "\n",
) -> Path:
    lines = [separator.join(cells) for cells in (header, *rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((start + line_end.join(lines) + line_end).encode())
    return path


def write_images(folder: Path, names: Sequence[str], *, first: int = 0) -> None:
    """Write different small images; a name without extension gets ``.jpg``."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names, start=first):
        random_image(seed).save(folder / (name if "." in name else f"{name}.jpg"))


def one_hot(classes: Sequence[str], truth: Mapping[str, str]) -> list[list[str]]:
    """Return the rows of a truth table: image id to class."""
    return [[image, *("1.0" if name == of else "0.0" for name in classes)] for image, of in truth.items()]


def row_of(dataset: LesionDataset, image_id: str) -> dict[str, object]:
    """Return all that a dataset says of one image."""
    (row,) = (index for index, name in enumerate(dataset.image_ids.tolist()) if name == image_id)
    return {
        "lesion": str(dataset.lesion_ids[row]),
        "given": bool(dataset.lesion_given[row]),
        "class": dataset.classes[dataset.labels[row]],
        "dx_type": str(dataset.dx_types[row]),
        "age": float(dataset.ages[row]),
        "sex": str(dataset.sexes[row]),
        "site": str(dataset.localizations[row]),
        "part": str(dataset.parts[row]),
        "file": dataset.paths[row].name,
    }


def complaint(root: Path, layout: str = AUTO, columns: ColumnSettings | None = None) -> str:
    """Return the message about a folder that cannot be read."""
    with pytest.raises(DataError) as caught:
        read_dataset(root, layout=layout, columns=columns)
    assert caught.value.exit_code == 3
    return str(caught.value)
