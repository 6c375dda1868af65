"""What prediction is compared with, and the processes in which its memory and its loading are measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from bench.alternation import Case, Round, Spent, timed
from cv_folds.arrays import ByteArray, frozen
from cv_folds.files import sha256
from cv_folds.images import DECODER
from cv_folds.out_of_fold import OutOfFold
from cv_folds.scheduling.threads import cpu_cores
from cv_folds.training.backbones import build_backbone
from cv_folds.training.exactness import exact_float32
from cv_folds.training.pixels import IMAGENET, normalise
from cv_folds.training.state_dict import load_tensors
from ensemble import EnsemblePredictor, EnsembleSettings, cross_fit, fit_deployed, write_bundle
from ensemble.ahead import single_threaded
from ensemble.manifest_parts import Preprocessing, TrainingData
from ensemble.members import Members
from ensemble.passes import BATCH, MOST_THREADS

PART = "prediction"
PREDICTOR, SAME, PLAIN = "predictor", "same passes", "plain loop, batch {}"
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
FILE_SIZE = (600, 450)
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Resident memory of a process that predicts a stream of images, in MiB."""

    images: int
    """How many."""
    imported: float
    """After the imports."""
    weights: float
    """Of all files of weights."""
    peak: float
    """At its highest."""

    @property
    def beside_members(self) -> float:
        """Peak without the weights, in MiB; imports included."""
        return self.peak - self.weights


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Seconds."""

    reading: float
    """For the checksums of all files of weights."""
    load: float
    """For `EnsemblePredictor.load`."""
    first: float
    """For the first prediction, which reads the weights."""


def random_bundle(folder: Path, *, backbones: Sequence[str], n_folds: int, image_size: int) -> Path:
    """Write a bundle of untrained networks; what it says means nothing."""
    files = {}
    for fold in range(n_folds):
        for backbone in backbones:
            path = folder.with_name(f"{backbone}-{fold}.safetensors")
            network = build_backbone(backbone, len(CLASSES), image_size=image_size)
            save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
            files[backbone, fold] = path
    settings = EnsembleSettings(combiners=("soft_vote",), deployed="soft_vote")
    oof = _random_outputs(backbones)
    write_bundle(
        folder,
        hamcv_version="0",
        preprocessing=Preprocessing(decoder=DECODER, image_size=image_size, mean=IMAGENET.mean, std=IMAGENET.std),
        deployed=fit_deployed(oof, cross_fit(oof, settings, power=0.0), settings, power=0.0),
        training_data=TrainingData(name="none", fingerprint="0" * 64, n_images=1, n_lesions=1, demo=True),
        scores=(),
        member_files=files,
    )
    return folder


def _random_outputs(backbones: Sequence[str]) -> OutOfFold:
    generator, n = np.random.default_rng(0), 40 * len(CLASSES)
    labels = np.arange(n) % len(CLASSES)
    names = frozen([f"image-{row:04d}" for row in range(n)], np.str_)
    return OutOfFold(
        image_ids=names,
        lesion_ids=names,
        groups=names,
        labels=frozen(labels, np.int64),
        folds=frozen(np.arange(n) // len(CLASSES) % 2, np.int64),
        classes=CLASSES,
        backbones=tuple(backbones),
        logits=frozen(generator.normal(size=(n, len(backbones), len(CLASSES)))),
    )


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Write JPEG files of HAM10000's size, of smooth colours with a little noise."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for path in paths:
        smooth = Image.fromarray(generator.integers(256, size=(9, 12, 3), dtype=np.uint8)).resize(FILE_SIZE)
        noisy = np.asarray(smooth, dtype=np.float32) + generator.normal(scale=4, size=(*FILE_SIZE[::-1], 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def cases(bundle: Path, images: Sequence[Path], device: torch.device) -> list[Case]:
    """Return the whole prediction of files first, then the bare forward passes of the same networks."""
    predictor = EnsemblePredictor.load(bundle, device=str(device))
    members = Members(predictor.bundle, device)
    size = members.image_size
    usual = 16 if device.type == "cpu" else 64
    pixels = torch.randint(256, (max(len(images), usual), size, size, 3), dtype=torch.uint8)
    ready = normalise(pixels[: len(images)].to(device), IMAGENET)
    networks = [_as_trained(predictor, backbone, fold, device) for backbone, fold in _names(predictor)]

    def plain(batch: int) -> Case:
        def work(_: int) -> Spent:
            with torch.inference_mode(), exact_float32(device):
                return timed(lambda: _all_passes(networks, ready, batch))

        return Case(part=PART, name=PLAIN.format(batch), backbone=None, work=work)

    return [
        _case(PREDICTOR, lambda: len(predictor.predict_proba(list(images)))),
        _case(SAME, lambda: _same_passes(members, ready)),
        plain(BATCH[device.type]),
        plain(usual),
    ]


def _case(name: str, work: Callable[[], int]) -> Case:
    return Case(part=PART, name=name, backbone=None, work=lambda _: timed(work))


def _names(predictor: EnsemblePredictor) -> list[tuple[str, int]]:
    return [(member.backbone, member.fold) for member in predictor.bundle.manifest.members]


def _as_trained(predictor: EnsemblePredictor, backbone: str, fold: int, device: torch.device) -> nn.Module:
    """Load a network as anyone would: nothing folded."""
    manifest = predictor.bundle.manifest
    network = build_backbone(backbone, len(manifest.classes), image_size=manifest.preprocessing.image_size)
    load_tensors(network, load_file(predictor.bundle.path(manifest.member(backbone, fold))))
    return network.eval().to(memory_format=torch.channels_last).to(device)


def _all_passes(networks: Sequence[nn.Module], images: torch.Tensor, batch: int) -> int:
    for part in images.split(batch):
        for network in networks:
            network(part)
    if images.is_cuda:
        torch.cuda.synchronize()
    return len(images)


def _same_passes(members: Members, images: torch.Tensor) -> int:
    """Run the predictor's own networks as it does, and nothing else."""
    numbers = range(len(members.ordered))
    if images.is_cuda:
        parts, workers = [numbers], 1
    else:
        parts, workers = [[number] for number in numbers], min(torch.get_num_threads(), cpu_cores(), MOST_THREADS)

    def passes(part: Sequence[int], batch: torch.Tensor) -> None:
        # The mode holds for a thread, so each enters it itself.
        with torch.inference_mode(), exact_float32(images.device):
            for number in part:
                members.network(members.ordered[number])(batch)

    with single_threaded(workers) as pool:
        batches = images.split(BATCH[images.device.type])
        waiting = [pool.submit(passes, part, batch) for batch in batches for part in parts]
        for one in waiting:
            one.result()
    if images.is_cuda:
        # The results are those of starting the kernels.
        torch.cuda.synchronize(images.device)
    return len(images)


