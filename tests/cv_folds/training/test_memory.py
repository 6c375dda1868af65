from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from cv_folds_samples import job_spec

from cv_folds.training import memory
from cv_folds.training.jobs import run_job
from cv_folds.training.memory import images_at_a_time
from cv_folds.training.settings import TrainingSettings

# A tensor is made and freed over and over; the number of page faults tells whether its pages came back each time.
FAULTS = """
import resource, sys
import torch
from cv_folds.training.memory import keep_freed_memory, return_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(2**22)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1])

torch.set_num_threads(1)
usual = faults()
keep_freed_memory()
faults()
kept = faults()
many = [torch.ones(2**16) for _ in range(1000)]
full = resident()
many.clear()
return_freed_memory()
print(usual, kept, full - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_freed_memory_is_kept_for_the_next_step_and_returned_at_the_end():
    paths = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    answer = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, env=paths, check=True)
    usual, kept, returned = map(int, answer.stdout.split())
    # 16 MiB are 4,096 pages, unless the kernel gives huge ones.
    assert kept < usual / 5
    # A thousand tensors of a quarter of a MiB; most of their pages come back.
    assert returned > 30_000


@pytest.mark.parametrize(
    ("batch_size", "image_size", "device", "expected"),
    [
        (64, 128, "cpu", 64),
        (64, 129, "cpu", 32),
        (64, 224, "cpu", 16),
        (20, 224, "cpu", 20),
        (24, 224, "cpu", 12),
        (64, 384, "cpu", 8),
        (15, 2048, "cpu", 15),
        (2, 2048, "cpu", 2),
        (64, 224, "cuda", 64),
        (64, 384, "cuda:1", 64),
    ],
)
def test_large_batches_are_computed_in_parts_on_a_cpu(batch_size, image_size, device, expected):
    assert images_at_a_time(batch_size, image_size, device) == expected


def test_a_job_on_a_cpu_computes_its_batches_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PIXELS_AT_A_TIME", 8 * 32**2)
    settings = TrainingSettings(image_size=32, epochs=1, batch_size=16)
    record = run_job(job_spec(tmp_path, settings=settings))
    assert (record.batch_size, record.micro_batch) == (16, 8)
