"""`hamcv export`: a bundle that stands alone, small or for another runtime."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from cv_folds.arrays import frozen
from cv_folds.errors import DataError, UsageError
from cv_folds.leakage import Audit
from ensemble.best_backbone import BestBackbone, best_backbone
from ensemble.bundle import MANIFEST, Bundle, find_bundle, read_bundle
from ensemble.onnx.writing import refuse_without_onnx
from ensemble.predictions import Predictions
from ensemble.record import ENSEMBLE_FILE, EnsembleRecord
from ensemble.repacking import repack
from hamcv.arms import read_divisions
from hamcv.config import read_config
from hamcv.deploying import missing_weights, training_data, write_predictor
from hamcv.evaluation import METRICS_FILE, PREDICTIONS_FILE, model_kinds, refuse_another_combination, stored_scores
from hamcv.fitting import fit_arm, refuse_unfinished
from hamcv.run_config import RunConfig
from hamcv.run_folder import CONFIG_FILE, keep_unchanged
from reports.run_records import RunRecord, read_record

MembersName: TypeAlias = Literal["all", "best"]
"""Every network, or those of the best backbone alone."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What `hamcv export` is asked for."""

    out: Path
    """Folder of the new bundle."""
    members: str = "all"
    """One of `MembersName`."""
    half: bool = False
    """Whether the weights are stored as float16."""
    onnx: bool = False
    """Whether there is an ONNX file."""
    overwrite: bool = False
    """Whether a bundle may be replaced."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What came of it."""

    bundle: Bundle
    """As it was written."""
    best: BestBackbone | None
    """Which backbone was chosen; None when all are there."""

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(path.stat().st_size for path in self.bundle.folder.iterdir())


def export(source: Path, options: ExportOptions) -> Exported:
    """Write the predictor of a run, or a bundle, as a bundle of its own.

    Parameters
    ----------
    source : Path
        A run folder or a bundle; nothing in it is changed.
    options : ExportOptions
        What to write, and where.

    Raises
    ------
    UsageError
        When an option is wrong or does not fit `source`, the output folder holds something, or ``hamcv[onnx]`` is
        not installed.
    DataError
        When the run is not finished, or a file is missing or damaged.
    RunFolderBusyError
        When another process writes to the run.
    """
    if options.members not in get_args(MembersName):
        raise UsageError(f"--members {options.members}: must be {' or '.join(get_args(MembersName))}")
    _refuse_output(source, options)
    if options.onnx:
        refuse_without_onnx()
    # A run that goes on replaces its files one by one.
    with keep_unchanged(source):
        return _export(source, options)


def _export(source: Path, options: ExportOptions) -> Exported:
    if options.members == "all":
        bundle = read_bundle(find_bundle(source))
        return Exported(bundle=repack(bundle, options.out, half=options.half, onnx=options.onnx), best=None)
    options.out.absolute().parent.mkdir(parents=True, exist_ok=True)
    # Beside the output, so that weights can be linked and need no second place.
    with tempfile.TemporaryDirectory(dir=options.out.absolute().parent, prefix=".export-") as folder:
        bundle, best = _of_best_backbone(source, Path(folder, "best"))
        return Exported(bundle=repack(bundle, options.out, half=options.half, onnx=options.onnx), best=best)


def _refuse_output(source: Path, options: ExportOptions) -> None:
    out = options.out
    bundle = source if (source / MANIFEST).is_file() else source / "predictor"
    if out.resolve().is_relative_to(bundle.resolve()):
        raise UsageError(f"--out {out}: is in the bundle that is to be exported; name another folder")
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"--out {out}: is a file; name a folder")
    if not any(out.iterdir()):
        return
    if not (out / MANIFEST).is_file():
        raise UsageError(f"--out {out}: holds something that is no bundle; name a new or empty folder")
    if not options.overwrite:
        raise UsageError(f"--out {out}: holds a bundle; name a new folder, or replace it with --overwrite")


def _of_best_backbone(run: Path, folder: Path) -> tuple[Bundle, BestBackbone]:
    """Write a bundle of the networks of the best backbone, calibrated by themselves."""
    if not (run / CONFIG_FILE).is_file():
        raise UsageError(
            f"--members best: {run} has no {CONFIG_FILE}; only a run folder has the out-of-fold predictions that "
            "choose and calibrate the best backbone"
        )
    config = read_config(run / CONFIG_FILE)
    predictions = Predictions.read_csv(run / PREDICTIONS_FILE, model_kinds(config))
    refuse_another_combination(run, config, predictions)
    best = best_backbone(predictions)
    facts, record = read_record(run / "run.json", RunRecord).data, EnsembleRecord.read(run / ENSEMBLE_FILE)
    alone = _alone(config, best.name)
    refuse_unfinished(run, alone)
    if (missing := missing_weights(run, alone)) is not None:
        raise DataError(missing)
    if (scores := stored_scores(run / METRICS_FILE, best.name)) is None:
        raise DataError(f"{run / METRICS_FILE}: has no scores of {best.name}; `hamcv report {run}` writes them again")
    division = read_divisions(run, alone, tuple(facts.images_per_class))[0]
    costs = None if record.costs is None else frozen(record.costs)
    bundle = write_predictor(
        folder,
        run,
        alone,
        division,
        fit_arm(run, alone, division, costs).deploy(),
        data=training_data(facts),
        scores=scores,
        leakage=read_record(run / "audit.json", Audit).allowed_leakage,
    )
    return bundle, best


def _alone(config: RunConfig, backbone: str) -> RunConfig:
    """Return the settings of a run of one backbone, which is a vote with one voice."""
    ensemble = config.ensemble.model_copy(update={"combiners": ("soft_vote",), "deployed": "soft_vote"})
    # The main arm alone: nothing else is deployed.
    protocol = "holdout" if config.protocol == "holdout" else "cv"
    return config.model_copy(
        update={"backbones": (backbone,), "ensemble": ensemble, "protocol": protocol, "repeats": 1, "nested": False}
    )
