"""Anyone's published split: what was trained, chosen and tested on, read from a table of whatever form.

Understood are long tables (an image a row, with a fold, a part or both) and wide ones (a column a fold that says train
or test, or 1 and 0; or a column a part or fold that lists image ids).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cv_folds.errors import DataError
from cv_folds.fold_file import FOLD_COLUMNS
from cv_folds.split_cells import YES, fold_number, is_flag, is_fold, is_part, refuse_others, share_of
from cv_folds.split_table import ROLES, Role, SplitTable, column_named, id_columns, image_name, read_split_table

_MOST_FOLDS = 100
_ENOUGH = 0.5
"""Share of its filled cells that must name a part for a column of any name to hold parts."""
_A_PART, _A_FOLD = "a part (train, validation or test)", "the number of a fold"
_FILL_WORDS = frozenset({"is", "in", "id", "ids", "image", "images"})


@dataclass(frozen=True, kw_only=True)
class SplitColumns:
    """What a user says about a table, where guessing does not do."""

    image: str | None = None
    """The column of image ids."""
    split: tuple[str, ...] = ()
    """The column of folds or parts, or one column a fold."""
    ones: Role | None = None
    """What a 1 means in columns of 1 and 0."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One training and what it was tested on; image ids, of the dataset or not."""

    name: str
    """Which fold; empty when there is only one training."""
    train: frozenset[str]
    """Trained on."""
    validation: frozenset[str]
    """Chosen on; mostly empty."""
    test: frozenset[str]
    """Tested on; empty where the validation part is all there is."""


@dataclass(frozen=True, kw_only=True)
class PublishedSplit:
    """A split as it was understood."""

    path: Path
    """The file."""
    understood: str
    """How, in one sentence."""
    partitions: tuple[Partition, ...]
    """One a fold, or one."""

    @property
    def images(self) -> frozenset[str]:
        """All image ids that have a part."""
        return frozenset(name for part in self.partitions for name in part.train | part.validation | part.test)


@dataclass(kw_only=True)
class _Parts:
    """Images by partition and role, while rows are read."""

    found: dict[str, dict[Role, set[str]]] = field(default_factory=dict)

    def add(self, partition: str, role: Role, image: str) -> None:
        self.found.setdefault(partition, {}).setdefault(role, set()).add(image)

    def partitions(self) -> tuple[Partition, ...]:
        return tuple(
            Partition(
                name=name,
                train=frozenset(roles.get("train", ())),
                validation=frozenset(roles.get("validation", ())),
                test=frozenset(roles.get("test", ())),
            )
            for name, roles in self.found.items()
        )


def read_published_split(path: Path, known: Collection[str], columns: SplitColumns | None = None) -> PublishedSplit:
    """Read a split.

    Parameters
    ----------
    path : Path
        A table as `read_split_table` takes it.
    known : collection of str
        The image ids of the dataset.
    columns : SplitColumns, optional
        What shall not be guessed.

    Raises
    ------
    DataError
        When the table cannot be understood; the message names its columns and how to name the right ones.
    """
    columns = columns or SplitColumns()
    table = read_split_table(path, known)
    if columns.image is not None:
        images: tuple[str, ...] = (column_named(table, columns.image, "image column"),)
    else:
        images = _distinct(table, id_columns(table, known))
    if not images:
        first = ", ".join(f"{name} = {cell!r}" for name, cell in zip(table.columns, table.rows[0], strict=True))
        raise DataError(
            f"{path}: no column holds image ids of this data set (its first row: {first}); is it a split of other "
            "images? Name the column if there is one."
        )
    if len(images) > 1 and not columns.split:
        understood, parts = _from_lists(table, images)
    else:
        named = [column_named(table, name, "split column") for name in columns.split]
        understood, parts = _from_rows(table, images[0], named, columns.ones)
    partitions = parts.partitions()
    if not any(partition.train and (partition.validation or partition.test) for partition in partitions):
        raise DataError(f"{path}: {understood}, but then nothing is tested on other images than those trained on")
    return PublishedSplit(path=path, understood=understood, partitions=partitions)


