"""`hamcv compare` on run folders as `hamcv run` leaves them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Hamcv = Callable[..., Any]


@pytest.fixture
def copied(tiny_run: Path, tmp_path: Path) -> Path:
    """Return a copy with what a comparison reads, and other answers."""
    folder = tmp_path / "copied"
    folder.mkdir()
    for name in ("config.toml", "run.json", "audit.json"):
        shutil.copy(tiny_run / name, folder)
    table = pd.read_csv(tiny_run / "predictions.csv", dtype={"image_id": str})
    models = {column.rpartition("/")[0] for column in table.columns if "/" in column}
    for model in models:
        columns = [column for column in table.columns if column.rpartition("/")[0] == model]
        rows = table[columns].to_numpy() ** 2
        table[columns] = rows / rows.sum(axis=1, keepdims=True)
    table.sample(frac=1, random_state=0).to_csv(folder / "predictions.csv", index=False)
    return folder


def test_runs_are_compared_by_one_command(hamcv: Hamcv, tiny_run: Path, copied: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    screen = hamcv("compare", tiny_run, copied, "--out", out)
    assert screen.code == 0, screen.err
    for words in ("DEMO SET", "2 runs, paired by image id", "in macro F1 between copied and tiny", "McNemar"):
        assert words in screen.out, words
    content = json.loads((out / "compare.json").read_text())
    assert [run["label"] for run in content["runs"]] == ["tiny", "copied"]
    assert content["demo"]
    assert content["settings"] == {}
    within = json.loads((tiny_run / "metrics.json").read_text())["models"]["stack"]
    # The same resamples as those of the run: its seed and its number of them.
    assert content["models"]["tiny"]["overall"]["log_loss"] == pytest.approx(within["overall"]["log_loss"])
    assert (out / "report.html").stat().st_size > 50_000
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")
    assert f"wrote {out / 'tests.csv'}" in screen.out
    screen = hamcv("compare", tiny_run, tiny_run, "--out", out, "--models", "stack,soft_vote", "--format", "html")
    assert screen.code == 0, screen.err
    assert "tiny (stack)" in screen.out
    assert {path.name for path in copied.iterdir()} == {"config.toml", "run.json", "audit.json", "predictions.csv"}


def test_runs_that_differ_end_with_the_right_code(hamcv: Hamcv, tiny_run: Path, copied: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    table = pd.read_csv(copied / "predictions.csv", dtype=str)
    table.iloc[3:].to_csv(copied / "predictions.csv", index=False)
    screen = hamcv("compare", tiny_run, copied, "--out", out)
    assert screen.code == 2
    assert "81 images are in both, 3 only in tiny and 0 only in copied" in screen.err
    assert "--unpaired" in screen.err
    assert not out.exists()
    screen = hamcv("compare", tiny_run, copied, "--out", out, "--unpaired", "--resamples", "100", "--format", "html")
    assert screen.code == 0, screen.err
    assert "lesion ids in common" in screen.out
    assert "McNemar" not in screen.out
    (copied / "predictions.csv").write_text("image_id,fold\n1,2\n")
    screen = hamcv("compare", tiny_run, copied, "--out", out)
    assert screen.code == 3
    assert "predictions.csv: missing columns" in screen.err
    assert hamcv("compare", tiny_run, copied, "--out", tiny_run).code == 2


@contextmanager
def written_to(folder: Path) -> Iterator[None]:
    code = (
        "import sys; from pathlib import Path; from hamcv.run_folder import hold\n"
        "with hold(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        assert holder.stdin is not None
        holder.stdin.close()


def test_a_run_that_is_being_written_is_not_read(hamcv: Hamcv, tiny_run: Path, copied: Path, tmp_path: Path) -> None:
    options = ("--out", tmp_path / "out", "--format", "html", "--resamples", "100")
    with written_to(copied):
        screen = hamcv("compare", tiny_run, copied, *options)
        assert screen.code == 4
        assert f"{copied} is in use" in screen.err
    assert hamcv("compare", tiny_run, copied, *options).code == 0
