"""What a person decided: a table of pairs of images that show one lesion, and one of pairs that do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cv_folds.data.dataset import LesionDataset
from cv_folds.data.readers.table import read_table
from cv_folds.disjoint_sets import DisjointSets
from cv_folds.errors import DataError, list_rows
from cv_folds.near_duplicates.settings import AuditSettings

Pair: TypeAlias = tuple[str, str]
"""Two image ids, the smaller first."""

COLUMNS = ("image_a", "image_b")


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Pairs that a person has looked at."""

    accepted: frozenset[Pair]
    """They show one lesion."""
    rejected: frozenset[Pair]
    """They do not."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    where: str
    pair: Pair


def ordered(image_a: str, image_b: str) -> Pair:
    """Return the two image ids, the smaller first."""
    return (image_a, image_b) if image_a <= image_b else (image_b, image_a)


def read_decisions(settings: AuditSettings, dataset: LesionDataset) -> Decisions:
    """Read the files of `settings.accept` and `settings.reject`.

    Parameters
    ----------
    settings : AuditSettings
        Names the files; None stands for no decisions.
    dataset : LesionDataset
        Must hold the images. All of the data, not a part of it.

    Raises
    ------
    DataError
        With every bad row at once: images that the data do not have, an image paired with itself, a pair in both
        files, rejected pairs of one lesion id, and rejected pairs that accepted ones and lesion ids join.
    """
    accepted, bad_accepted = _read(settings.accept, dataset)
    rejected, bad_rejected = _read(settings.reject, dataset)
    problems = [*bad_accepted, *bad_rejected, *_contradictions(accepted, rejected, dataset)]
    if problems:
        rows = "row" if len(problems) == 1 else "rows"
        raise DataError(f"{len(problems)} bad {rows} in the decided pairs:\n" + list_rows(problems))
    return Decisions(accepted=frozenset(row.pair for row in accepted), rejected=frozenset(row.pair for row in rejected))


def _read(file: str | None, dataset: LesionDataset) -> tuple[list[_Row], list[str]]:
    if file is None:
        return [], []
    known = set(dataset.image_ids.tolist())
    table = read_table(Path(file), required=COLUMNS)
    rows, problems = [], list(table.problems)
    for row in table.rows:
        where, image_a, image_b = row.where, row.values["image_a"], row.values["image_b"]
        unknown = [image for image in (image_a, image_b) if image not in known]
        if unknown:
            problems.append(f"{where}: the data have no image {' and no image '.join(map(repr, unknown))}")
        elif image_a == image_b:
            problems.append(f"{where}: image {image_a} is paired with itself")
        else:
            rows.append(_Row(where=where, pair=ordered(image_a, image_b)))
    return rows, problems


def _contradictions(accepted: list[_Row], rejected: list[_Row], dataset: LesionDataset) -> Iterator[str]:
    lesion_of = dict(zip(dataset.image_ids.tolist(), dataset.lesion_ids.tolist(), strict=True))
    lesions = DisjointSets()
    for row in accepted:
        lesions.join(*(lesion_of[image] for image in row.pair))
    where_accepted = {row.pair: row.where for row in accepted}
    for row in rejected:
        first, second = row.pair
        if row.pair in where_accepted:
            yield f"{row.where}: {first} and {second} are accepted in {where_accepted[row.pair]}"
        elif lesion_of[first] == lesion_of[second]:
            yield f"{row.where}: {first} and {second} have one lesion id, {lesion_of[first]}"
        elif lesions.first(lesion_of[first]) == lesions.first(lesion_of[second]):
            yield f"{row.where}: {first} and {second} are one lesion by accepted pairs and lesion ids"
