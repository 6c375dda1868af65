from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "pack_run.py"
LIMIT = 40_000


def pack(run: Path, out: Path, *arguments: str) -> list[Path]:
    command = [sys.executable, str(SCRIPT), str(run), str(out), "--limit-mib", str(LIMIT / 2**20), *arguments]
    subprocess.run(command, check=True, capture_output=True)
    return sorted(out.glob("run-*"))


def unpacked(paths: list[Path]) -> dict[str, bytes]:
    """Read the archives as the script's docstring says, parts joined in order."""
    whole: dict[str, bytes] = {}
    for path in paths:
        whole[path.name.partition(".part-")[0]] = whole.get(path.name.partition(".part-")[0], b"") + path.read_bytes()
    found: dict[str, bytes] = {}
    for content in whole.values():
        with tarfile.open(fileobj=io.BytesIO(content)) as stream:
            for member in stream:
                file = stream.extractfile(member)
                assert file is not None, member.name
                found[member.name] = file.read()
    return found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    sizes = {
        "config.toml": 100,
        "metadata.csv": 400,
        "jobs/a/fold-0/oof.npz": 15_000,
        "jobs/a/fold-1/oof.npz": 15_000,
        "jobs/a/fold-2/oof.npz": 15_000,
        "predictions.csv": 100_000,
        "jobs/a/fold-0/model.safetensors": 500,
        "jobs/a/fold-1/checkpoints/step-1.safetensors": 500,
        "predictor/manifest.json": 500,
        ".lock": 5,
    }
    for name, size in sizes.items():
        path = tmp_path / "some-run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.bytes(size))
    return tmp_path / "some-run"


def test_what_is_packed_comes_back_and_no_file_is_too_large(run: Path, tmp_path: Path) -> None:
    paths = pack(run, tmp_path / "out")
    assert all(path.stat().st_size <= LIMIT for path in paths)
    found = unpacked(paths)
    kept = ["config.toml", "metadata.csv", "predictions.csv", *(f"jobs/a/fold-{fold}/oof.npz" for fold in range(3))]
    assert found == {f"run/{name}": (run / name).read_bytes() for name in kept}


def test_weights_are_packed_when_asked_for_and_old_archives_are_replaced(run: Path, tmp_path: Path) -> None:
    pack(run, tmp_path / "out")
    (run / "predictions.csv").unlink()
    found = unpacked(pack(run, tmp_path / "out", "--weights"))
    assert "run/jobs/a/fold-0/model.safetensors" in found
    assert not any("checkpoints" in name or "predict" in name for name in found)
