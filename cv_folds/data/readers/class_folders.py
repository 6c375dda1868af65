"""One folder a class, with or without ``train``, ``val`` and ``test`` above them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cv_folds.data.dataset import ImageRow
from cv_folds.data.readers.choosing import choose_table
from cv_folds.data.readers.columns import find_columns
from cv_folds.data.readers.listing import Listing
from cv_folds.data.readers.naming import alike_but_for_case, image_ids
from cv_folds.data.readers.reader import Reader, Reading
from cv_folds.data.readers.table import read_table
from cv_folds.data.readers.values import PARTS, known, name_complaint
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import DataError

_ROLES = ("image", "lesion")

# Image folders of the published layouts: without their table they are no classes.
_PUBLISHED = re.compile(r"ham10000_|isic_?20\d\d_")


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """Images with the names of the folders above them, without folders that hold all the rest."""

    listing: Listing
    paths: tuple[Path, ...]
    folders: tuple[tuple[str, ...], ...]

    @cached_property
    def has_parts(self) -> bool:
        return any(above and above[0].lower() in PARTS for above in self.folders)

    def part_of(self, above: tuple[str, ...]) -> str:
        return PARTS[above[0].lower()] if self.has_parts else ""

    def class_of(self, above: tuple[str, ...]) -> str | None:
        """Return the class; None for an image that lies beside the class folders."""
        level = 1 if self.has_parts else 0
        return above[level] if len(above) > level else None

    def beside_parts(self) -> list[str]:
        """Return the folders that stand beside the parts of a split."""
        tops = {above[0] for above in self.folders if above}
        return sorted(top for top in tops if top.lower() not in PARTS) if self.has_parts else []

    def classes(self) -> list[str]:
        """Return the names of the classes, sorted."""
        return sorted({name for above in self.folders if (name := self.class_of(above)) is not None})


@dataclass(frozen=True, kw_only=True)
class _Groups:
    """What a table of groups gives."""

    lesions: dict[Path, str]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def _tree(listing: Listing) -> _Tree:
    above = [path.relative_to(listing.root).parts[:-1] for path in listing.images]
    while above and all(above) and len(first := {folders[0] for folders in above}) == 1:
        if first.pop().lower() in PARTS:
            break
        above = [folders[1:] for folders in above]
    return _Tree(listing=listing, paths=listing.images, folders=tuple(above))


def _recognises(listing: Listing, _: ColumnSettings) -> bool:
    tree = _tree(listing)
    classes = tree.classes()
    return len(classes) > 1 and not any(_PUBLISHED.match(name.lower()) for name in classes)


def _read(listing: Listing, settings: ColumnSettings) -> Reading:
    tree = _tree(listing)
    if beside := tree.beside_parts():
        raise DataError(
            f"{listing.root}: folders that stand beside the parts of a split and are none: {', '.join(beside)}; "
            f"move them away (parts are {', '.join(PARTS)})"
        )
    if len(classes := tree.classes()) < 2:
        raise DataError(
            f"{listing.root}: one folder a class needs at least two folders with images side by side. "
            f"It holds:\n{listing.describe()}"
        )
    notes = []
    inside = [index for index, above in enumerate(tree.folders) if tree.class_of(above) is not None]
    if outside := Counter("/".join(above) or "." for above in tree.folders if tree.class_of(above) is None):
        places = ", ".join(f"{number} in {place}" for place, number in sorted(outside.items()))
        notes.append(f"images in no class folder are left out: {places}")
    paths = [tree.paths[index] for index in inside]
    groups = _read_groups(listing, paths, settings)
    problems = list(groups.problems)
    problems.extend(f"folder {name}: {bad}" for name in classes if (bad := name_complaint("class", name)) is not None)
    problems.extend(f"folders {' and '.join(names)} differ only in case" for names in alike_but_for_case(classes))
    names = [listing.relative(path) for path in paths]
    rows = []
    for index, path, name, image_id in zip(inside, paths, names, image_ids(names), strict=True):
        diagnosis = tree.class_of(tree.folders[index])
        assert diagnosis is not None
        rows.append(
            ImageRow(
                where=name,
                image_id=image_id,
                lesion_id=groups.lesions.get(path, ""),
                diagnosis=diagnosis,
                dx_type="",
                age=math.nan,
                sex="",
                localization="",
                path=path,
                part=tree.part_of(tree.folders[index]),
            )
        )
    return Reading(rows=tuple(rows), problems=tuple(problems), notes=(*notes, *groups.notes))


def _read_groups(listing: Listing, paths: Sequence[Path], settings: ColumnSettings) -> _Groups:
    table = choose_table(listing, settings, roles=_ROLES)
    if table is None:
        if named := [f"columns.{role}={name}" for role, name in settings.named().items()]:
            raise DataError(
                f"{listing.root}: no table of groups has {' and '.join(named)}. It holds:\n{listing.describe()}"
            )
        return _Groups(lesions={}, problems=(), notes=())
    content = read_table(table, required=())
    columns = find_columns(table, content.columns, settings, needed=_ROLES)
    wanted = set(paths)
    lesions: dict[Path, str] = {}
    problems = list(content.problems)
    for row in content.rows:
        image, lesion = row.values[columns.image], known(row.values[columns.lesion])
        found = [path for path in listing.named(image) if path in wanted] if image else []
        if not image:
            problems.append(f"{row.where}: {columns.image} is empty")
        elif not found:
            problems.append(f"{row.where}: image {image} is in no class folder")
        elif len(found) > 1:
            places = ", ".join(listing.relative(path) for path in found)
            problems.append(f"{row.where}: image {image} can be any of {places}; give the path")
        elif lesion and (complaint := name_complaint(columns.lesion, lesion)) is not None:
            problems.append(f"{row.where}: {complaint}")
        elif (before := lesions.setdefault(found[0], lesion)) != lesion:
            first, second = before or "no lesion", lesion or "no lesion"
            problems.append(f"{row.where}: image {image} has {second} here but {first} before")
    note = f"lesions are those of column {columns.lesion} of {listing.relative(table)}"
    return _Groups(lesions=lesions, problems=tuple(problems), notes=(note,))


FOLDERS = Reader(
    looks_for="one folder with images for each class, with or without train, val and test above them",
    recognises=_recognises,
    read=_read,
    columns=frozenset({"table", *_ROLES}),
)
