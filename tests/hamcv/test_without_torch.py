from __future__ import annotations

import subprocess
import sys

import pytest

TELL = "import sys; from hamcv.cli import app; import {module}; print('torch' in sys.modules)"


@pytest.mark.parametrize(
    "module",
    ["hamcv.evaluation", "hamcv.comparing", "hamcv.commands.looking", "reports.elsewhere", "ensemble.held_out"],
)
def test_what_reads_finished_runs_does_without_the_seconds_and_the_memory_of_torch(module):
    command = [sys.executable, "-c", TELL.format(module=module)]
    paths = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    answer = subprocess.run(command, capture_output=True, text=True, env=paths, check=True)
    assert answer.stdout.strip() == "False"
