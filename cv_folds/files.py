"""Writing files so that a reader meets either the old content or the new, never a part.

Guarantee: the content is written beside the target, synced to disk and renamed over it (POSIX rename is
atomic within one file system). A crash or a full disk leaves the target as it was, and at most one
``*.partial-<pid>-<thread>`` file, which is removed when the failure is seen by this process.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"
"""Between the name of a file that is being written and the process and thread that write it."""


def write_atomically(path: Path, write: Callable[[Path], object], *, sync: bool = True) -> None:
    """Call `write` with a temporary path in the same folder, then rename it to `path`.

    Parameters
    ----------
    path : Path
        The target; its folder is made when missing.
    write : callable
        Receives the temporary path and writes the whole content there.
    sync : bool
        Whether to wait until the disk has it, which takes a busy one a fifth of a second. Without, a power cut may
        leave the new name without its content: only for files that one command makes again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}{PARTIAL}{os.getpid()}-{threading.get_ident()}")
    try:
        write(partial)
        if sync:
            with partial.open("rb") as stream:
                os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN and infinities raise, since no JSON reader agrees on them."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