def _distinct(table: SplitTable, columns: Sequence[str]) -> tuple[str, ...]:
    """Leave out columns that repeat the ids of an earlier one, as a path beside an id does."""
    kept: dict[tuple[str, ...], str] = {}
    for name in columns:
        kept.setdefault(tuple(image_name(cell) for cell in table.cells(name)), name)
    return tuple(kept.values())


def _from_lists(table: SplitTable, columns: Sequence[str]) -> tuple[str, _Parts]:
    """Read columns that list the ids of a part or a fold each."""
    inside = {name: [image_name(cell) for cell in table.cells(name) if cell] for name in columns}
    roles = {name: _role_in_name(name) for name in columns}
    parts = _Parts()
    if all(role is None for role, _ in roles.values()):
        if strange := [name for name in columns if not re.search(r"\d", name)]:
            raise DataError(
                f"{table.path}: the columns {', '.join(columns)} list images, but {', '.join(strange)} names no part "
                "such as train or test and no fold such as fold_1; rename or remove it"
            )
        _add_folds(parts, columns, [(place, image) for place, name in enumerate(columns) for image in inside[name]])
        return f"the columns {', '.join(columns)} list the images of a fold each", parts
    for name, (role, partition) in roles.items():
        if role is None:
            raise DataError(f"{table.path}: column {name} lists images, but its name is no part such as train or test")
        for image in inside[name]:
            parts.add(partition, role, image)
    return f"the columns {', '.join(columns)} list the images of a part each", parts


def _from_rows(table: SplitTable, images: str, named: Sequence[str], ones: Role | None) -> tuple[str, _Parts]:
    """Read a table with an image a row."""
    ids = [image_name(cell) for cell in table.cells(images)]
    others = named or [name for name in table.columns if name != images]
    meant = {name for name in others if named or _is_fold_column(table, name)}
    words = [name for name in others if _holds_parts(table, name, meant=name in meant)]
    folds = [name for name in others if name in meant and name not in words]
    if len(folds) > 1:
        # Of several, those that hold no fold at all are no candidates: a "set" that names a hospital.
        folds = [name for name in folds if share_of(table, name, lambda cell: is_fold(cell) or is_flag(cell))]
    flags = [name for name in folds if share_of(table, name, is_flag) == 1]
    if len(words) == 1 and len(folds) == 1 and len(set(ids)) < len(ids):
        return _by_fold_and_part(table, ids, folds[0], words[0])
    if words:
        return _by_words(table, ids, words)
    if len(folds) == 1 and (flags != folds or _is_exactly_fold(folds[0])):
        return _by_fold(table, ids, folds[0])
    if folds and all(share_of(table, name, is_flag) >= _ENOUGH for name in folds):
        return _by_flags(table, ids, folds, ones)
    found = f"{', '.join(folds)} could all be meant" if folds else "none looks like it"
    raise DataError(
        f"{table.path}: which column holds the fold or the part (train, validation, test)? Of "
        f"{', '.join(table.columns)}, {found}; name it."
    )


def _by_fold(table: SplitTable, ids: Sequence[str], column: str) -> tuple[str, _Parts]:
    refuse_others(table, column, is_fold, _A_FOLD)
    parts = _Parts()
    # A fold is told by its number, however it is spelt in other rows, and called as it is spelt first.
    names: dict[int, str] = {}
    rows = []
    for cell, image in zip(table.cells(column), ids, strict=True):
        if (number := fold_number(cell)) is not None:
            names.setdefault(number, cell)
            rows.append((number, image))
    numbers = sorted(names)
    _add_folds(parts, [names[number] for number in numbers], [(numbers.index(number), image) for number, image in rows])
    return f"column {column} holds the fold in which an image is tested", parts


def _by_words(table: SplitTable, ids: Sequence[str], columns: Sequence[str]) -> tuple[str, _Parts]:
    parts = _Parts()
    for name in columns:
        refuse_others(table, name, is_part, _A_PART)
        for cell, image in zip(table.cells(name), ids, strict=True):
            if cell:
                parts.add(name if len(columns) > 1 else "", ROLES[cell.lower()], image)
    each = "s" if len(columns) == 1 else " each, one a training,"
    return f"the column{'s' * (len(columns) > 1)} {', '.join(columns)} hold{each} the part of an image", parts


