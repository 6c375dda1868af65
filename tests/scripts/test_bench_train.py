from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RATIOS = {
    "training": {"end to end / own synthetic step", "end to end / peer pipeline"},
    "limits": {"step / arithmetic limit", "step / memory-bandwidth limit"},
    "input": {"input cost of peer / ours, full augmentation", "input cost of peer / ours, flips only"},
    "step": {"CPU step, ours / float32 NCHW"},
}
CASES = {
    "training": {"end to end", "synthetic", "peer"},
    "limits": {"step", "copy", "matrix product"},
    "input": {"ours, full augmentation", "peer, full augmentation", "ours, flips only", "peer, flips only"},
    "step": {"float32 NCHW", "float32", "bfloat16"},
}


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "bench_train.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("bench") / "bench.json"
    done = bench(
        "--quick", "--device", "cpu", "--threads", 1, "--image-size", 32, "--batch-size", 4, "--images", 40,
        "--backbones", "shufflenet_v2_x0_5", "--seconds", 0.02, "--json", target,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not measured" in done.stdout
    content: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return content


def test_every_ratio_is_there(measured: dict[str, Any]) -> None:
    for part, titles in RATIOS.items():
        rows = [row for row in measured["rows"] if row["part"] == part and row["device"] == "cpu"]
        assert {row["title"] for row in rows} == titles
        for row in rows:
            assert row["ratio"] > 0
            assert row["met"] == (None if row["goal"] is None else row["ratio"] >= row["goal"])
    on_gpu = [row for row in measured["rows"] if row["device"] == "cuda"]
    assert {row["title"] for row in on_gpu} == RATIOS["training"] | RATIOS["limits"]
    assert all(row["ratio"] is None and row["met"] is None and row["detail"] for row in on_gpu)


def test_every_turn_of_every_case_is_kept_in_alternation(measured: dict[str, Any]) -> None:
    rounds = measured["rounds"]
    for part, names in CASES.items():
        turns = [(entry["number"], entry["name"]) for entry in rounds if entry["part"] == part]
        assert {name for _, name in turns} >= (names - {"bfloat16"})
        assert {number for number, _ in turns} == {1, 2}
        assert len(turns) == len(set(turns))
    training = [entry["name"] for entry in rounds if entry["part"] == "training"]
    assert training[: len(training) // 2] == training[len(training) // 2 :]
    assert all(entry["images"] > 0 and entry["seconds"] > 0 and entry["cpu_seconds"] >= 0 for entry in rounds)
    assert measured["files"]["width_height"] == [600, 450]
    assert measured["files"]["generated"] is True
    assert measured["sizes"]["backbones"] == ["shufflenet_v2_x0_5"]
    assert {"python", "torch", "torchvision"} <= measured["versions"].keys()


def test_what_was_measured_is_kept_when_a_later_part_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import bench_train
    from bench import parts
    from bench.rows import Row

    def cut_off(*_: object) -> object:
        raise KeyboardInterrupt

    row = Row(part="input", title="x", device="cpu", backbone=None, ratio=3.5)
    monkeypatch.setattr(parts, "inputs", lambda *_: parts.Measured(rows=[row], rounds=[]))
    monkeypatch.setattr(parts, "steps", cut_off)
    target = tmp_path / "bench.json"
    with pytest.raises(KeyboardInterrupt):
        bench_train.main(["--quick", "--device", "cpu", "--parts", "input,step", "--json", str(target)])
    assert [found["ratio"] for found in json.loads(target.read_text())["rows"]] == [3.5]


def test_an_unknown_part_is_refused() -> None:
    done = bench("--parts", "training,guesses")
    assert done.returncode == 2
    assert "guesses: not one of training, limits, input, step" in done.stderr
