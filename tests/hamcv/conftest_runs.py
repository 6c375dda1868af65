from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from hamcv.run import RunOptions, RunResult, run
from hamcv.run_config import RunConfig

TINY = {
    "folds": 3,
    "backbones": ["shufflenet_v2_x0_5", "squeezenet1_1"],
    "weights": "none",
    "training.image_size": 32,
    "training.epochs": 2,
    "training.batch_size": 16,
    # Every model is drawn in several figures, which is what a run of this size takes longest for; the PDF comes next.
    # Tests that look at others ask for them.
    "ensemble.combiners": ["soft_vote", "greedy", "stack"],
    "ensemble.tree_rounds": 5,
    "report.resamples": 200,
    "report.formats": ["html"],
}


def carry_out(config: RunConfig, out: Path, **options: object) -> RunResult:
    """Run without a terminal."""
    chosen = {"jobs": 2, "fail_fast": False, "overwrite": False} | options
    return run(config, RunOptions(out=out, **chosen), Console(file=StringIO(), stderr=False))  # type: ignore[arg-type]
