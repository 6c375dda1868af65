from __future__ import annotations

import platform
import subprocess
import sys

import pytest

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
