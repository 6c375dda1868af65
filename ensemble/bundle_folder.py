"""Making the folder of a bundle.

Guarantee: it is filled beside its place, verified, and renamed into place when complete; a failure leaves what was
there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cv_folds.errors import DataError, UsageError
from cv_folds.files import sha256, write_json, write_text
from ensemble.bundle import MANIFEST, read_bundle
from ensemble.manifest import Manifest
from ensemble.model_card import model_card

CARD = "README.md"


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Return a new folder that takes the place of `folder` in the end, if it then is a sound bundle.

    Parameters
    ----------
    folder : Path
        Replaced when it is a bundle.

    Raises
    ------
    UsageError
        When `folder` exists and is no bundle.
    """
    refuse_other_content(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        read_bundle(partial)
        _move_into_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write the model card, and the manifest with the checksum of every file in a folder.

    Parameters
    ----------
    folder : Path
        Holds everything else.
    manifest : Manifest
        Its checksums are taken over; other files are read for theirs.

    Returns
    -------
    Manifest
        As it was written.
    """
    write_text(folder / CARD, model_card(manifest))
    known = {name: digest for name, digest in manifest.files.items() if name != CARD}
    names = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)
    sealed = manifest.model_copy(update={"files": {name: known.get(name) or sha256(folder / name) for name in names}})
    write_json(folder / MANIFEST, sealed.model_dump(mode="json", by_alias=True))
    return sealed


def add_file(source: Path, target: Path, what: str) -> None:
    """Link a file where the file system can, else copy it; `DataError` when it is missing says that it is `what`."""
    if not source.is_file():
        raise DataError(f"{source}, {what}, is missing; run again to train it")
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without hard links.
        shutil.copyfile(source, target)


def refuse_other_content(folder: Path) -> None:
    """Raise `UsageError` when a folder holds something and is no bundle."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MANIFEST).is_file())):
        raise UsageError(f"{folder} exists and is no bundle; choose another folder or remove it")


def _move_into_place(partial: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    try:
        partial.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
