"""Check that a demo run learned something: the stack's macro AUC is above 0.80, and every result file is there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

LEAST_AUC = 0.80
FILES = (
    "config.toml",
    "folds.csv",
    "metadata.csv",
    "training_images.csv",
    "predictions.csv",
    "report.html",
    "report.pdf",
    "figures/roc.pdf",
    "tables/leaderboard.csv",
    "tables/leaderboard.tex",
    "predictor/manifest.json",
)


def main() -> int:
    """Return 0 when the run is as the README promises."""
    run = Path(sys.argv[1])
    missing = [name for name in FILES if not (run / name).is_file()]
    auc = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["models"]["stack"]["overall"]["macro_auc"]
    seconds = json.loads((run / "run.json").read_text(encoding="utf-8"))["seconds"]
    print(f"stack: macro AUC {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}], wanted above {LEAST_AUC}")
    print("seconds: " + ", ".join(f"{stage} {spent:.1f}" for stage, spent in seconds.items()))
    if missing:
        print(f"missing: {', '.join(missing)}")
    return 0 if auc["value"] > LEAST_AUC and not missing else 1


if __name__ == "__main__":
    sys.exit(main())
