"""The log of a run: plain lines on stderr for a person, ``log.jsonl`` for a program."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

LOGGER = logging.getLogger("hamcv")


class _JsonLines(logging.FileHandler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write one JSON object a line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "message": record.getMessage()}
        assert self.stream is not None
        self.stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.flush()


class _OnConsole(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line above any progress bar."""
        style = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname)
        self._console.print(record.getMessage(), style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def logging_to(console: Console, file: Path | None = None) -> Iterator[logging.Logger]:
    """Send the log to a console and, when given, to a file that is appended to."""
    handlers: list[logging.Handler] = [_OnConsole(console)]
    if file is not None:
        handlers.append(_JsonLines(file, encoding="utf-8"))
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    for handler in handlers:
        LOGGER.addHandler(handler)
    try:
        yield LOGGER
    finally:
        for handler in handlers:
            LOGGER.removeHandler(handler)
            handler.close()
