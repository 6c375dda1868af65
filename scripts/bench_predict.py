"""Compare prediction with the bare forward passes of the same networks; measure its memory and its loading.

Sides that are compared take turns in one run. Without `--bundle`, untrained networks of the three default backbones
are written into a bundle in a temporary folder.

    python scripts/bench_predict.py --json predict.json
    python scripts/bench_predict.py --quick --device cpu

docs/predictor.md says what each row means.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from bench.alternation import median_ratio, median_speed
from bench.prediction import (
    Loading,
    Memory,
    cases,
    measure_loading,
    measure_memory,
    random_bundle,
    take_turns,
    write_pictures,
)
from rich.console import Console
from rich.table import Table

from cv_folds.files import write_json
from cv_folds.training.backbone_names import DEFAULT_BACKBONES
from ensemble.device import resolve_device
from hamcv.journal import device_name


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = _parser().parse_args(arguments)
    if options.child is not None:
        print(json.dumps(asdict(_child(options))))
        return
    device = resolve_device(options.device)
    if options.quick:
        options.folds, options.image_size, options.rounds = 2, 64, 2
    count = options.images or {"cpu": 8, "cuda": 512}[device.type]
    console = Console()
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        bundle = options.bundle or random_bundle(
            Path(folder, "bundle"),
            backbones=options.backbones.split(","),
            n_folds=options.folds,
            image_size=options.image_size,
        )
        compared = cases(bundle, write_pictures(Path(folder, "images"), count), device)
        rounds = take_turns(compared, options.rounds)
        memory = [Memory(**_in_child("memory", bundle, options.device, images)) for images in (count, 8 * count)]
        loading = Loading(**_in_child("loading", bundle, options.device, 1))
    speeds = Table("side", "images a second", "time of the predictor by its time", "CPU time")
    for case in compared:
        times = median_ratio(rounds, case, compared[0]), median_ratio(rounds, case, compared[0], cpu=True)
        speeds.add_row(case.name, f"{median_speed(rounds, case):.2f}", *(f"{ratio:.3f}" for ratio in times))
    console.print(f"{device_name(str(device))}, {torch.get_num_threads()} threads, {count} images", highlight=False)
    console.print(speeds)
    for row in memory:
        console.print(
            f"{row.images} images: peak {row.peak:.0f} MiB, without the members {row.beside_members:.0f} MiB, "
            f"of which imports {row.imported:.0f} MiB"
        )
    console.print(
        f"loading {loading.load:.2f} s, of which reading {loading.reading:.2f} s; first image {loading.first:.2f} s"
    )
    if options.json is not None:
        write_json(
            options.json,
            {
                "device": device_name(str(device)),
                "threads": torch.get_num_threads(),
                "rounds": [asdict(row) for row in rounds],
                "memory": [asdict(row) for row in memory],
                "loading": asdict(loading),
            },
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="a real bundle")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--backbones", default=",".join(DEFAULT_BACKBONES))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--images", type=int, help="pictures a turn [default: 8 on a CPU, 512 on a GPU]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="64 pixels, two folds: whether it works, no more")
    parser.add_argument("--scratch", type=Path, help="where the temporary folder is made")
    parser.add_argument("--json", type=Path, help="where to write every turn")
    parser.add_argument("--child", choices=("memory", "loading"), help=argparse.SUPPRESS)
    return parser


def _in_child(what: str, bundle: Path, device: str, images: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", what, "--bundle", str(bundle)]
    command += ["--device", device, "--images", str(images)]
    measured: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return measured


def _child(options: argparse.Namespace) -> Memory | Loading:
    if options.child == "memory":
        return measure_memory(options.bundle, options.device, options.images)
    return measure_loading(options.bundle, options.device)


if __name__ == "__main__":
    main()
