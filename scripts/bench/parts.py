"""The four comparisons, each from its cases to its rows."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from bench.alternation import Case, Round, alternate, median_ratio, median_speed
from bench.engine import (
    engine_input,
    engine_training,
    fresh_model,
    stepper_of,
    synthetic_batch,
    synthetic_training,
)
from bench.images import BenchImages
from bench.limits import copying, demand_of, multiplying
from bench.peer import peer_images, peer_input, peer_training, plain_steps_elsewhere
from bench.rows import Row
from cv_folds.training.backbones import bfloat16_pays
from cv_folds.training.settings import AugmentationSettings, TrainingSettings

FLIPS_ONLY = AugmentationSettings(rotation=0, zoom=0, shift=0, brightness=0, contrast=0, saturation=0)
STEP_GOALS = {"efficientnet_b0": 1.6, "mobilenet_v3_large": 2.0, "resnet50": 2.0}
END_TO_END, AGAINST_PEER = "end to end / own synthetic step", "end to end / peer pipeline"
ARITHMETIC, BANDWIDTH = "step / arithmetic limit", "step / memory-bandwidth limit"
INPUT_FULL, INPUT_FLIPS = "input cost of peer / ours, full augmentation", "input cost of peer / ours, flips only"
CPU_STEP = "CPU step, ours / float32 NCHW"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large and how long."""

    image_size: int
    """Side of the images in pixels."""
    batch_size: int
    """Images a step."""
    backbones: tuple[str, ...]
    """Networks."""
    n_images: int
    """Images that are generated, or taken of a folder, about."""
    rounds: int
    """Turns of each case."""
    seconds: float
    """Of each turn, about."""
    matrix: int
    """Side of the matrices for the arithmetic limit."""
    copied_mib: int
    """Size of the copy for the bandwidth limit."""

    @property
    def settings(self) -> TrainingSettings:
        """Full augmentation at these sizes."""
        return TrainingSettings(image_size=self.image_size, batch_size=self.batch_size)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a part gives."""

    rows: tuple[Row, ...]
    """Its ratios."""
    rounds: tuple[Round, ...]
    """Every turn of every case."""


def training(sizes: Sizes, images: BenchImages, device: torch.device, workers: int) -> Measured:
    """Compare a training end to end with its own step on resident noise, and with the peer's pipeline."""
    rows: list[Row] = []
    rounds: list[Round] = []
    for name in sizes.backbones:
        model = fresh_model(name, images.n_classes, sizes.settings, device)
        bfloat16 = bfloat16_pays(name, device)
        new_stepper = partial(stepper_of, model, sizes.settings, bfloat16=bfloat16)
        case = partial(Case, part="training", backbone=name)
        pixels, targets = synthetic_batch(sizes.settings, images.n_classes, device)
        ours = case(
            name="end to end", work=engine_training(model, images, sizes.settings, bfloat16=bfloat16, device=device)
        )
        synthetic = case(name="synthetic", work=synthetic_training(new_stepper, pixels, targets))
        cases = [ours, synthetic]
        if (reason := _no_room_for_workers(sizes, workers)) is None:
            peer = peer_training(
                peer_images(images.class_folders, sizes.settings),
                new_stepper,
                batch_size=sizes.batch_size,
                workers=workers,
                device=device,
            )
            cases.append(case(name="peer", work=peer))
        mine = alternate(cases, rounds=sizes.rounds, seconds=sizes.seconds)
        speeds = {each.name: f"{median_speed(mine, each):.4g}" for each in cases}
        row = partial(Row, part="training", device=device.type, backbone=name)
        rows.append(
            row(
                title=END_TO_END,
                ratio=median_ratio(mine, ours, synthetic),
                goal=0.95,
                detail=f"{speeds['end to end']} / {speeds['synthetic']} images/s, {_precision(bfloat16)}",
            )
        )
        goal = 4.0 if device.type == "cuda" else None
        if reason is None:
            detail = f"{speeds['end to end']} / {speeds['peer']} images/s, {workers} workers"
            rows.append(row(title=AGAINST_PEER, ratio=median_ratio(mine, ours, cases[2]), goal=goal, detail=detail))
        else:
            rows.append(row(title=AGAINST_PEER, ratio=None, goal=goal, detail=reason))
        rounds += mine
    return Measured(rows=tuple(rows), rounds=tuple(rounds))


