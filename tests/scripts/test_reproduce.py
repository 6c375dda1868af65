"""A published system from one command: on a generated set with the eight classes of ISIC 2019, in class folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from isic2019_like import write_isic2019_like

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_a_recipe_runs_on_every_division_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import reproduce

    data, out = write_isic2019_like(tmp_path), tmp_path / "out"
    small = ["--size", "32", "--epochs", "1", "--folds", "2", "--resamples", "100", "--jobs", "1", "--device", "cpu"]
    given = ["--data", str(data), "--out", str(out), "--weights", "none", "--recipes", "eight-class-sgd", *small]
    monkeypatch.setattr(reproduce, "PUBLISHED", [one for one in reproduce.PUBLISHED if one.recipe == "eight-class-sgd"])
    assert reproduce.main(given) == 0
    (entry,) = json.loads((out / "reproduced.json").read_text())["recipes"]
    classes = json.loads((out / "eight-class-sgd" / "folds" / "metrics.json").read_text())["classes"]
    assert classes == ["AK", "BCC", "BKL", "DF", "MEL", "NV", "SCC", "VASC"]
    (row,) = entry["rows"]
    assert (row["metric"], row["reported"]) == ("accuracy", "0.57")
    for side in ("own", "image_level"):
        difference = row[side]["value"] - row["grouped"]["value"]
        assert row[f"{side}_minus_grouped"]["value"] == pytest.approx(difference)
    page = (out / "reproduced.md").read_text()
    assert "No reproduction of the published figures" in page
    assert (out / "eight-class-sgd" / "own" / "report.html").is_file()
    assert (out / "eight-class-sgd" / "folds" / "report.html").is_file()

    def trained_again(*_: object) -> None:
        raise AssertionError("a finished run was carried out again")

    monkeypatch.setattr(reproduce, "run", trained_again)
    assert reproduce.main(given) == 0
    assert (out / "reproduced.md").read_text() == page


def test_a_recipe_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import reproduce

    with pytest.raises(SystemExit):
        reproduce.main(["--out", "x", "--recipes", "best"])
    assert "--recipes best: must be of weighted-sampler" in capsys.readouterr().err
