from __future__ import annotations

import json
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_every_figure_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import bench_predict

    def in_this_process(what: str, bundle: Path, device: str, images: int) -> object:
        """Importing torch three times more would take most of the time."""
        arguments = ["--child", what, "--bundle", str(bundle), "--device", device, "--images", str(images)]
        bench_predict.main(arguments)
        return json.loads(capsys.readouterr().out)

    monkeypatch.setattr(bench_predict, "_in_child", in_this_process)
    out = tmp_path / "predict.json"
    options = ["--quick", "--device", "cpu", "--images", "2", "--backbones", "squeezenet1_1,shufflenet_v2_x0_5"]
    bench_predict.main([*options, "--scratch", str(tmp_path), "--json", str(out)])
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("predictor", "same passes", "plain loop, batch 16", "peak", "loading"))
    result = json.loads(out.read_text())
    assert {row["name"] for row in result["rounds"]} == {
        "predictor", "same passes", "plain loop, batch 1", "plain loop, batch 16",
    }  # fmt: skip
    assert all(row["images"] == 2 and row["seconds"] > 0 for row in result["rounds"])
    assert [row["images"] for row in result["memory"]] == [2, 16]
    assert all(0 < row["imported"] <= row["peak"] for row in result["memory"])
    assert set(result["loading"]) == {"reading", "load", "first"}
    assert [path.name for path in tmp_path.iterdir()] == ["predict.json"]


def test_a_peak_is_never_below_an_earlier_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux 6 notes the highest resident memory lazily: once memory was freed, the figure may be a little lower."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from bench import prediction

    readings = iter([1298260 / 1024, 1298036 / 1024])
    monkeypatch.setattr(prediction, "_resident", lambda: next(readings))
    bundle = prediction.random_bundle(tmp_path / "bundle", backbones=["squeezenet1_1"], n_folds=2, image_size=32)
    measured = prediction.measure_memory(bundle, "cpu", 1)
    assert measured.peak == measured.imported == 1298260 / 1024
