"""What only a CUDA device can show; everything else about training is tested on the CPU."""

from __future__ import annotations

import gc
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cv_folds_samples import coloured_pixels, job_spec, small_folds
from safetensors.torch import load_file
from torch import nn

from cv_folds.data.pixel_file import PixelFile
from cv_folds.out_of_fold import FoldLogits
from cv_folds.training import compiled, trained_job
from cv_folds.training.augment import augment
from cv_folds.training.backbones import build_backbone
from cv_folds.training.checkpoint import Checkpoints, Snapshot
from cv_folds.training.course import EpochRow
from cv_folds.training.job_spec import JobSpec
from cv_folds.training.jobs import run_job
from cv_folds.training.loop import Fitted, Means, Progress, fit
from cv_folds.training.mixing import mix_images
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.plan import draw_plan
from cv_folds.training.predict import predict_logits
from cv_folds.training.settings import AugmentationSettings, PhaseSettings, TrainingSettings
from cv_folds.training.step import Stepper
from cv_folds.training.store import PixelStore, ResidentPixels, StreamedPixels, open_store
from cv_folds.training.view import ImageView

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]

CPU = torch.device("cpu")
N, SIZE = 90, 32
# Everything that keeps a state or draws random numbers.
SETTINGS = TrainingSettings(image_size=SIZE, epochs=3, batch_size=12, ema_decay=0.9, mixup=0.4, cutmix=0.4)
# What the ones above leave out.
REST = TrainingSettings(
    image_size=SIZE,
    batch_size=12,
    phases=(
        PhaseSettings(epochs=1, learning_rate=0.01, trained="head", batch_norm="frozen"),
        PhaseSettings(epochs=2, learning_rate=0.01, trained=0.5),
    ),
    optimiser="sgd",
    nesterov=True,
    loss="focal",
    class_weights="balanced",
    resampling="none",
    normalisation="data",
    validation_spins=2,
    held_out_spins=2,
    augmentation=AugmentationSettings(hue=0.1, blur=0.5, sharpness=0.5, erasing=0.5),
)
BOTH = pytest.mark.parametrize("settings", [SETTINGS, REST], ids=["settings", "rest"])
BACKBONES = ["shufflenet_v2_x0_5", "mobilenet_v3_small", "resnet18", "efficientnet_b0"]


