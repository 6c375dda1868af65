from __future__ import annotations

import importlib.metadata
from dataclasses import replace

import pytest
from cv_folds_samples import job_spec

from cv_folds.errors import UsageError
from cv_folds.scheduling.outcome import Losses, run_contained
from cv_folds.scheduling.probe import Sighting, complaints, look, mark, needed_files, refuse_unfit
from cv_folds.training.weights import WeightsFile

VERSION = importlib.metadata.version("hamcv")
SOUND = Sighting(host="node1", version=VERSION, missing=())


def test_a_folder_is_known_by_a_file_that_no_other_has(tmp_path):
    (tmp_path / "pixels.npy").touch()
    with mark(tmp_path) as marker:
        assert look(marker, [tmp_path / "pixels.npy"]).missing == ()
        assert look(marker, [tmp_path / "gone.npy"]).missing == (str(tmp_path / "gone.npy"),)
        assert look(tmp_path / "other", []).missing == (str(tmp_path),)
    assert look(marker, []).missing == (str(tmp_path),)
    assert [path.name for path in tmp_path.iterdir()] == ["pixels.npy"]
    assert look(marker, []).version == VERSION


def test_every_file_of_the_jobs_is_asked_for_once(tmp_path):
    spec = job_spec(tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.touch()
    pretrained = replace(spec, weights=WeightsFile(backbone=spec.backbone, path=weights, sha256="0" * 64))
    lost = replace(spec, pixels=tmp_path / "not-even-here.npy")
    assert needed_files([spec, replace(spec, fold=0), pretrained, lost]) == (spec.pixels, weights)


def test_complaints_name_the_worker_and_what_it_lacks():
    sightings = {
        "w1": SOUND,
        "w2": replace(SOUND, host="node2", missing=("/runs/a", "/cache/pixels.npy")),
        "w3": replace(SOUND, host="node3", version="0.0.1"),
        # Dask hands an error of the import on as text.
        "w4": Exception("ModuleNotFoundError(\"No module named 'cv_folds'\")"),
        "w5": OSError("connection lost\n"),
    }
    rows = complaints(sightings)
    assert [row.partition(" ")[0] for row in rows] == ["w2", "w3", "w4", "w5"]
    assert "node2 does not see /runs/a, /cache/pixels.npy" in rows[0]
    assert f"node3 has hamcv 0.0.1, here it is {VERSION}" in rows[1]
    assert "cannot import hamcv" in rows[2]
    assert "cannot be asked: connection lost" in rows[3]
    with pytest.raises(UsageError, match=r"4 of 5 processes of the cluster at tcp://h:1(.|\n)*HAMCV_CACHE"):
        refuse_unfit(sightings, "tcp://h:1")
    refuse_unfit({"w1": SOUND}, "tcp://h:1")


def test_a_job_that_was_finished_when_its_worker_was_lost_counts(tmp_path):
    spec = job_spec(tmp_path)
    settings = spec.settings.model_copy(update={"epochs": 1})
    spec = replace(spec, settings=settings)
    losses = Losses(2)
    assert losses.add(spec, "the worker was killed") is None
    record = run_contained(spec).record
    outcome = losses.add(spec, "the worker was killed")
    assert outcome is not None
    assert outcome.record == record


def test_each_job_has_its_own_attempts(tmp_path):
    losses = Losses(2)
    first, second = job_spec(tmp_path, fold=0), job_spec(tmp_path, fold=1)
    assert losses.add(first, "the worker was killed") is None
    assert losses.add(second, "the worker was killed") is None
    outcome = losses.add(first, "the worker was killed")
    assert outcome is not None
    assert (outcome.fold, outcome.record) == (0, None)
    assert "in each of 2 attempts" in (outcome.error or "")
