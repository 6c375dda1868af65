"""Print what the ensembles of a run scored, before and after calibration and by decision rule, as Markdown.

python scripts/summarise_ensembles.py RUN >> docs/results/ensembles.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CALIBRATION = ("log_loss", "brier", "ece")
NESTED = ("log_loss", "macro_auc")
DECISIONS = ("accuracy", "balanced_accuracy", "macro_f1")


def main() -> None:
    """Read ``metrics.json`` and ``ensemble.json`` and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    metrics, ensemble = (
        json.loads((run / name).read_text(encoding="utf-8")) for name in ("metrics.json", "ensemble.json")
    )
    print("## Before and after prior and calibration\n")
    table(
        ("model", *(f"{metric} {when}" for metric in CALIBRATION for when in ("before", "after"))),
        (
            (model, *(cell(scores[when][metric]) for metric in CALIBRATION for when in ("before", "after")))
            for model, scores in metrics["calibration"].items()
        ),
    )
    print("\n## By decision rule\n")
    rules = tuple(next(iter(metrics["decisions"].values())))
    table(
        ("model", *(f"{metric}, {rule}" for rule in rules for metric in DECISIONS)),
        (
            (model, *(cell(by_rule[rule][metric]) for rule in rules for metric in DECISIONS))
            for model, by_rule in metrics["decisions"].items()
        ),
    )
    if (sets := metrics.get("prediction_sets")) is not None:
        print(f"\n## Prediction sets of `{sets['model']}`, aimed at {sets['aimed']:.0%}\n")
        table(
            ("thresholds", "coverage", "classes in a set", *(f"coverage of {name}" for name in metrics["classes"])),
            (
                (
                    method,
                    cell(scores["coverage"]),
                    cell(scores["size"]),
                    *(cell(scores["per_class"][name]) for name in metrics["classes"]),
                )
                for method, scores in sets["methods"].items()
            ),
        )
    if ensemble.get("seconds"):
        print("\n## Processor time of the fits behind the scores\n")
        table(
            ("model", "seconds of one core"), ((model, f"{spent:.2f}") for model, spent in ensemble["seconds"].items())
        )
    if (nested := metrics.get("nested")) is not None:
        print("\n## Usual and nested estimate\n")
        sides = ("usual", "nested", "difference")
        table(
            ("model", *(f"{metric}, {side}" for metric in NESTED for side in sides)),
            (
                (model, *(cell(scores[metric][side]) for metric in NESTED for side in sides))
                for model, scores in nested.items()
            ),
        )
    print(f"\n{metrics['best']['sentence']}")


def cell(estimate: Mapping[str, Any]) -> str:
    """Write a value with its interval."""
    if estimate["value"] is None:
        return f"undefined ({estimate['reason']})"
    if estimate["low"] is None or estimate["high"] is None:
        return digits(estimate["value"])
    return f"{digits(estimate['value'])} [{digits(estimate['low'])}, {digits(estimate['high'])}]"


def digits(value: float) -> str:
    """Write three digits, and no minus before a zero."""
    return f"{round(value, 3) + 0.0:.3f}"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a Markdown table."""
    heads = tuple(heads)
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
