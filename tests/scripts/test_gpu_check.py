from __future__ import annotations

import csv
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Check = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Run `scripts/gpu_check.sh` on the CPU, with the folder `out` in a folder of its own."""

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "data").mkdir(exist_ok=True)
        named = {f"HAMCV_CHECK_{name}": value for name, value in {"DEVICE": "cpu", **variables}.items()}
        command = ["bash", ROOT / "scripts" / "gpu_check.sh", tmp_path / "out", tmp_path / "data"]
        environment = {**os.environ, "PYTHON": sys.executable, "HAMCV_CACHE": str(tmp_path / "cache"), **named}
        environment["CUDA_VISIBLE_DEVICES"] = ""
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    return run


def timings(folder: Path) -> dict[str, str]:
    with (folder / "out" / "timings.csv").open(newline="", encoding="utf-8") as stream:
        return {row["part"]: row["exit"] for row in csv.DictReader(stream)}


def write_wheel(folder: Path, name: str, module: str, code: str) -> Path:
    path, about = folder / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{module}.py", code)
        wheel.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: none-such\n"
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", f"{module}.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")
    return path


def test_wheels_are_brought_into_sight_beside_what_the_machine_has(check: Check, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    # Python imports it at its start.
    write_wheel(wheels, "brought", "sitecustomize", "print('brought along')\n")
    (wheels / "damaged-1.0-py3-none-any.whl").write_bytes(b"not a wheel")
    done = check(PARTS="tests", TEST_SECONDS="500", WHEELS=str(wheels), SCRATCH=str(tmp_path / "scratch"))
    assert f"not installed: {wheels / 'damaged-1.0-py3-none-any.whl'}" in done.stdout
    log = (tmp_path / "out" / "tests.log").read_text()
    assert "brought along" in log
    # The GPU tests were collected and, without a GPU, skipped.
    assert timings(tmp_path) == {"tests": "0"}
    last = log.splitlines()[-1]
    assert " skipped" in last
    assert not any(word in last for word in (" passed", " failed", " error"))


def test_a_part_that_finds_no_time_left_is_named_and_the_rest_is_told(check: Check, tmp_path: Path) -> None:
    done = check(PARTS="tests bench", SECONDS="5", BENCH_SECONDS="1")
    assert done.returncode == 1
    assert "failed, or not done in time: tests bench" in done.stderr
    assert "no time left" in done.stdout


def test_the_packages_are_imported_from_a_folder_that_was_never_installed() -> None:
    code = (
        "import importlib.metadata as metadata, sys\n"
        "find = metadata.distribution\n"
        "def without(name):\n"
        "    if name == 'hamcv':\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return find(name)\n"
        "metadata.distribution = without\n"
        "import hamcv.run, hamcv.journal\n"
        "print(hamcv.__version__)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert told.stdout.strip()[0].isdigit()
