"""Small synthetic data sets, written or in memory, that the tests of `cv_folds` share."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cv_folds.arrays import ByteArray, frozen
from cv_folds.data.dataset import ImageRow, LesionDataset, build_dataset
from cv_folds.errors import JobFailedError
from cv_folds.splits import Folds
from cv_folds.training.job_spec import JobSpec
from cv_folds.training.settings import TrainingSettings

COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


def random_image(seed: int, width: int = 12, height: int = 9) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def metadata_row(image_id: str, lesion_id: str, dx: str, **others: str) -> dict[str, str]:
    row = {"lesion_id": lesion_id, "image_id": image_id, "dx": dx}
    return row | {"dx_type": "histo", "age": "45.0", "sex": "male", "localization": "back"} | others


def table_text(
    rows: Sequence[Mapping[str, str]],
    *,
    columns: Sequence[str] = COLUMNS,
    separator: str = ",",
    line_end: str = "\n",
    header: Sequence[str] | None = None,
) -> str:
    lines = [separator.join(header or columns), *(separator.join(row[column] for column in columns) for row in rows)]
    return line_end.join(lines) + line_end


def write_layout(
    root: Path, rows: Sequence[Mapping[str, str]], *, name: str = "HAM10000_metadata.csv", text: str | None = None
) -> Path:
    """Write the metadata of `rows` and one PNG for each image id."""
    folder = root / "HAM10000_images_part_1"
    folder.mkdir(parents=True)
    for seed, image_id in enumerate(sorted({row["image_id"] for row in rows})):
        random_image(seed).save(folder / f"{image_id}.png")
    (root / name).write_bytes((table_text(rows) if text is None else text).encode())
    return root


def random_dataset(folder: Path, seed: int, *, fewest_lesions: int, n_classes: int | None = None) -> LesionDataset:
    """Return a dataset of random size, imbalance and lesion sizes whose images are all one empty file."""
    rng = np.random.default_rng(seed)
    file = folder / "image.png"
    file.touch()
    n_classes = int(rng.integers(2, 8)) if n_classes is None else n_classes
    rows: list[ImageRow] = []
    for label in range(n_classes):
        for lesion in range(fewest_lesions + int(rng.exponential(25))):
            for _ in range(min(1 + rng.geometric(0.65), 7) if rng.random() < 0.3 else 1):
                rows.append(image_row(f"image_{len(rows):05d}", f"lesion_{label}_{lesion}", f"class_{label}", file))
    order = rng.permutation(len(rows))
    return build_dataset([rows[index] for index in order], name="random", root=folder, demo=False)


def image_row(image_id: str, lesion_id: str, diagnosis: str, path: Path) -> ImageRow:
    return ImageRow(
        where=f"row of {image_id}",
        image_id=image_id,
        lesion_id=lesion_id,
        diagnosis=diagnosis,
        dx_type="histo",
        age=45.0,
        sex="male",
        localization="back",
        path=path,
    )


def small_folds(n_lesions: int = 45, n_folds: int = 3, classes: tuple[str, ...] = ("akiec", "mel", "nv")) -> Folds:
    """Return folds of lesions with two images each, the classes and then the folds dealt out in turn."""
    lesion = np.repeat(np.arange(n_lesions), 2)
    names = frozen([f"lesion_{index:03d}" for index in lesion.tolist()])
    return Folds(
        image_ids=frozen([f"image_{index:03d}" for index in range(len(lesion))]),
        lesion_ids=names,
        groups=names,
        labels=frozen(lesion % len(classes), np.int64),
        classes=classes,
        folds=frozen(lesion // len(classes) % n_folds, np.int64),
        n_folds=n_folds,
    )


def coloured_pixels(folds: Folds, size: int = 32, seed: int = 0) -> ByteArray:
    """Return noisy images whose mean colour tells the class, so that a network can learn something."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(60, 196, size=(len(folds.classes), 3))
    noise = rng.normal(0, 30, size=(len(folds.labels), size, size, 3))
    return np.clip(colours[folds.labels][:, None, None, :] + noise, 0, 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class WorkerKillingSpec(JobSpec):
    """A job that ends its worker process as the kernel does when memory runs out."""

    spared: int
    """The process that must survive: the parent."""
    times: int = 1_000
    """How many workers it ends before it lets itself be run."""

    @property
    def folder(self) -> Path:
        killed = self.run / f"killed-{self.fold}"
        if os.getpid() != self.spared and (not killed.exists() or killed.stat().st_size < self.times):
            killed.parent.mkdir(parents=True, exist_ok=True)
            with killed.open("a") as stream:
                stream.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().folder


def killing(spec: JobSpec, *, times: int = 1_000) -> WorkerKillingSpec:
    """Return the same job, but for what it does to its first workers."""
    plain = {field: getattr(spec, field) for field in JobSpec.__dataclass_fields__}
    return WorkerKillingSpec(**plain, spared=os.getpid(), times=times)


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec(JobSpec):
    """A job that fails, and tells where it was about to run."""

    @property
    def folder(self) -> Path:
        # Long enough for the other worker to come up and take its share.
        folder = self.run / "seen"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / os.environ["CUDA_VISIBLE_DEVICES"]).touch()
        while len(list(folder.iterdir())) < 2:
            time.sleep(0.05)
        time.sleep(0.5)
        raise JobFailedError(f"{self.device} sees {os.environ['CUDA_VISIBLE_DEVICES']} in {os.getpid()}")


def endless_jobs(folder: Path, n: int) -> list[JobSpec]:
    """Return jobs that would go on for longer than anybody waits."""
    settings = TrainingSettings(image_size=32, epochs=10_000, patience=10_000, batch_size=16)
    return [job_spec(folder, fold=fold, settings=settings) for fold in range(n)]


def job_spec(folder: Path, **changed: object) -> JobSpec:
    """Return a job of a few seconds, whose decoded images are written when they are not there yet."""
    folds = changed.get("folds", small_folds())
    assert isinstance(folds, Folds)
    pixels = folder / "pixels.npy"
    if not pixels.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(pixels, coloured_pixels(folds))
    plain: dict[str, object] = {
        "run": folder / "run",
        "backbone": "shufflenet_v2_x0_5",
        "fold": 1,
        "folds": folds,
        "pixels": pixels,
        "fingerprint": "f" * 64,
        "settings": TrainingSettings(image_size=32, epochs=2, batch_size=16),
        "weights": None,
        "seed": 0,
        "device": "cpu",
        "threads": 1,
    }
    return JobSpec(**(plain | changed))  # type: ignore[arg-type]
