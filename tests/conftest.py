from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before any import of torch: the workers of a run inherit it, and tests must not meet the user's files.
_SCRATCH = tempfile.TemporaryDirectory(prefix="hamcv-tests-")
os.environ["HAMCV_CACHE"] = str(Path(_SCRATCH.name, "cache"))
os.environ["TORCH_HOME"] = str(Path(_SCRATCH.name, "torch"))
os.environ.pop("HAMCV_DATA", None)
# Networks this small only wait for each other's threads, the longer the busier the machine is.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _scratch() -> Iterator[None]:
    yield
    _SCRATCH.cleanup()
