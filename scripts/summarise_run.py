"""Print a run folder as Markdown: what ran on what, its scores with intervals, its times. No image, no row of data.

python scripts/summarise_run.py runs/NAME "Title" > docs/results/NAME.md
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

OVERALL = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc", "log_loss", "brier", "ece")
PER_CLASS = ("f1", "auc", "precision", "recall", "specificity")


def main() -> None:
    """Write the summary to stdout."""
    run, title = Path(sys.argv[1]), sys.argv[2]
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    config = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    data, device = record["data"], record["device"]
    print(f"# {title}\n")
    print(
        f"{data['n_images']} images of {data['n_lesions']} lesions ({data['name']}, fingerprint "
        f"{data['fingerprint'][:16]}), {config['folds']} lesion-grouped folds, weights: {record['weights']}, "
        f"recipe `{record['recipe']}`, seed {config['seed']}.\n"
    )
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    print(f"Device: {device['name']} ({device['kind']}, {device['threads']} threads a job). Versions: {versions}.\n")
    print("## Out-of-fold scores\n\nWith 95 % intervals from a bootstrap over lesions.\n")
    models = metrics["models"]
    table(
        ["model", *OVERALL],
        ([name, *(estimate(scores["overall"][metric]) for metric in OVERALL)] for name, scores in models.items()),
    )
    for name in (name for name, scores in models.items() if scores["kind"] == "ensemble"):
        print(f"\n### {name} by class\n")
        table(
            ["class", "images", *PER_CLASS],
            (
                [cls, str(scores["support"]["value"]), *(estimate(scores[metric]) for metric in PER_CLASS)]
                for cls, scores in models[name]["per_class"].items()
            ),
        )
    print("\n## Paired differences\n")
    table(
        ["metric", "model", "against", "difference", "evidence"],
        (
            [row["metric"], row["model"], row["against"], estimate(row["difference"]), row["evidence"]]
            for row in metrics["comparisons"]
        ),
    )
    print("\n## Times\n")
    table(["stage", "seconds"], ([stage, f"{seconds:.0f}"] for stage, seconds in record["seconds"].items()))
    print(f"\nLargest memory, upper bound: {record['peak_memory_mib']:.0f} MiB.\n")
    table(
        ["job, fold", "seconds", "training images/s", "epoch kept"],
        (
            [
                f"{job['backbone']}, " + "-".join(str(job[key]) for key in ("fold", "second") if key in job),
                f"{job['seconds']:.0f}",
                f"{job['images_per_second']:.0f}",
                f"{job['best_epoch']} of {job['epochs_run']}",
            ]
            for job in record["jobs"]
        ),
    )
    print("\n## Settings\n\n```toml")
    for key, value in flatten({key: value for key, value in config.items() if key not in ("data", "weights")}):
        print(f"{key} = {json.dumps(value)}")
    print("```")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def estimate(entry: dict[str, Any]) -> str:
    """Return value and interval, or why there is none."""
    if entry["value"] is None:
        return f"n/a ({entry['reason']})"
    if entry["low"] is None:
        return f"{entry['value']:.3f}"
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"


def flatten(settings: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield dotted keys and values."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


if __name__ == "__main__":
    main()
