from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cv_folds.training.record import job_folder

Hamcv = Callable[..., Any]


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def out(tiny_run: Path, tmp_path: Path) -> Path:
    """A run of two networks in three folds, of which one has not ended."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder, ignore=shutil.ignore_patterns("figures", "gallery", "tables", "predictor"))
    (job_folder(folder, "squeezenet1_1", 1) / "job.json").unlink()
    return folder


def test_a_new_run_is_called_one(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    screen = hamcv("run", "--recipe", tiny_run / "config.toml", "--dry-run", "--out", tmp_path / "new")
    assert screen.code == 0
    assert f"{tmp_path / 'new'}: a new run, 6 trainings\n" in screen.out
    assert not (tmp_path / "new").exists()


def test_what_is_left_of_a_run_is_told(hamcv: Hamcv, tiny_run: Path, out: Path) -> None:
    before = content(out)
    asked = ("run", "--recipe", tiny_run / "config.toml", "--dry-run", "--out", out)
    screen = hamcv(*asked, "--set", "report.resamples=150")
    assert screen.code == 0, screen.err
    assert f"{out}: resumes a run, 5 of 6 trainings finished\n" in screen.out
    assert "scored and reported anew with report.resamples: 200 -> 150" in screen.out
    screen = hamcv(*asked, "--overwrite")
    assert f"{out}: a new run, 6 trainings; --overwrite removes the one that is there\n" in screen.out
    assert content(out) == before


@pytest.mark.parametrize("gone", ["seed", "data", "weights"])
def test_what_a_run_would_refuse_is_refused(hamcv: Hamcv, tiny_run: Path, out: Path, gone: str) -> None:
    record = job_folder(out, "squeezenet1_1", 0) / "job.json"
    found = json.loads(record.read_text())
    if gone != "seed":
        record.write_text(
            json.dumps(found | {"settings_digest": "0" * 64, "made_of": found["made_of"] | {gone: "0" * 64}})
        )
    before = content(out)
    asked = ("run", "--recipe", tiny_run / "config.toml", "--dry-run", "--out", out)
    screen = hamcv(*asked, *(("--seed", "7") if gone == "seed" else ()))
    assert screen.code == 2
    expected = {
        "seed": "seed: 0 -> 7",
        "data": "ended with other data;",
        "weights": "ended with other starting weights;",
    }
    assert expected[gone] in screen.err
    assert "--overwrite" in screen.err
    assert content(out) == before
    assert hamcv(*asked, "--overwrite").code == 0


def test_nobody_is_held_up_by_a_dry_run_and_a_busy_folder_is_refused(
    hamcv: Hamcv, tiny_run: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hamcv.dry_run as module

    look = module.preflight
    start = "import sys; from pathlib import Path; from hamcv.run_folder import hold, hold_job\n"

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        subprocess.run(
            [sys.executable, "-c", start + "with hold_job(Path(sys.argv[1]), 1): pass", str(out)], check=True
        )
        return look(*arguments, **options)

    monkeypatch.setattr(module, "preflight", meanwhile)
    asked = ("run", "--recipe", tiny_run / "config.toml", "--dry-run", "--out", out)
    screen = hamcv(*asked)
    assert screen.code == 0, screen.err
    wait = start + "with hold(Path(sys.argv[1])): print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", wait, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        screen = hamcv(*asked)
        assert screen.code == 4
        assert "in use" in screen.err
        holder.communicate(b"\n")


def test_a_folder_that_cannot_be_made_is_refused(
    hamcv: Hamcv, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    asked = ("run", "--recipe", tiny_run / "config.toml", "--dry-run", "--out")
    screen = hamcv(*asked, tmp_path / "file" / "run")
    assert screen.code == 2
    assert "cannot be used" in screen.err
    # As it is for anyone but root.
    monkeypatch.setattr("hamcv.run_folder.os.access", lambda path, _: path != tmp_path)
    screen = hamcv(*asked, tmp_path / "new" / "run")
    assert screen.code == 2
    assert f"{tmp_path} may not be written to" in screen.err


def test_a_package_that_is_lacking_is_told(hamcv: Hamcv, tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    screen = hamcv("run", "--recipe", tiny_run / "config.toml", "--dry-run", "--tensorboard")
    assert screen.code == 2
    assert "hamcv[tensorboard]" in screen.err


def test_a_folder_of_something_else_is_refused(hamcv: Hamcv, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "chapter.txt").write_text("mine")
    screen = hamcv("run", "--recipe", tiny_run / "config.toml", "--dry-run", "--overwrite", "--out", tmp_path)
    assert screen.code == 2
    assert "holds chapter.txt and no run" in screen.err
