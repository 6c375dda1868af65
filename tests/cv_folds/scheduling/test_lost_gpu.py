from __future__ import annotations

import os
from contextlib import nullcontext

import pytest
import torch
from cv_folds_samples import job_spec

from cv_folds.scheduling import dask_task, outcome
from cv_folds.scheduling.outcome import failed, gpu_is_lost


class Ended(BaseException):
    """In place of the end of this process."""


@pytest.fixture
def answers(monkeypatch):
    """Make a GPU that answers with the given error, or in time."""

    def make(error: RuntimeError | None) -> None:
        def synchronize():
            if error is not None:
                raise error

        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
        monkeypatch.setattr(torch.cuda, "empty_cache", synchronize)

    return make


LOST = RuntimeError("CUDA error: an illegal memory access was encountered")


def test_without_a_gpu_none_is_lost():
    assert not gpu_is_lost()


@pytest.mark.parametrize("error", [None, LOST])
def test_a_lost_gpu_answers_with_its_error(error, answers):
    answers(error)
    assert gpu_is_lost() == (error is not None)


def test_the_error_of_the_job_is_told_though_the_gpu_is_lost(answers, tmp_path, monkeypatch):
    answers(LOST)
    spec = job_spec(tmp_path)
    monkeypatch.setattr(outcome, "run_contained", lambda spec: failed(spec, "its own error"))
    assert outcome.run_and_tidy(spec).error == "its own error"


@pytest.mark.parametrize(("error", "fails", "ends"), [(LOST, True, True), (None, True, False), (LOST, False, False)])
def test_a_dask_worker_whose_gpu_is_lost_ends(error, fails, ends, answers, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    assert distributed is not None
    answers(error)
    spec = job_spec(tmp_path)

    def leave(code):
        raise Ended

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(dask_task, "_stopped_when_cancelled", nullcontext)
    told = failed(spec, "its own error" if fails else None)
    monkeypatch.setattr(outcome, "run_contained", lambda spec: told)
    packed = dask_task.pack(spec)
    if ends:
        with pytest.raises(Ended):
            dask_task.run_packed(packed)
    else:
        assert dask_task.run_packed(packed) == told
