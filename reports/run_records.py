"""What the JSON files of a run folder hold, as far as a report needs it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cv_folds.errors import DataError

MEND = "`hamcv run` with the same settings writes it again"


class _Record(BaseModel):
    # A later version may add keys; an older report must still open the run.
    model_config = ConfigDict(frozen=True, extra="ignore")


class DeviceRecord(_Record):
    """What the run computed on."""

    kind: str
    """``cpu`` or ``cuda``."""
    name: str
    """Name of the processor or accelerator."""
    threads: int
    """CPU threads of each job."""
    side_by_side: int | None = None
    """Most jobs at a time; None where that was not recorded."""
    cores: int | None = None
    """CPU cores of the machine that the run may use; None for a cluster."""
    memory_mib: float | None = None
    """Memory of the machine; None for a cluster."""
    gpu_memory_mib: float | None = None
    """Memory of the GPU; None without one."""


class DataRecord(_Record):
    """What the run learned from."""

    name: str
    """Name of the data set."""
    fingerprint: str
    """Digest of the image ids, labels and lesions."""
    demo: bool
    """True for the generated demo set."""
    n_images: int
    """Number of images."""
    n_lesions: int
    """Number of lesions."""
    images_per_class: dict[str, int]
    """Class name to number of images."""
    lesions_per_class: dict[str, int]
    """Class name to number of lesions."""


class JobRecord(_Record):
    """How one (backbone, fold) job ended."""

    arm: str = ""
    """Folder of the arm below the run folder; empty for the main one."""
    backbone: str
    """Backbone name."""
    fold: int
    """The fold that was held out, counted from 0."""
    second: int | None = None
    """Another fold that was held out too, for the nested estimate; None for a usual job."""
    status: Literal["done", "failed"]
    """How it ended."""
    seconds: float | None = None
    """Wall-clock time of the job."""
    images_per_second: float | None = None
    """Training throughput."""
    best_epoch: int | None = None
    """The epoch whose weights were kept, counted from 1."""
    epochs_run: int | None = None
    """Epochs trained before the job stopped."""
    error: str | None = None
    """Why it failed."""

    @property
    def deployed(self) -> bool:
        """Whether its network belongs to the ensemble that heads the report."""
        return not self.arm and self.second is None


class RunRecord(_Record):
    """``run.json``."""

    form: Literal[1] = Field(alias="schema")
    """Version of the file's form."""
    status: Literal["running", "done", "failed", "interrupted"]
    """How far the run came."""
    recipe: str
    """Recipe name."""
    started: datetime
    """When the run started."""
    finished: datetime | None = None
    """When it ended."""
    versions: dict[str, str]
    """Package name to version."""
    platform: str
    """Operating system."""
    device: DeviceRecord
    """What the run computed on."""
    git_revision: str | None = None
    """Revision of the code; None outside a checkout."""
    data: DataRecord
    """What the run learned from."""
    weights: str
    """``imagenet``, ``none`` or ``folder NAME``."""
    seconds: dict[str, float]
    """Stage to wall-clock seconds."""
    images_per_second: float | None = None
    """Training throughput over all jobs."""
    peak_memory_mib: float | None = None
    """Largest memory in use."""
    jobs: tuple[JobRecord, ...]
    """One a (backbone, fold)."""


class JobDetails(_Record):
    """``job.json``, as far as a report needs it."""

    seed: int
    """Seed of the run."""
    best_epoch: int
    """The epoch whose weights were kept, counted from 1."""
    epochs_run: int
    """Epochs trained."""
    n_train: int
    """Images the weights were fitted on."""
    n_validation: int
    """Images that it was validated on after every epoch."""
    n_held_out: int
    """Images of the held-out fold."""
    parameters: int
    """Number of weights."""
    precision: str
    """Number format of training."""
    peak_memory_mib: float | None = None
    """Largest resident memory of the process up to the end of the job."""


Record = TypeVar("Record", bound=BaseModel)


def read_record(path: Path, form: type[Record]) -> Record:
    """Read a JSON file into `form`; a missing or damaged one raises `DataError` that names file and key."""
    try:
        return form.model_validate_json(file_text(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path} is damaged: {where}: {first['msg']}; {MEND}") from error


def file_text(path: Path) -> str:
    """Return the content of a file of a run; a missing one, or one that is no text, raises `DataError`."""
    if not path.is_file():
        raise DataError(f"{path} is missing; {MEND}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: it is no UTF-8 text ({error.reason}); {MEND}") from error