def _by_fold_and_part(table: SplitTable, ids: Sequence[str], fold: str, part: str) -> tuple[str, _Parts]:
    refuse_others(table, fold, is_fold, _A_FOLD)
    refuse_others(table, part, is_part, _A_PART)
    parts = _Parts()
    names: dict[int, str] = {}
    for cell, word, image in zip(table.cells(fold), table.cells(part), ids, strict=True):
        if (number := fold_number(cell)) is not None and word:
            parts.add(names.setdefault(number, cell), ROLES[word.lower()], image)
    return f"column {part} holds the part of an image in the training that column {fold} names", parts


def _by_flags(table: SplitTable, ids: Sequence[str], columns: Sequence[str], ones: Role | None) -> tuple[str, _Parts]:
    for name in columns:
        refuse_others(table, name, is_flag, "1 or 0")
    parts = _Parts()
    roles = {name: _role_in_name(name) for name in columns}
    flags = {name: [cell.lower() in YES for cell in table.cells(name)] for name in columns}
    if len({role for role, _ in roles.values()} - {None}) > 1:
        for name, (role, partition) in roles.items():
            if role is not None:
                for image in (image for image, on in zip(ids, flags[name], strict=True) if on):
                    parts.add(partition, role, image)
        return f"a 1 in {', '.join(columns)} puts an image into that part", parts
    meaning = ones or _meaning_of_ones(table, list(flags.values()), {role for role, _ in roles.values()} - {None})
    other: Role = "train" if meaning != "train" else "test"
    for name, ons in flags.items():
        for cell, image, on in zip(table.cells(name), ids, ons, strict=True):
            if cell:
                parts.add(name if len(columns) > 1 else "", meaning if on else other, image)
    return f"a 1 in {', '.join(columns)} means {meaning}, a 0 {other}", parts


def _meaning_of_ones(table: SplitTable, flags: Sequence[Sequence[bool]], named: Collection[Role | None]) -> Role:
    """Tell from names, or from how often an image has a 1, what it means."""
    for role in named:
        if role is not None:
            return role
    sums = {sum(row) for row in zip(*flags, strict=True)}
    if len(flags) > 2 and sums <= {0, 1}:
        return "test"
    if len(flags) > 2 and sums <= {len(flags) - 1, len(flags)}:
        return "train"
    raise DataError(f"{table.path}: does a 1 mean that an image is tested or trained on? The table does not tell")


def _add_folds(parts: _Parts, names: Sequence[str], rows: Sequence[tuple[int, str]]) -> None:
    """Make of rows, each a place in `names` and an image, a training a fold: tested on it and trained on the others."""
    for place, name in enumerate(names):
        for other, image in rows:
            parts.add(name, "test" if other == place else "train", image)


def _role_in_name(name: str) -> tuple[Role | None, str]:
    """Return the part that a column's name has in it, and the rest of the name: the training it belongs to."""
    tokens = re.findall(r"[a-z]+|\d+", name.lower())
    role = next((ROLES[token] for token in tokens if token in ROLES), None)
    rest = [token for token in tokens if token not in ROLES and token not in _FILL_WORDS]
    return role, " ".join(rest)


def _holds_parts(table: SplitTable, name: str, *, meant: bool) -> bool:
    """Tell whether a column is one of parts; in one that is `meant`, a single word for a part tells."""
    parts = share_of(table, name, is_part)
    return parts > 0 and parts >= (share_of(table, name, is_fold) if meant else _ENOUGH)


def _is_fold_column(table: SplitTable, name: str) -> bool:
    tokens = set(re.findall(r"[a-z]+", name.lower()))
    like = tokens & ({"fold", "folds", "kfold", "cv", "split", "partition", "set", "subset", "part"} | ROLES.keys())
    values = {cell for cell in table.cells(name) if cell}
    return bool(like) and 2 <= len(values) <= _MOST_FOLDS


def _is_exactly_fold(name: str) -> bool:
    tokens = "".join(re.findall(r"[a-z]+", name.lower()))
    return tokens in {column.replace("_", "") for column in FOLD_COLUMNS} and not re.search(r"\d", name)
