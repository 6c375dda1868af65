from __future__ import annotations

import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cv_folds_samples import coloured_pixels, job_spec, small_folds
from torch import nn

from cv_folds.errors import JobFailedError
from cv_folds.training import checkpoint, jobs, store, trained_job
from cv_folds.training.checkpoint import CHECKPOINT_FOLDER, Checkpoints, Snapshot
from cv_folds.training.job_spec import JobSpec
from cv_folds.training.jobs import finished, run_job
from cv_folds.training.loop import Fitted, Means, fit
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.settings import PhaseSettings, TrainingSettings
from cv_folds.training.store import ResidentPixels
from cv_folds.training.view import ImageView

# Everything that keeps a state: momentum, batch normalisation, dropout, the moving average, mixing, spun validation.
SETTINGS = TrainingSettings(
    image_size=32, epochs=4, batch_size=12, ema_decay=0.9, mixup=0.4, cutmix=0.4, validation_spins=2
)
STEPS = 60 // 12
# As many epochs in parts, with all that differs between them.
PHASES = (
    PhaseSettings(epochs=1, learning_rate=0.02, trained="head", batch_norm="frozen"),
    PhaseSettings(epochs=2, learning_rate=0.01, trained=0.67),
    PhaseSettings(epochs=1, learning_rate=0.005),
)
KINDS = {
    "plain": SETTINGS,
    "phases": SETTINGS.model_copy(update={"phases": PHASES, "monitor": "macro_f1"}),
    "sgd": SETTINGS.model_copy(update={"phases": PHASES, "optimiser": "sgd", "loss": "focal", "monitor": "last"}),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(*layers, nn.Dropout(0.3), nn.Linear(8, 3))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def view(rows: range) -> ImageView:
    folds = small_folds()
    store = ResidentPixels(torch.from_numpy(coloured_pixels(folds)))
    positions = torch.tensor(rows)
    return ImageView(store, positions, torch.from_numpy(folds.labels.copy())[positions])


class Killed(BaseException):
    pass


def train(
    folder: Path,
    *,
    killed_after: int | None = None,
    seconds: float = 600.0,
    share: float = math.inf,
    settings: TrainingSettings = SETTINGS,
) -> tuple[nn.Module, Fitted]:
    """Train, or fall over after so many steps."""
    model, steps = network(), 0

    def on_step(_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == killed_after:
            raise Killed

    torch.manual_seed(5)
    fitted = fit(
        model,
        view(range(60)),
        view(range(60, 90)),
        settings=settings,
        from_scratch=True,
        normalisation=IMAGENET,
        generator=torch.Generator().manual_seed(3),
        on_step=on_step,
        on_epoch=lambda _: None,
        means=Means(checkpoints=Checkpoints(folder, "digest", share=share), checkpoint_seconds=seconds),
    )
    return model, fitted


def outcome(model: nn.Module, fitted: Fitted) -> tuple[dict[str, list[float]], list[tuple[object, ...]]]:
    weights = {key: value.flatten().tolist() for key, value in model.state_dict().items()}
    rows = [
        (
            row.epoch,
            row.phase,
            row.learning_rate,
            row.train_loss,
            row.figures,
            row.weights,
        )
        for row in fitted.history
    ]
    return weights, rows


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("seconds", [0.0, 600.0])
@pytest.mark.parametrize("killed_after", [1, STEPS - 1, STEPS, STEPS + 1, 2 * STEPS + 3, 4 * STEPS])
def test_a_killed_training_ends_as_if_nothing_had_happened(tmp_path, killed_after, seconds, settings):
    expected = outcome(*train(tmp_path / "whole", settings=settings))
    with pytest.raises(Killed):
        train(tmp_path / "killed", killed_after=killed_after, seconds=seconds, settings=settings)
    model, fitted = train(tmp_path / "killed", seconds=seconds, settings=settings)
    assert outcome(model, fitted) == expected
    reached = killed_after > 1 if seconds == 0 else killed_after > STEPS
    assert fitted.resumed == int(reached)


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
def test_a_training_that_is_killed_again_and_again(tmp_path, settings):
    expected = outcome(*train(tmp_path / "whole", settings=settings))
    for _ in range(6):
        with pytest.raises(Killed):
            train(tmp_path / "killed", killed_after=3, seconds=0.0, settings=settings)
    model, fitted = train(tmp_path / "killed", seconds=0.0, settings=settings)
    assert outcome(model, fitted) == expected
    assert fitted.resumed == 6


def test_the_last_two_are_kept(tmp_path):
    train(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{steps:09d}.safetensors" for steps in (3 * STEPS, 4 * STEPS)
    ]


class SlowDisk:
    """Stands for the clock and for a disk that takes ten seconds to write a checkpoint."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(checkpoint, "time", SimpleNamespace(perf_counter=lambda: self.now))
        write = checkpoint._save

        def slowly(*arguments: object) -> None:
            self.now += 10
            write(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(checkpoint, "_save", slowly)


@pytest.mark.parametrize(
    ("longest", "expected"),
    [
        # The first epoch always, then one for each hundred seconds of training.
        (600.0, [1, 26, 51]),
        (39.0, [1, 11, 21, 31, 41, 51]),
        (0.0, list(range(1, 61))),
    ],
)
def test_writing_takes_a_tenth_of_the_time_at_most(tmp_path, monkeypatch, longest, expected):
    disk = SlowDisk(monkeypatch)
    checkpoints = Checkpoints(tmp_path, "digest")
    written = []
    for epoch in range(1, 61):
        disk.now += 4
        if checkpoints.worthwhile(longest):
            checkpoints.save(snapshot(epoch))
            written.append(epoch)
    assert written == expected


def test_epochs_that_take_long_each_leave_a_checkpoint(tmp_path, monkeypatch):
    disk = SlowDisk(monkeypatch)
    checkpoints = Checkpoints(tmp_path, "digest")
    for epoch in range(1, 5):
        disk.now += 100
        assert checkpoints.worthwhile(600.0)
        checkpoints.save(snapshot(epoch))


def test_short_epochs_of_a_training_share_a_checkpoint(tmp_path, monkeypatch):
    saved: list[int] = []
    save = Checkpoints.save

    def noted(self: Checkpoints, taken: Snapshot) -> None:
        saved.append(taken.state["steps_done"])
        save(self, taken)

    monkeypatch.setattr(Checkpoints, "save", noted)
    # Its clock stands still during the epochs: any writing takes more than a tenth of no time.
    SlowDisk(monkeypatch)
    train(tmp_path, share=0.1)
    assert saved == [STEPS]


def snapshot(steps: int) -> Snapshot:
    weights = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(steps))
    tensors = {"model/a": weights.contiguous(memory_format=torch.channels_last), "count": torch.tensor(steps)}
    return Snapshot(tensors=tensors, state={"steps_done": steps, "rows": [], "text": "ü"})


def test_what_is_read_is_what_was_written(tmp_path):
    checkpoints = Checkpoints(tmp_path, "digest")
    checkpoints.save(snapshot(7))
    read = checkpoints.latest()
    assert read is not None
    assert read.state == snapshot(7).state
    for key, tensor in snapshot(7).tensors.items():
        assert torch.equal(read.tensors[key], tensor)
        assert read.tensors[key].stride() == tensor.stride()


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "foreign"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage):
    checkpoints = Checkpoints(tmp_path, "digest")
    checkpoints.save(snapshot(1))
    checkpoints.save(snapshot(2))
    path = tmp_path / "step-000000002.safetensors"
    content = bytearray(path.read_bytes())
    match damage:
        case "cut":
            del content[-20:]
        case "flipped":
            content[-1] ^= 1
        case "emptied":
            content.clear()
        case "foreign":
            content[:] = b"{}" * 40
    path.write_bytes(content)
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.state["steps_done"] == 1


def test_a_checkpoint_in_another_format_is_passed_over(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, "digest")
    checkpoints.save(snapshot(1))
    monkeypatch.setattr(checkpoint, "_FORMAT", "other")
    assert checkpoints.latest() is None


def test_the_checkpoint_of_another_job_is_passed_over(tmp_path):
    Checkpoints(tmp_path, "other").save(snapshot(1))
    assert Checkpoints(tmp_path, "digest").latest() is None
    assert Checkpoints(tmp_path / "nowhere", "digest").latest() is None


@pytest.mark.parametrize("later", [1, 2, 3])
def test_later_steps_of_another_job_do_not_push_out_a_new_checkpoint(tmp_path, later):
    for steps in range(100, 100 + later):
        Checkpoints(tmp_path, "other").save(snapshot(steps))
    checkpoints = Checkpoints(tmp_path, "digest")
    for steps in (1, 2, 3):
        checkpoints.save(snapshot(steps))
        latest = checkpoints.latest()
        assert latest is not None
        assert latest.state["steps_done"] == steps
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{steps:09d}.safetensors" for steps in (2, 3)]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_checkpoint import Checkpoints, JobFailedError, snapshot
checkpoints = Checkpoints(Path(sys.argv[1]), "digest")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))
try:
    checkpoints.save(snapshot(2))
except JobFailedError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_a_disk_without_room_leaves_the_checkpoint_before_it(tmp_path):
    checkpoints = Checkpoints(tmp_path, "digest")
    checkpoints.save(snapshot(1))
    # A limit on the size of files stands for the full disk: the write fails half-way alike.
    command = [sys.executable, "-W", "error", "-c", FULL_DISK, str(tmp_path), str(Path(__file__).parent)]
    paths = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    answer = subprocess.run(command, capture_output=True, text=True, env=paths, check=False)
    assert answer.returncode == 1, answer.stderr
    assert "cannot write the checkpoint" in answer.stdout
    assert "run the same command again" in answer.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.safetensors"]
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.state["steps_done"] == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> JobSpec:
    torch.set_num_threads(1)
    spec = job_spec(tmp_path_factory.mktemp("whole"), settings=SETTINGS)
    run_job(spec)
    return spec


def test_a_finished_job_leaves_no_checkpoint(whole):
    assert not (whole.folder / CHECKPOINT_FOLDER).exists()


KILL = """
import os, pickle, signal, sys
from cv_folds.training import checkpoint, jobs, trained_job
spec, steps = pickle.load(open(sys.argv[1], "rb"))
writer = trained_job.progress_writer
def killing(folder):
    write, left = writer(folder), steps
    def told(progress):
        global steps
        steps -= 1
        write(progress)
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return told
trained_job.progress_writer = killing
jobs.run_job(spec)
"""


@pytest.mark.parametrize("steps", [2, 7, 13])
def test_a_job_that_is_killed_ends_with_the_same_files(whole, tmp_path, steps):
    import pickle

    spec = replace(whole, run=tmp_path / "run", checkpoint_seconds=0.0)
    (tmp_path / "spec").write_bytes(pickle.dumps((spec, steps)))
    paths = {"PYTHONPATH": ":".join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run([sys.executable, "-c", KILL, str(tmp_path / "spec")], env=paths, check=False)
    assert answer.returncode == -signal.SIGKILL
    assert finished(spec) is None
    record = run_job(spec)
    assert record.resumed == (1 if steps > 1 else 0)
    for name in ("model.safetensors", "oof.npz"):
        assert (spec.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert not (spec.folder / CHECKPOINT_FOLDER).exists()
    assert record.seconds > 0


class Hungry(nn.Module):
    """Takes at most so many images at a time, as a GPU does; without batch normalisation, so that halves add up."""

    most = 5
    asked: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, 3)
        self.asked = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(images))
        # A pass without gradients keeps no activations: a quarter of the memory.
        if len(images) > (self.most if torch.is_grad_enabled() else 4 * self.most):
            raise torch.OutOfMemoryError("as if")
        logits: torch.Tensor = self.head(self.layers(images))
        return logits


def test_too_little_memory_halves_the_micro_batch_and_changes_nothing(tmp_path, monkeypatch):
    settings = TrainingSettings(image_size=32, epochs=2, batch_size=16, learning_rate_from_scratch=0.02)
    monkeypatch.setattr(trained_job, "build_backbone", lambda *_, **__: Hungry())
    logits = []
    for name, most in (("roomy", 1000), ("narrow", 5)):
        monkeypatch.setattr(Hungry, "most", most)
        spec = job_spec(tmp_path / name, settings=settings)
        assert run_job(spec).micro_batch == {"roomy": 16, "narrow": 4}[name]
        logits.append(np.load(spec.folder / "oof.npz")["logits"])
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("as if"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
)
def test_images_on_the_device_make_room_before_a_step_is_halved(error, tmp_path, monkeypatch):
    spec = job_spec(tmp_path, settings=TrainingSettings(image_size=32, epochs=1, batch_size=16))
    cpu = torch.device("cpu")
    monkeypatch.setattr(store, "_uploaded", {(spec.pixels, cpu): store.ResidentPixels(torch.zeros(1))})
    tried = []

    def hungry(spec, device, checkpoints, micro_batch, *, resident):
        tried.append((micro_batch, resident, len(store._uploaded)))
        raise error if len(tried) < 4 else KeyError("enough was seen")

    monkeypatch.setattr(jobs, "train_and_predict", hungry)
    with pytest.raises(KeyError):
        run_job(spec)
    assert tried == [(16, True, 1), (16, False, 0), (8, False, 0), (4, False, 0)]


def test_another_error_is_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    tried = []

    def wrong(*_, **__):
        tried.append(None)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(jobs, "train_and_predict", wrong)
    with pytest.raises(RuntimeError, match="illegal"):
        run_job(job_spec(tmp_path))
    assert len(tried) == 1


def test_what_killed_processes_were_writing_is_removed(tmp_path, monkeypatch):
    spec = job_spec(tmp_path)
    left = [
        spec.folder / "model.safetensors.partial-17-4",
        spec.folder / CHECKPOINT_FOLDER / "step-000000007.safetensors.partial-17-5",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")

    def look(*_, **__):
        assert not any(path.exists() for path in left)
        raise KeyError("seen")

    monkeypatch.setattr(jobs, "train_and_predict", look)
    with pytest.raises(KeyError, match="seen"):
        run_job(spec)


def test_far_too_little_memory_names_the_mend(tmp_path, monkeypatch):
    monkeypatch.setattr(trained_job, "build_backbone", lambda *_, **__: Hungry())
    monkeypatch.setattr(Hungry, "most", 1)
    with pytest.raises(JobFailedError, match="--image-size"):
        run_job(job_spec(tmp_path, settings=TrainingSettings(image_size=32, epochs=1, batch_size=16)))


def test_memory_that_runs_out_later_costs_no_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(trained_job, "build_backbone", lambda *_, **__: Hungry())
    monkeypatch.setattr(Hungry, "most", 1000)
    shown: list[int] = []
    writer = trained_job.write_history

    def shrink(path, rows):
        shown.append(len(rows))
        if len(rows) == 2:
            monkeypatch.setattr(Hungry, "most", 9)
        writer(path, rows)

    monkeypatch.setattr(trained_job, "write_history", shrink)
    spec = job_spec(tmp_path, settings=TrainingSettings(image_size=32, epochs=4, batch_size=16, patience=4))
    spec = replace(spec, checkpoint_seconds=0.0)
    record = run_job(spec)
    assert (record.micro_batch, record.resumed) == (8, 1)
    # The history is written once more when the training goes on.
    assert shown == [1, 2, 2, 3, 4]