def take_turns(compared: Sequence[Case], rounds: int) -> list[Round]:
    """Run every case once to warm up, then all in turn."""
    for case in compared:
        case.work(1)
    return [
        Round(part=case.part, name=case.name, backbone=None, number=number, **vars(case.work(1)))
        for number in range(1, rounds + 1)
        for case in compared
    ]


def measure_memory(bundle: Path, device: str, count: int) -> Memory:
    """Predict a stream of pictures; meant for a process of its own."""
    imported = _resident()
    predictor = EnsemblePredictor.load(bundle, device=device)

    def stream() -> Iterator[ByteArray]:
        generator = np.random.default_rng(0)
        for _ in range(count):
            yield generator.integers(256, size=(*FILE_SIZE[::-1], 3), dtype=np.uint8)

    for _ in predictor.explain_each(stream()):
        pass
    weights = sum(predictor.bundle.path(member).stat().st_size for member in predictor.bundle.manifest.members)
    return Memory(images=count, imported=imported, weights=weights / MIB, peak=max(imported, _resident()))


def measure_loading(bundle: Path, device: str) -> Loading:
    """Load a bundle and predict once; meant for a process of its own."""
    files = [path for path in bundle.rglob("*.safetensors") if path.is_file()]
    _, reading = _seconds(lambda: [sha256(path) for path in files])
    predictor, load = _seconds(lambda: EnsemblePredictor.load(bundle, device=device))
    blank = np.zeros((64, 64, 3), dtype=np.uint8)
    _, first = _seconds(lambda: predictor.predict_proba(blank))
    return Loading(reading=reading, load=load, first=first)


def _seconds(work: Callable[[], object]) -> tuple[object, float]:
    start = time.perf_counter()
    done = work()
    return done, time.perf_counter() - start


def _resident() -> float:
    """Return the highest resident memory so far, in MiB."""
    # Not getrusage, whose figure a child process inherits from the one that started it. Linux 6 keeps this one lazily:
    # after memory was freed it can be some hundred KiB lower than it was.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
