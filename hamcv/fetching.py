"""Getting HAM10000 and the ISIC 2018 test set: what is missing is downloaded, unpacked and checked."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from rich.console import Console

from cv_folds.data.fetch.archive import remove_unfinished, unpack
from cv_folds.data.fetch.catalogue import Catalogue, RemoteFile, read_catalogue
from cv_folds.data.fetch.contents import check_contents, image_ids, listed_bytes, unpacked_folder
from cv_folds.data.fetch.published import DATASET, HAM10000, ISIC2018_TEST, PublishedArchive, PublishedSet
from cv_folds.data.fetch.table import check_table, read_image_ids
from cv_folds.data.fetch.transfer import download
from cv_folds.data.fetch.web import Patience, TransferError, check_server
from cv_folds.errors import DataError, HamcvError, UsageError
from hamcv.fetch_progress import FetchProgress, fetch_progress
from hamcv.run_folder import LOCK_FILE, hold

_LARGEST_TABLE = 16 * 2**20
_LARGEST_ARCHIVE = 8 * 2**30
# JPEG files take about as much space unpacked; a little is left for what else writes to the disk.
_GROWTH = 1.05
_SPARE = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """What `fetch` is asked to do."""

    folder: Path
    """Where HAM10000 goes; the test set goes beside it, with ``-test`` after its name."""
    test: bool
    """The test set, too."""
    server: str
    """Base address of the Dataverse server."""
    keep_archives: bool = False
    """Whether downloaded zip files stay when they are unpacked."""
    patience: Patience = field(default_factory=Patience)
    """How often to try."""


@dataclass(frozen=True, kw_only=True)
class FetchedSet:
    """A data set that is there and was checked."""

    title: str
    """For people."""
    folder: Path
    """Where it is."""
    images: int
    """How many images."""
    changed: bool
    """Whether anything had to be downloaded or unpacked."""
    by_hand: tuple[Path, ...]
    """Folders that a person unpacked: the images are there, but what they should contain is not known."""


def fetch(options: FetchOptions, console: Console) -> tuple[FetchedSet, ...]:
    """Download, unpack and check what is missing; check what is there.

    Parameters
    ----------
    options : FetchOptions
        What to do.
    console : rich.console.Console
        For bars and log, on stderr.

    Returns
    -------
    tuple of FetchedSet
        HAM10000, and the test set when it was asked for.

    Raises
    ------
    TransferError
        When the server does not give everything; says what to do by hand.
    DataError
        When what was sent or is there is not what was published.
    HamcvError
        When the disk is too full.
    RunFolderBusyError
        When another process fetches into the same folder.
    """
    folder = options.folder.expanduser()
    if folder.name in ("", ".."):
        folder = folder.resolve()
    places = [_Place(published=HAM10000, folder=folder)]
    if options.test:
        places.append(_Place(published=ISIC2018_TEST, folder=folder.with_name(f"{folder.name}-test")))
    for place in places:
        _refuse_file(place.folder)
        # Folders that a person has to look at come before hours of downloading.
        place.missing()
    with fetch_progress(console) as progress:
        work = _Work(replace(options, server=check_server(options.server)), progress)
        try:
            changed = [work.complete(place) for place in places]
        except TransferError as error:
            raise TransferError(f"{error}\n{_by_hand(places, options)}") from error
        return tuple(_verified(place, progress, changed=new) for place, new in zip(places, changed, strict=True))


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A published set and the folder for it."""

    published: PublishedSet
    folder: Path

    def table(self) -> Path | None:
        """Return the table that is there."""
        paths = (self.folder / name for name in self.published.table.names)
        return next((path for path in paths if path.is_file()), None)

    def packed(self) -> list[PublishedArchive]:
        """Return the archives that are not unpacked."""
        return [archive for archive in self.published.archives if unpacked_folder(self.folder, archive) is None]

    def missing(self) -> list[str]:
        """Return the names of the files that have to be downloaded."""
        table = [] if self.table() else [self.published.table.name]
        return table + [archive.name for archive in self.packed() if not (self.folder / archive.name).is_file()]


