"""The run folder as one writer's property: locked while in use, resumed or refused by its settings."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cv_folds.errors import RunFolderBusyError, UsageError, list_rows
from cv_folds.files import write_text
from hamcv.config import differences, read_config
from hamcv.run_config import RunConfig

CONFIG_FILE = "config.toml"
LOCK_FILE = ".lock"
WAIT = "wait for it"
"""The mend where a run folder is meant that exists."""

_DONE_ANEW = {"ensemble.": "combined anew with", "report.": "scored and reported anew with"}
"""Beginnings of the settings that no training depends on, so that a run goes on with others of them, and the words."""

_FIRST_JOB_BYTE = 2**20

CHANGEABLE = frozenset({"nested"})
"""Settings that a run may be resumed with other values of: they add jobs to it, and change none."""


@contextmanager
def open_run_folder(folder: Path, config: RunConfig, *, overwrite: bool) -> Iterator[Callable[[], None]]:
    """Take hold of a run folder: a new one, one with the same settings, or one that may be overwritten.

    Nothing in it changes before the yielded function is called; a new folder is removed again when it never is.

    Parameters
    ----------
    folder : Path
        Made when missing.
    config : RunConfig
        The settings of this run.
    overwrite : bool
        Remove what an earlier run left there.

    Yields
    ------
    callable
        To be called once when everything was checked: removes the old content when asked to, and writes
        ``config.toml``.

    Raises
    ------
    RunFolderBusyError
        When another process holds the folder.
    UsageError
        When the folder holds something else, or a run with other settings (the difference is shown). Those of
        `CHANGEABLE` may differ, and those of ensembles and reports: both are made anew at the end of every run.
    """
    _refuse_foreign(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {folder}: cannot be made ({error.strerror}); name another folder") from error
    with hold(folder):
        if not overwrite and (folder / CONFIG_FILE).is_file():
            _refuse_other_settings(folder, config)

        def begin() -> None:
            if overwrite:
                _clear(folder)
            write_text(folder / CONFIG_FILE, config.to_toml())

        try:
            yield begin
        finally:
            if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
                (folder / LOCK_FILE).unlink()
                for path in made:
                    path.rmdir()


def refuse_run_folder(folder: Path, config: RunConfig, *, overwrite: bool) -> None:
    """Raise what `open_run_folder` would raise for the same arguments; write nothing, and hold nobody up.

    Parameters
    ----------
    folder, config, overwrite
        As there.

    Raises
    ------
    RunFolderBusyError, UsageError
    """
    _refuse_foreign(folder)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        words = "may not be written to" if there.is_dir() else "is a file"
        raise UsageError(f"--out {folder}: cannot be used ({there} {words}); name another folder")
    with keep_unchanged(folder):
        if not overwrite and (folder / CONFIG_FILE).is_file():
            _refuse_other_settings(folder, config)


@contextmanager
def hold(folder: Path, *, mend: str = "wait for it or choose another --out") -> Iterator[None]:
    """Keep other processes from writing to a run folder; `RunFolderBusyError`, ending in `mend`, when one does."""
    path = folder / LOCK_FILE
    # `lockf`, not `flock`: the lock must not live on in a worker that outlives its parent.
    with path.open("a+", encoding="ascii") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            stream.seek(0)
            holder = stream.read().strip()
            who = f"another process (id {holder})" if holder else "another process, here or on another machine"
            raise RunFolderBusyError(f"{folder} is in use by {who}; {mend}") from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        try:
            yield
        finally:
            # Jobs of an array leave no name; whoever meets one of them shall not read ours.
            stream.truncate(0)


@contextmanager
def keep_unchanged(folder: Path) -> Iterator[None]:
    """Keep other processes from changing a run folder while it is read; any number may read it.

    Parameters
    ----------
    folder : Path
        A run folder. Nothing is written to it; a copy that has no lock file is nobody's.

    Raises
    ------
    RunFolderBusyError
        When another process writes to it.
    """
    path = folder / LOCK_FILE
    if not path.is_file():
        yield
        return
    with path.open("rb") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise RunFolderBusyError(f"{folder} is in use by another process, which may change it; wait") from error
        yield


@contextmanager
def hold_job(folder: Path, index: int) -> Iterator[None]:
    """Keep other processes from a job of a run folder, and from the folder as a whole, but not from its other jobs.

    Parameters
    ----------
    folder : Path
        A run folder.
    index : int
        The number of the job.

    Raises
    ------
    RunFolderBusyError
        When another process works on this job, or holds the whole folder.
    """
    with (folder / LOCK_FILE).open("a+", encoding="ascii") as stream:
        try:
            # One byte a job, far behind the content; whoever holds the folder has locked all bytes.
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _FIRST_JOB_BYTE + index)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise RunFolderBusyError(
                f"{folder}: another process works on job {index} or on the whole run; wait for it"
            ) from error
        yield


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: is a file; name a folder")
    if folder.is_dir() and not (folder / CONFIG_FILE).is_file():
        content = [path.name for path in folder.iterdir() if path.name != LOCK_FILE]
        if content:
            raise UsageError(
                f"--out {folder}: holds {', '.join(sorted(content)[:5])} and no run; name a new or empty folder"
            )


def done_anew(folder: Path, config: RunConfig) -> list[str]:
    """Say which settings of ensembles and report are not those of a run folder, a line each."""
    if not (folder / CONFIG_FILE).is_file():
        return []
    changed = differences(read_config(folder / CONFIG_FILE), config)
    return [f"{words} {line}" for line in changed for start, words in _DONE_ANEW.items() if line.startswith(start)]


def _refuse_other_settings(folder: Path, config: RunConfig) -> None:
    changed = differences(read_config(folder / CONFIG_FILE), config, but=CHANGEABLE)
    if changed := [line for line in changed if not line.startswith(tuple(_DONE_ANEW))]:
        raise UsageError(
            f"{folder} holds a run with other settings:\n{list_rows(changed)}\n"
            "Repeat those settings to resume it, choose another --out, or start afresh with --overwrite."
        )


def _clear(folder: Path) -> None:
    # The settings last: as long as they are there, the folder is known for a run.
    for path in sorted(folder.iterdir(), key=lambda path: path.name == CONFIG_FILE):
        if path.name == LOCK_FILE:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
