from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ensemble_samples import BACKBONES, SIZE, synthetic_oof, tiny_backbone, write_members

from cv_folds.images import DECODER
from cv_folds.out_of_fold import OutOfFold
from cv_folds.training.pixels import IMAGENET
from ensemble.bundle_writing import write_bundle
from ensemble.crossfit import cross_fit
from ensemble.deployed import Deployed, fit_deployed
from ensemble.manifest_parts import Preprocessing, StoredScore, TrainingData
from ensemble.settings import EnsembleSettings


@pytest.fixture(scope="session")
def deployed() -> Deployed:
    oof = synthetic_oof(0, n_lesions=120)
    oof = OutOfFold(**{**vars(oof), "backbones": BACKBONES})
    settings = EnsembleSettings(combiners=("soft_vote", "stack"), penalties=(1e-2, 1.0))
    return fit_deployed(oof, cross_fit(oof, settings, power=0.5), settings, power=0.5, costs=1 - np.eye(3))


@pytest.fixture
def make_bundle(tmp_path: Path, deployed: Deployed) -> Callable[..., Path]:
    """Write a bundle of tiny networks; keyword arguments replace those of `write_bundle`."""

    def make(folder: Path = tmp_path / "bundle", **changed: object) -> Path:
        arguments: dict[str, object] = {
            "hamcv_version": "0.1.0",
            "preprocessing": Preprocessing(decoder=DECODER, image_size=SIZE, mean=IMAGENET.mean, std=IMAGENET.std),
            "deployed": deployed,
            "training_data": TrainingData(name="demo", fingerprint="ab" * 32, n_images=9, n_lesions=5, demo=True),
            "scores": [StoredScore(name="macro_f1", title="Macro F1", value=0.5, low=0.4, high=0.6)],
        } | changed
        if "member_files" not in arguments:
            arguments["member_files"] = write_members(tmp_path / f"weights-{folder.name}")
        write_bundle(folder, **arguments)  # type: ignore[arg-type]
        return folder

    return make


@pytest.fixture
def bundle(make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("ensemble.networks.build_backbone", tiny_backbone)
    return make_bundle()