class _Work:
    """Completes places; asks the server for its list of files once, and only when something is missing.

    Parameters
    ----------
    options : FetchOptions
        With a checked server address.
    progress : FetchProgress
        What a person sees.
    """

    def __init__(self, options: FetchOptions, progress: FetchProgress) -> None:
        self._options = options
        self._progress = progress
        self._patience = replace(options.patience, notice=progress.say)

    @cached_property
    def _catalogue(self) -> Catalogue:
        self._progress.say(f"asking {self._options.server} for the files of {DATASET}")
        return read_catalogue(self._options.server, DATASET, self._patience)

    def complete(self, place: _Place) -> bool:
        """Download and unpack what is missing; return whether that was anything."""
        if not place.missing() and not place.packed():
            return False
        with _held(place.folder):
            remotes = {name: self._remote(place, name) for name in place.missing()}
            self._refuse_full_disk(place, remotes)
            if (table := place.published.table.name) in remotes:
                self._download(place, remotes[table], table, _LARGEST_TABLE)
                _refuse_other_table(place.folder / table)
            for archive in place.packed():
                remove_unfinished(place.folder / archive.folders[0])
                if archive.name in remotes:
                    self._download(place, remotes[archive.name], archive.name, _LARGEST_ARCHIVE)
                self._unpack(place, archive, own=archive.name in remotes)
        return True

    def _remote(self, place: _Place, name: str) -> RemoteFile:
        table = place.published.table
        return self._catalogue.find(table.names if name == table.name else (name,))

    def _download(self, place: _Place, remote: RemoteFile, name: str, limit: int) -> None:
        with self._progress.step(name, remote.size) as done:
            download(remote, place.folder / name, limit=limit, patience=self._patience, progress=done)
        checked = "" if remote.checksum is None else f", {remote.checksum.algorithm} as listed"
        size = (place.folder / name).stat().st_size
        self._progress.say(f"{name}: {size} bytes downloaded{checked}")

    def _unpack(self, place: _Place, archive: PublishedArchive, *, own: bool) -> None:
        """Unpack an archive; of those that this call downloaded, none is left that is of no more use."""
        path = place.folder / archive.name
        with self._progress.step(f"unpacking {archive.name}", path.stat().st_size) as done:
            try:
                unpack(path, place.folder / archive.folders[0], images=archive.images, progress=done)
            except DataError:
                if own:
                    path.unlink()
                raise
        if own and not self._options.keep_archives:
            path.unlink()
        self._progress.say(f"{archive.name}: {archive.images} images unpacked into {place.folder / archive.folders[0]}")

    def _refuse_full_disk(self, place: _Place, remotes: dict[str, RemoteFile]) -> None:
        """Raise when the space is not enough for the archives one after the other, each packed and unpacked."""
        held = most = 0
        for archive in place.packed():
            path = place.folder / archive.name
            size = remotes[archive.name].size or 0 if archive.name in remotes else path.stat().st_size
            there = path if path.is_file() else path.with_name(f"{path.name}.part")
            held += max(size - (there.stat().st_size if there.is_file() else 0), 0) + round(size * _GROWTH)
            most = max(most, held)
            if archive.name in remotes and not self._options.keep_archives:
                held -= size
        free = shutil.disk_usage(place.folder).free
        if most and most + _SPARE > free:
            raise HamcvError(
                f"{place.folder}: needs {_gigabytes(most + _SPARE)}, but the disk has {_gigabytes(free)} free; "
                "free the rest or name another folder"
            )


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Make a folder and keep other processes from it; when nothing came into it, it goes again."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with hold(folder, mend="wait for it or name another folder"):
            yield
    finally:
        # An empty data/ham10000 would be taken for the data by commands that are given none.
        if made and folder.is_dir() and [path.name for path in folder.iterdir()] == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
            for path in made:
                path.rmdir()


def _refuse_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; name a folder")


def _refuse_other_table(path: Path) -> None:
    try:
        read_image_ids(path)
    except DataError:
        path.unlink()
        raise


def _verified(place: _Place, progress: FetchProgress, *, changed: bool) -> FetchedSet:
    images: frozenset[str] = frozenset()
    by_hand: list[Path] = []
    for archive in place.published.archives:
        folder = unpacked_folder(place.folder, archive)
        assert folder is not None
        with progress.step(f"checking {folder.name}", listed_bytes(folder)) as done:
            if not check_contents(folder, done):
                by_hand.append(folder)
        images |= image_ids(folder)
    table = place.table()
    assert table is not None
    check_table(table, images, place.published)
    return FetchedSet(
        title=place.published.title,
        folder=place.folder,
        images=len(images),
        changed=changed,
        by_hand=tuple(by_hand),
    )


def _by_hand(places: list[_Place], options: FetchOptions) -> str:
    missing = {place: place.missing() for place in places}
    command = f"hamcv data fetch {shlex.quote(str(options.folder))}{' --test' if options.test else ''}"
    steps = [f"open {options.server}/dataset.xhtml?persistentId={DATASET} in a browser"]
    steps += [
        f"download {', '.join(names)} and put them into {place.folder.absolute()}, zip files as they are"
        for place, names in missing.items()
        if names
    ]
    steps.append(f"run `{command}`: it unpacks and checks them, without network")
    numbered = "\n".join(f"  {number}. {step}" for number, step in enumerate(steps, start=1))
    return f"What arrived is kept: the same command goes on from there. Or by hand:\n{numbered}"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