@pytest.fixture
def cuda() -> Iterator[torch.device]:
    """The first GPU, as tensors name it; computes as in a job, and its memory is given back for the next test."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield torch.device("cuda", 0)
    gc.collect()
    torch.cuda.empty_cache()


def pixels() -> torch.Tensor:
    return torch.from_numpy(coloured_pixels(small_folds(), SIZE))


def stores(device: torch.device) -> dict[str, PixelStore]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pixels.npy")
        np.save(path, pixels().numpy())
        # An open file outlives its name.
        file = PixelFile(path)
    return {"resident": ResidentPixels(pixels().to(device)), "streamed": StreamedPixels(file, device)}


def views(kept: PixelStore) -> tuple[ImageView, ImageView]:
    labels = torch.from_numpy(small_folds().labels.copy())
    parts = torch.arange(60), torch.arange(60, N)
    return tuple(ImageView(kept, part, labels[part]) for part in parts)  # type: ignore[return-value]


def network(name: str, device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    model = build_backbone(name, 3, image_size=SIZE)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def fitted(
    model: nn.Module,
    kept: PixelStore,
    settings: TrainingSettings = SETTINGS,
    on_step: Callable[[Progress], object] = lambda _: None,
    **means: object,
) -> Fitted:
    train, validation = views(kept)
    torch.manual_seed(1)
    return fit(
        model,
        train,
        validation,
        settings=settings,
        from_scratch=True,
        normalisation=IMAGENET,
        generator=torch.Generator().manual_seed(2),
        on_step=on_step,
        on_epoch=lambda _: None,
        means=Means(**means),  # type: ignore[arg-type]
    )


# The host must not wait for the device.


def test_the_watch_for_waiting_sees_it(cuda):
    # Otherwise the next test would pass whatever the loop does.
    value = torch.ones(3, device=cuda)
    float(value.sum())
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            float(value.sum())
        with pytest.raises(RuntimeError, match="synchroniz"):
            torch.zeros(3).to(cuda)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("micro_batch", [None, 5])
@pytest.mark.parametrize("kind", ["resident", "streamed"])
@pytest.mark.parametrize("name", BACKBONES)
def test_no_step_but_the_first_makes_the_host_wait(cuda, name, kind, micro_batch, bfloat16):
    settings = SETTINGS.model_copy(update={"epochs": 2})
    assert len(watched(name, stores(cuda)[kind], settings, bfloat16=bfloat16, micro_batch=micro_batch)) == 2


@pytest.mark.parametrize("kind", ["resident", "streamed"])
@pytest.mark.parametrize("name", BACKBONES)
def test_nor_does_it_with_the_rest_of_the_settings(cuda, name, kind):
    assert len(watched(name, stores(cuda)[kind], REST, bfloat16=True, micro_batch=5)) == 3


def watched(name: str, kept: PixelStore, settings: TrainingSettings, **means: object) -> Sequence[EpochRow]:
    """Train while nothing may wait for the device but what ends an epoch or begins one."""

    def watch(progress: Progress) -> None:
        # The first step of an epoch sends its plan, the end of the last one reads the loss.
        watched = progress.step < progress.steps
        torch.cuda.set_sync_debug_mode("error" if watched else "default")

    try:
        history = fitted(network(name, torch.device("cuda", 0)), kept, settings, watch, **means).history
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(math.isfinite(row.train_loss) for row in history)
    return history


# The same images as on a CPU, wherever they lie.


@BOTH
def test_one_plan_gives_the_same_images_on_both_devices(cuda, settings):
    labels = torch.from_numpy(small_folds().labels.copy())
    plan = draw_plan(labels, settings, torch.Generator().manual_seed(0))
    shown = set()
    for step, mix in enumerate(plan.mixes):
        batch = pixels()[plan.positions[step]]
        parameters = plan.parameters.rows(slice(12 * step, 12 * (step + 1)))
        expected = augment(batch, parameters, IMAGENET)
        # Parameters that are still on the host are as good.
        for there in (parameters, parameters.to(cuda)):
            images = augment(batch.to(cuda), there, IMAGENET)
            assert images.device == cuda
            torch.testing.assert_close(images.cpu(), expected, rtol=0, atol=5e-3)
        if mix is None:
            continue
        mixed = mix_images(expected.to(cuda), mix.to(cuda))
        torch.testing.assert_close(mixed.cpu(), mix_images(expected, mix), rtol=0, atol=1e-5)
        shown.add(mix.box is None)
    assert shown == ({True, False} if settings.mixup else set())


@pytest.mark.parametrize("sizes", [[7], [6] * 30, [3, 11, 1, 8] * 6], ids=str)
def test_every_store_gives_the_images_that_were_asked_for_however_late_the_device_reads(cuda, sizes):
    generator = torch.Generator().manual_seed(0)
    wanted = [torch.randint(N, (size,), generator=generator) for size in sizes]
    for kept in stores(cuda).values():
        given = []
        torch.cuda._sleep(200_000_000)
        for batch in kept.batches(wanted):
            given.append(batch)
            # The copies queue up behind it, while the threads would like to fill the buffers again.
            torch.cuda._sleep(5_000_000)
        for batch, rows in zip(given, wanted, strict=True):
            assert batch.device == cuda
            assert torch.equal(batch.cpu(), pixels()[rows])


def test_training_and_prediction_do_not_depend_on_the_store(cuda):
    results = []
    for kept in stores(cuda).values():
        model = network("shufflenet_v2_x0_5", cuda)
        rows = [(row.train_loss, row.validation_loss) for row in fitted(model, kept).history]
        logits = predict_logits(model, views(kept)[1], batch_size=7, normalisation=IMAGENET)
        results.append((rows, logits.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize(("room", "kind"), [(3, ResidentPixels), (1, StreamedPixels)])
def test_images_are_resident_when_they_take_at_most_half_of_the_free_memory(cuda, tmp_path, monkeypatch, room, kind):
    np.save(tmp_path / "pixels.npy", pixels().numpy())
    total = torch.cuda.get_device_properties(cuda).total_memory
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (room * pixels().nbytes, total))
    # As if this process had taken nothing yet.
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: 0)
    kept = open_store(tmp_path / "pixels.npy", cuda)
    assert isinstance(kept, kind)
    assert torch.equal(next(iter(kept.batches([torch.arange(N)]))).cpu(), pixels())


def test_memory_that_the_job_before_left_to_this_process_counts_as_free(cuda, tmp_path, monkeypatch):
    np.save(tmp_path / "pixels.npy", pixels().numpy())
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (0, 0))
    left = torch.empty(256 * pixels().nbytes, dtype=torch.uint8, device=cuda)
    del left
    assert isinstance(open_store(tmp_path / "pixels.npy", cuda), ResidentPixels)


# Arithmetic.


def gradients(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, micro_batch: int
) -> tuple[float, torch.Tensor]:
    settings = TrainingSettings(gradient_clip=1e6)
    stepper = Stepper(
        model, forward=model, settings=settings, peak=1e-3, steps=10, bfloat16=False, micro_batch=micro_batch
    )
    seen: list[torch.Tensor] = []
    stepper.optimiser.step = lambda: seen.extend(each.grad.clone() for each in model.parameters())  # type: ignore[method-assign]
    loss = float(stepper.step(images, targets, None))
    return loss, torch.cat([each.flatten() for each in seen]).cpu()


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_micro_batches_give_the_gradient_of_the_cpu(cuda, micro_batch):
    def plain() -> nn.Module:
        torch.manual_seed(0)
        layers = (nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
        return nn.Sequential(*layers)

    images = torch.randn(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    loss, expected = gradients(plain(), images, targets, 8)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        loss_there, there = gradients(plain().to(cuda), images.to(cuda), targets.to(cuda), micro_batch)
    assert loss_there == pytest.approx(loss, rel=1e-4)
    torch.testing.assert_close(there, expected, rtol=1e-3, atol=1e-5)


def test_bfloat16_learns_and_keeps_float32_weights(cuda):
    model = network("resnet18", cuda)
    settings = TrainingSettings(image_size=SIZE, epochs=12, batch_size=20, learning_rate_from_scratch=0.003)
    history = fitted(model, stores(cuda)["resident"], settings, bfloat16=True).history
    assert min(row.validation_loss for row in history) < 0.8 * history[0].validation_loss
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


# Whole jobs.


def bytes_of(spec: JobSpec) -> list[bytes]:
    return [(spec.folder / name).read_bytes() for name in ("model.safetensors", "oof.npz")]


def gpu_job(folder: Path, **changed: object) -> JobSpec:
    return job_spec(folder, **({"settings": SETTINGS, "device": "cuda"} | changed))


@BOTH
@pytest.mark.parametrize("name", BACKBONES)
def test_the_same_job_gives_the_same_bytes(cuda, tmp_path, name, settings):
    first = gpu_job(tmp_path, backbone=name, settings=settings)
    second = replace(first, run=tmp_path / "again")
    record = run_job(first)
    # What the process did before leaves no trace.
    torch.cuda.manual_seed_all(7)
    run_job(second)
    assert bytes_of(first) == bytes_of(second)
    assert (record.device, record.micro_batch) == ("cuda", SETTINGS.batch_size)
    assert record.precision == ("bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32")


def test_the_callers_random_numbers_are_left_alone(cuda, tmp_path):
    torch.cuda.manual_seed_all(5)
    before = torch.cuda.get_rng_state(cuda)
    run_job(gpu_job(tmp_path, settings=SETTINGS.model_copy(update={"epochs": 1})))
    assert torch.equal(torch.cuda.get_rng_state(cuda), before)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0"])
@pytest.mark.parametrize("steps", [2, 5, 8])
@BOTH
def test_a_job_that_was_interrupted_ends_with_the_same_files(cuda, tmp_path, monkeypatch, name, steps, settings):
    whole = gpu_job(tmp_path, backbone=name, settings=settings)
    run_job(whole)
    spec = replace(whole, run=tmp_path / "interrupted", checkpoint_seconds=0.0)

    def interrupting(_: Path) -> Callable[[Progress], None]:
        left = steps

        def told(_: Progress) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        return told

    with monkeypatch.context() as patch:
        patch.setattr(trained_job, "progress_writer", interrupting)
        with pytest.raises(KeyboardInterrupt):
            run_job(spec)
    assert list(spec.folder.glob("checkpoints/step-*"))
    assert run_job(spec).resumed == 1
    assert bytes_of(spec) == bytes_of(whole)


def test_a_checkpoint_holds_the_moment_at_which_it_was_taken(cuda, tmp_path):
    weights = torch.randn(256, 64, 3, 3, device=cuda).to(memory_format=torch.channels_last)
    expected = weights.cpu()
    checkpoints = Checkpoints(tmp_path, "digest")
    checkpoints.save(Snapshot(tensors={"model/a": weights}, state={"steps_done": 1}))
    # It is written in the background while the training goes on.
    weights.zero_()
    checkpoints.wait()
    latest = checkpoints.latest()
    checkpoints.close()
    assert latest is not None
    assert torch.equal(latest.tensors["model/a"], expected)


@pytest.mark.parametrize("name", BACKBONES)
def test_out_of_fold_logits_are_those_of_the_stored_weights_on_a_cpu(cuda, tmp_path, name):
    spec = gpu_job(tmp_path, backbone=name)
    run_job(spec)
    part = FoldLogits.load(spec.folder / "oof.npz")
    model = build_backbone(name, 3, image_size=SIZE)
    model.load_state_dict(load_file(spec.folder / "model.safetensors"))
    held_out = torch.from_numpy(np.flatnonzero(spec.folds.folds == spec.fold))
    view = ImageView(ResidentPixels(pixels()), held_out, torch.zeros(len(held_out)))
    expected = predict_logits(model, view, batch_size=30, normalisation=IMAGENET).double().numpy()
    # TensorFloat-32 or bfloat16 would be off by a thousandth or more.
    np.testing.assert_allclose(part.logits, expected, rtol=0, atol=2e-4 * max(1.0, np.abs(expected).max()))


class Wide(nn.Module):
    """Takes a lot of memory an image and, without batch normalisation, gives the same gradient in halves."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(64, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layers(images))
        return logits


