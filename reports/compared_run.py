"""One model of one run, as it is compared with those of other runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from cv_folds.errors import UsageError
from cv_folds.leakage import Audit, Leakage
from ensemble.predictions import ModelKind, Predictions
from ensemble.settings import CombinerName
from reports.run_folder import read_settings, refuse_failed_jobs
from reports.run_records import RunRecord, read_record


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run, and the model of it that is compared."""

    label: str
    """What it is called in tables and figures; no two compared runs are called the same."""
    name: str
    """Name of its folder."""
    model: str
    """Name of the model in the run."""
    record: RunRecord
    """``run.json``."""
    settings: Mapping[str, Any]
    """``config.toml``: dotted name to value."""
    leakage: Leakage | None
    """What leaks in its folds, if that was allowed."""
    predictions: Predictions
    """Out-of-fold probabilities of that model alone, which is called `label` here."""

    @property
    def kind(self) -> ModelKind:
        """Backbone or ensemble."""
        return self.predictions.kinds[self.label]

    @property
    def protocol(self) -> str:
        """``cv``, ``holdout`` or ``leakage``."""
        return str(self.settings.get("protocol", "cv"))

    def to_json(self) -> dict[str, Any]:
        """Return the form used in ``compare.json``."""
        data = self.record.data
        return {
            "label": self.label,
            "name": self.name,
            "model": self.model,
            "kind": self.kind,
            "protocol": self.protocol,
            "status": self.record.status,
            "finished": None if self.record.finished is None else self.record.finished.isoformat(),
            "versions": dict(self.record.versions),
            "git_revision": self.record.git_revision,
            "data": {"name": data.name, "fingerprint": data.fingerprint, "demo": data.demo},
            "n_images": len(self.predictions.image_ids),
            "n_lesions": len(set(self.predictions.lesion_ids.tolist())),
            "allowed_leakage": None if self.leakage is None else self.leakage.model_dump(mode="json"),
        }


def read_compared_runs(folders: Sequence[Path], models: Sequence[str] | None = None) -> tuple[ComparedRun, ...]:
    """Read what is compared of some runs.

    Parameters
    ----------
    folders : sequence of Path
        Run folders; one may occur several times with different models.
    models : sequence of str, optional
        One model for all runs, or one a run. The ensemble that each run deploys when not given: it was chosen before
        the run, not by its scores.

    Raises
    ------
    UsageError
        When a folder holds no finished run, or lacks the model.
    DataError
        When a file is missing or damaged.
    """
    if models is not None and len(models) not in (1, len(folders)):
        raise UsageError(
            f"models: {len(models)} were named for {len(folders)} runs; name one for all runs, or one a run in the "
            "order of the runs"
        )
    given: Sequence[str | None] = [None] if models is None else models
    wanted = given if len(given) == len(folders) else [given[0]] * len(folders)
    found = [_read(folder, model) for folder, model in zip(folders, wanted, strict=True)]
    labels = distinct_labels(folders, [run.model for run in found])
    return tuple(_called(run, label) for run, label in zip(found, labels, strict=True))


def _read(folder: Path, wanted: str | None) -> ComparedRun:
    if not (folder / "run.json").is_file():
        raise UsageError(f"{folder} is no run folder (it has no run.json); give folders that `hamcv run` wrote")
    record = read_record(folder / "run.json", RunRecord)
    refuse_failed_jobs(folder, record)
    settings = read_settings(folder / "config.toml")
    kinds: dict[str, ModelKind] = dict.fromkeys(settings.get("backbones", ()), "backbone")
    predictions = Predictions.read_csv(
        folder / "predictions.csv", kinds | dict.fromkeys(get_args(CombinerName), "ensemble")
    )
    model = str(settings.get("ensemble.deployed", "stack")) if wanted is None else wanted
    if model not in predictions.probabilities:
        names = ", ".join(predictions.probabilities)
        raise UsageError(f"{folder}: has no model {model}; choose with --models from {names}")
    return ComparedRun(
        label=model,
        name=folder.resolve().name,
        model=model,
        record=record,
        settings=settings,
        leakage=read_record(folder / "audit.json", Audit).allowed_leakage,
        predictions=_only(predictions, model, model),
    )


def _called(run: ComparedRun, label: str) -> ComparedRun:
    return replace(run, label=label, predictions=_only(run.predictions, run.label, label))


def _only(predictions: Predictions, model: str, label: str) -> Predictions:
    return replace(
        predictions,
        probabilities={label: predictions.probabilities[model]},
        kinds={label: predictions.kinds[model]},
    )


def distinct_labels(folders: Sequence[Path], models: Sequence[str]) -> tuple[str, ...]:
    """Name runs so that no two are called the same.

    Parameters
    ----------
    folders : sequence of Path
        Run folders.
    models : sequence of str
        The model of each that is compared.

    Returns
    -------
    tuple of str
        The name of the folder; with as many folders above as it takes to tell it from others of this name; with the
        model unless that is the same for all; with a number when a run is compared with itself.
    """
    paths = [folder.resolve() for folder in folders]
    labels = [_shortest(path, paths) for path in paths]
    if len(set(models)) > 1:
        labels = [f"{label} ({model})" for label, model in zip(labels, models, strict=True)]
    again = Counter(labels)
    return tuple(
        f"{label} #{labels[: place + 1].count(label)}" if again[label] > 1 else label
        for place, label in enumerate(labels)
    )


def _shortest(path: Path, paths: Sequence[Path]) -> str:
    others = [other for other in paths if other != path]
    for taken in range(1, len(path.parts) + 1):
        if all(other.parts[-taken:] != path.parts[-taken:] for other in others):
            return "/".join(path.parts[-taken:])
    raise AssertionError("different absolute paths differ somewhere")