def limits(sizes: Sizes, n_classes: int, device: torch.device) -> Measured:
    """Compare the step with what the device was measured to do at most."""
    rows: list[Row] = []
    rounds: list[Round] = []
    for name in sizes.backbones:
        bfloat16 = bfloat16_pays(name, device)
        new_stepper = partial(
            stepper_of, fresh_model(name, n_classes, sizes.settings, device), sizes.settings, bfloat16=bfloat16
        )
        pixels, targets = synthetic_batch(sizes.settings, n_classes, device)
        copy, copied = copying(sizes.copied_mib * 2**20, device)
        multiply, multiplied = multiplying(sizes.matrix, torch.bfloat16 if bfloat16 else torch.float32, device)
        case = partial(Case, part="limits", backbone=name)
        step = case(name="step", work=synthetic_training(new_stepper, pixels, targets))
        memory, arithmetic = case(name="copy", work=copy), case(name="matrix product", work=multiply)
        mine = alternate([step, memory, arithmetic], rounds=sizes.rounds, seconds=sizes.seconds)
        demand = demand_of(new_stepper(), pixels, targets)
        row = partial(Row, part="limits", device=device.type, backbone=name)
        for title, limit, asked, given, unit in (
            (ARITHMETIC, arithmetic, demand.flops, multiplied, "TFLOP/s"),
            (BANDWIDTH, memory, demand.bytes_moved, copied, "TB/s"),
        ):
            share = median_ratio(mine, step, limit) * asked / sizes.batch_size / given
            used = median_speed(mine, step) * asked / sizes.batch_size / 1e12
            possible = median_speed(mine, limit) * given / 1e12
            detail = f"{used:.3g} of {possible:.3g} {unit}, {_precision(bfloat16)}"
            rows.append(row(title=title, ratio=share, detail=detail))
        rounds += mine
    return Measured(rows=tuple(rows), rounds=tuple(rounds))


def inputs(sizes: Sizes, images: BenchImages, cores: int) -> Measured:
    """Compare the CPU time an image until it may enter the network, on one thread each."""
    rows: list[Row] = []
    rounds: list[Round] = []
    torch.set_num_threads(1)
    for title, goal, augmentation in (
        (INPUT_FULL, 3.3, AugmentationSettings()),
        (INPUT_FLIPS, 8.0, FLIPS_ONLY),
    ):
        settings = sizes.settings.model_copy(update={"augmentation": augmentation})
        kind = title.rpartition(", ")[2]
        peer_work = peer_input(peer_images(images.class_folders, settings), sizes.batch_size)
        peer = Case(part="input", name=f"peer, {kind}", backbone=None, work=peer_work)
        ours = Case(part="input", name=f"ours, {kind}", backbone=None, work=engine_input(images, settings))
        mine = alternate([ours, peer], rounds=sizes.rounds, seconds=sizes.seconds)
        detail = (
            f"{median_speed(mine, ours, cpu=True):.4g} / {median_speed(mine, peer, cpu=True):.4g} images/CPU second"
        )
        ratio = median_ratio(mine, ours, peer, cpu=True)
        rows.append(Row(part="input", title=title, device="cpu", backbone=None, ratio=ratio, goal=goal, detail=detail))
        rounds += mine
    torch.set_num_threads(cores)
    return Measured(rows=tuple(rows), rounds=tuple(rounds))


def steps(sizes: Sizes, n_classes: int) -> Measured:
    """Compare the engine's step on the CPU with a plain one."""
    rows: list[Row] = []
    rounds: list[Round] = []
    cpu = torch.device("cpu")
    for name in sizes.backbones:
        model = fresh_model(name, n_classes, sizes.settings, cpu)
        bfloat16 = bfloat16_pays(name, cpu)
        pixels, targets = synthetic_batch(sizes.settings, n_classes, cpu)
        case = partial(Case, part="step", backbone=name)
        # Where the processor has no bfloat16 instructions, it would take minutes.
        tried = (False, True) if bfloat16_pays("resnet50", cpu) else (False,)
        steppers = [stepper_of(model, sizes.settings, bfloat16=low) for low in tried]
        variants = [
            case(name=_precision(low), work=synthetic_training(lambda kept=stepper: kept, pixels, targets))
            for low, stepper in enumerate(steppers)
        ]
        shape, threads = tuple(pixels.shape), torch.get_num_threads()
        with plain_steps_elsewhere(name, n_classes, shape, threads) as work:
            plain = case(name="float32 NCHW", work=work)
            mine = alternate([plain, *variants], rounds=sizes.rounds, seconds=sizes.seconds)
        ours = variants[bfloat16]
        speeds = [f"{median_speed(mine, each):.4g} {each.name}" for each in (*variants, plain)]
        rows.append(
            Row(
                part="step",
                title=CPU_STEP,
                device="cpu",
                backbone=name,
                ratio=median_ratio(mine, ours, plain),
                goal=STEP_GOALS.get(name),
                detail=f"uses {_precision(bfloat16)}; images/s: {', '.join(speeds)}; {threads} threads",
            )
        )
        rounds += mine
    return Measured(rows=tuple(rows), rounds=tuple(rounds))


def _precision(bfloat16: bool | int) -> str:
    return "bfloat16" if bfloat16 else "float32"


def _no_room_for_workers(sizes: Sizes, workers: int) -> str | None:
    """Tell why a `DataLoader` cannot hand its batches over, through shared memory; None when it can."""
    shared = Path("/dev/shm")  # noqa: S108 - where the system keeps it
    needed = (2 * workers + 2) * sizes.batch_size * 3 * sizes.image_size**2 * 4
    if not shared.is_dir() or (free := shutil.disk_usage(shared).free) > needed:
        return None
    return f"the peer's workers need {needed / 2**20:.0f} MiB of shared memory; {shared} has {free / 2**20:.0f}"