def test_a_gpu_that_is_too_small_computes_fewer_images_at_a_time(cuda, tmp_path, monkeypatch):
    folds = small_folds(n_lesions=300)
    np.save(tmp_path / "pixels.npy", coloured_pixels(folds, 96))
    monkeypatch.setattr(trained_job, "build_backbone", lambda *_, **__: Wide())
    settings = TrainingSettings(image_size=96, epochs=2, batch_size=256, precision="float32", ema_decay=0.5)
    roomy = gpu_job(tmp_path, folds=folds, settings=settings)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(cuda)
    assert run_job(roomy).micro_batch == 256
    # Not what was reserved: the evaluation after the training leaves blocks that no step can use.
    most = torch.cuda.max_memory_allocated(cuda)
    gc.collect()
    torch.cuda.empty_cache()
    narrow = replace(roomy, run=tmp_path / "narrow")
    total = torch.cuda.get_device_properties(cuda).total_memory
    torch.cuda.set_per_process_memory_fraction(0.6 * most / total, cuda)
    try:
        record = run_job(narrow)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, cuda)
    assert 4 <= record.micro_batch <= 128
    logits, expected = (np.load(spec.folder / "oof.npz")["logits"] for spec in (narrow, roomy))
    np.testing.assert_allclose(logits, expected, rtol=0.05, atol=0.05)


# Inductor has warnings of its own, which say nothing about us.
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_job_ends_like_a_plain_one(cuda, tmp_path, monkeypatch):
    pytest.importorskip("triton")
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        pytest.skip("no C compiler")
    monkeypatch.setattr(compiled, "_made", {})
    torch.compiler.reset()
    # Small steps: rounding that differs must not be blown up by the training.
    slow = {"precision": "float32", "epochs": 2, "learning_rate_from_scratch": 1e-4}
    settings = SETTINGS.model_copy(update=slow)
    plain = gpu_job(tmp_path, settings=settings)
    run_job(plain)
    fast = settings.model_copy(update={"compile": True})
    specs = [replace(plain, run=tmp_path / "compiled", settings=fast, fold=fold) for fold in (0, 1)]
    for spec in specs:
        run_job(spec)
    assert len(compiled._made) == 1
    logits, expected = (np.load(spec.folder / "oof.npz")["logits"] for spec in (specs[1], plain))
    np.testing.assert_allclose(logits, expected, rtol=0.05, atol=0.05)
    torch.compiler.reset()
