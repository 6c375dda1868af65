from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest_runs import TINY, carry_out

from cv_folds.data.demo import write_demo_set
from hamcv.cli import main
from hamcv.config import resolve
from hamcv.run_config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo set of 60 lesions, in the official layout."""
    folder = tmp_path_factory.mktemp("data") / "small"
    write_demo_set(folder, seed=1, n_lesions=60, n_images=84)
    return folder


@pytest.fixture(scope="session")
def tiny_config(small_data: Path) -> RunConfig:
    """Two small networks, three folds, two epochs."""
    return resolve("demo", TINY | {"data": str(small_data)})


@pytest.fixture(scope="session")
def tiny_run(tiny_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests that change it work on a copy."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    carry_out(tiny_config, out)
    return out


@pytest.fixture
def hamcv(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Screen]]:
    """Call the command line in this process."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(*arguments: str | Path) -> Screen:
        monkeypatch.setattr(sys, "argv", ["hamcv", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        code = ended.value.code
        return Screen(code=code if isinstance(code, int) else 0, out=captured.out, err=captured.err)

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)
