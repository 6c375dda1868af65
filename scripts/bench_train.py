"""Compare the training engine with the usual pipeline, with its own step, and with the limits of the device.

Everything that is compared takes turns in one run. Prints a table of ratios and writes JSON with every turn.

    python scripts/bench_train.py --json bench.json
    python scripts/bench_train.py --quick --device cpu

docs/benchmarks.md says what each ratio means.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from bench import parts
from bench.images import BenchImages, generate, prepare
from bench.parts import Measured, Sizes
from bench.rows import Row, show
from rich.console import Console

from cv_folds.files import write_json
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.training.backbone_names import DEFAULT_BACKBONES
from cv_folds.training.memory import keep_freed_memory
from hamcv.journal import device_name

PARTS = ("training", "limits", "input", "step")
PACKAGES = ("torch", "torchvision", "numpy", "pillow")
ON_GPU = Sizes(
    image_size=224, batch_size=64, backbones=DEFAULT_BACKBONES, n_images=2000, rounds=5, seconds=2.0, matrix=8192,
    copied_mib=2048,
)  # fmt: skip
ON_CPU = replace(ON_GPU, batch_size=16, n_images=400, rounds=7, matrix=2048, copied_mib=256)
# Whatever the device: the usual batch for the input, and for steps on the CPU the least with which torch takes the same
# convolutions as with the usual one (below 16, a single thread gets slower 1 x 1 convolutions).
INPUT_BATCH, CPU_STEP_BATCH = 64, 16
QUICK = {
    "image_size": 64,
    "batch_size": 8,
    "n_images": 64,
    "rounds": 2,
    "seconds": 0.2,
    "matrix": 512,
    "copied_mib": 16,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = _parser().parse_args(arguments)
    found = torch.cuda.is_available()
    device = torch.device("cuda" if options.device == "auto" and found else options.device.replace("auto", "cpu"))
    sizes = _sizes(options, device)
    cores = options.threads or cpu_cores()
    torch.set_num_threads(cores)
    # As jobs do on a CPU; on a GPU, the CPU parts measure what jobs on a CPU would do.
    keep_freed_memory()
    if device.type == "cuda":
        # As jobs compute.
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    console = Console(width=None if Console().is_terminal else 200)
    with tempfile.TemporaryDirectory(prefix="hamcv-bench-") as scratch:
        data = options.data or generate(Path(scratch), n_images=sizes.n_images)
        images = prepare(data, Path(scratch), image_size=sizes.image_size, n_images=sizes.n_images, workers=cores)
        done: dict[str, Measured] = {}
        for part in [name for name in PARTS if name in options.parts]:
            done[part] = _measure(part, sizes, images, device, cores)
            rows = [row for measured in done.values() for row in measured.rows]
            if device.type == "cpu":
                rows += _not_measured([name for name in options.parts if name in ("training", "limits")], found)
            # After each part: a benchmark that is cut off leaves what it has.
            if options.json is not None:
                write_json(options.json, _content(sizes, images, device, cores, options, rows, done))
    show(
        rows,
        f"{device_name(str(device))}, {cores} CPU threads, {sizes.image_size} px, batch {sizes.batch_size}",
        console,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, metavar="PATH", help="folder of HAM10000 [default: generated 600x450 files]"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--parts", default=",".join(PARTS), type=_names(PARTS), help="separated by commas")
    parser.add_argument("--backbones", type=_names(None), metavar="A,B,C", help="torchvision classification models")
    parser.add_argument("--image-size", type=int, metavar="N", help="side in pixels [default: 224]")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images a step [default: 64 on a GPU, 16 on a CPU]")
    parser.add_argument("--images", type=int, metavar="N", dest="n_images", help="about how many different ones")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads, and workers of the peer [default: all]")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each case [default: 5 on a GPU, 7 on a CPU]")
    parser.add_argument("--seconds", type=float, metavar="X", help="of each turn, about [default: 2]")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write everything")
    return parser


def _names(allowed: Sequence[str] | None) -> Any:
    def split(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(","))
        if allowed is not None and (unknown := set(names) - set(allowed)):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not one of {', '.join(allowed)}")
        return names

    return split


def _sizes(options: argparse.Namespace, device: torch.device) -> Sizes:
    usual = ON_GPU if device.type == "cuda" else ON_CPU
    given = {key: getattr(options, key) for key in asdict(usual) if getattr(options, key, None) is not None}
    return replace(usual, **((QUICK if options.quick else {}) | given))


def _measure(part: str, sizes: Sizes, images: BenchImages, device: torch.device, cores: int) -> Measured:
    if part == "training":
        return parts.training(sizes, images, device, cores)
    if part == "limits":
        return parts.limits(sizes, images.n_classes, device)
    if part == "input":
        return parts.inputs(replace(sizes, batch_size=INPUT_BATCH), images, cores)
    return parts.steps(replace(sizes, batch_size=min(sizes.batch_size, CPU_STEP_BATCH)), images.n_classes)


def _not_measured(asked: Sequence[str], found: bool) -> list[Row]:
    titles = {
        "training": ((parts.END_TO_END, 0.95), (parts.AGAINST_PEER, 4.0)),
        "limits": ((parts.ARITHMETIC, None), (parts.BANDWIDTH, None)),
    }
    why = "--device cpu" if found else "no CUDA device here"
    return [
        Row(part=part, title=title, device="cuda", backbone=None, ratio=None, goal=goal, detail=why)
        for part in asked
        for title, goal in titles[part]
    ]


def _content(
    sizes: Sizes,
    images: BenchImages,
    device: torch.device,
    cores: int,
    options: argparse.Namespace,
    rows: Sequence[Row],
    done: dict[str, Measured],
) -> dict[str, Any]:
    return {
        "schema": 1,
        "device": {"kind": device.type, "name": device_name(str(device)), "cpu": device_name("cpu"), "threads": cores},
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "sizes": asdict(sizes),
        "files": {
            "generated": options.data is None,
            "n_images": images.n_images,
            "width_height": images.file_size,
            "median_bytes": images.median_bytes,
        },
        "rows": [asdict(row) | {"met": row.met} for row in rows],
        "rounds": [asdict(entry) for measured in done.values() for entry in measured.rounds],
    }


if __name__ == "__main__":
    main()
