from __future__ import annotations

import os

import pytest
import torch

from cv_folds.scheduling.threads import cpu_cores, share_threads, visible_gpus


@pytest.mark.parametrize(
    ("cores", "jobs", "device", "n_jobs", "expected"),
    [
        (8, None, "cpu", 15, (8, 1)),
        (8, 2, "cpu", 15, (2, 4)),
        (8, 3, "cpu", 15, (3, 2)),
        (2, 5, "cpu", 15, (5, 1)),
        (1, None, "cpu", 15, (1, 1)),
        (8, None, "cpu", 2, (2, 4)),
        (8, 6, "cpu", 3, (3, 2)),
        (8, None, "cpu", 1, (1, 8)),
        (8, None, "cuda", 15, (1, 8)),
        (8, None, "cuda:1", 15, (1, 8)),
        (8, 2, "cuda:0", 15, (2, 4)),
        (8, 4, "cuda:0", 1, (1, 8)),
    ],
)
def test_sharing_the_cores(monkeypatch, cores, jobs, device, n_jobs, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert cpu_cores() == cores
    assert share_threads(jobs, device, n_jobs) == expected


@pytest.mark.parametrize(
    ("jobs", "n_jobs", "expected"), [(None, 15, (4, 4)), (None, 3, (3, 5)), (2, 15, (2, 8)), (8, 15, (8, 2))]
)
def test_one_job_on_each_gpu(monkeypatch, jobs, n_jobs, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert share_threads(jobs, "cuda", n_jobs, gpus=4) == expected


@pytest.mark.parametrize(
    ("own", "count", "device", "expected"),
    [
        (None, 3, "cuda", ("0", "1", "2")),
        (None, 3, "cuda:2", ("2",)),
        ("5,1", 2, "cuda", ("5", "1")),
        ("5, 1", 2, "cuda:1", ("1",)),
        ("GPU-8a56,GPU-42aa", 2, "cuda", ("GPU-8a56", "GPU-42aa")),
        ("GPU-8a56,GPU-42aa", 2, "cuda:0", ("GPU-8a56",)),
        # CUDA takes the list up to the first device that does not exist.
        ("0,9,1", 1, "cuda", ("0",)),
        ("", 0, "cuda", ()),
        (None, 0, "cuda", ()),
    ],
)
def test_gpus_keep_their_names_and_order(monkeypatch, own, count, device, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    if own is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", own)
    assert visible_gpus(device) == expected
