from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# In a process of its own: the setting cannot be taken back.
CODE = """
import resource, sys
import torch
from cv_folds.training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    torch.ones(2**24)
for _ in range(20):
    use()
before = faults()
for _ in range(5):
    use()
print(faults() - before)
"""


def page_faults(argument: str) -> int:
    done = subprocess.run([sys.executable, "-c", CODE, argument], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    # 64 MiB five times, in pages of 4 KiB, or of 2 MiB where the system makes them so.
    assert page_faults("keep") < 20 < page_faults("leave")
