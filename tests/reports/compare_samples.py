"""Run folders with just the files that a comparison reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from sklearn_reference import as_predictions, random_labels, random_probabilities

from cv_folds.arrays import FloatArray
from ensemble.predictions import Predictions

N_FOLDS = 4


def drawn(
    seed: int = 0, *, n: int = 240, models: tuple[str, ...] = ("resnet50", "stack"), start: int = 0, labels: int = 0
) -> Predictions:
    """Draw predictions: two images a lesion, lesions numbered from `start`, labels that depend on `labels` alone."""
    truth = np.repeat(random_labels(n // 2, 3, np.random.default_rng(labels)), 2)
    groups = np.repeat(np.arange(n // 2), 2) + start
    generator = np.random.default_rng(1000 + seed)
    found = {model: random_probabilities(truth, 3, generator) for model in models}
    made = as_predictions(truth, found, groups=groups, folds=groups % N_FOLDS)
    return replace(made, image_ids=np.array([f"image-{2 * start + row:05d}" for row in range(n)]))


def write_run(
    folder: Path,
    predictions: Predictions,
    *,
    fingerprint: str = "f" * 64,
    demo: bool = False,
    leakage: dict[str, Any] | None = None,
    status: str = "done",
    settings: dict[str, Any] | None = None,
) -> Path:
    """Write a run folder whose deployed ensemble is `stack`."""
    folder.mkdir(parents=True)
    predictions.write_csv(folder / "predictions.csv")
    counts = np.bincount(predictions.labels, minlength=len(predictions.classes)).tolist()
    record = {
        "schema": 1,
        "status": status,
        "recipe": "quick",
        "started": "2025-03-01T10:00:00+00:00",
        "finished": "2025-03-01T12:07:30+00:00",
        "versions": {"hamcv": "0.1.0"},
        "platform": "Linux",
        "device": {"kind": "cpu", "name": "Some CPU", "threads": 2},
        "git_revision": None,
        "data": {
            "name": "HAM10000",
            "fingerprint": fingerprint,
            "demo": demo,
            "n_images": len(predictions.labels),
            "n_lesions": len(np.unique(predictions.lesion_ids)),
            "images_per_class": dict(zip(predictions.classes, counts, strict=True)),
            "lesions_per_class": dict(zip(predictions.classes, counts, strict=True)),
        },
        "weights": "none",
        "seconds": {},
        "jobs": [],
    }
    audit: dict[str, Any] = {"schema": 1, "checks": [], "merged_pairs": [], "doubtful_pairs": []}
    config: dict[str, Any] = {
        "data": "/somewhere/ham10000",
        "backbones": [name for name, kind in predictions.kinds.items() if kind == "backbone"],
        "seed": 5,
        "ensemble": {"deployed": "stack"},
        "report": {"resamples": 200, "malignant": ["class-0"]},
    }
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "audit.json").write_text(json.dumps(audit | {"allowed_leakage": leakage}))
    (folder / "config.toml").write_text(tomli_w.dumps(config | (settings or {})))
    return folder


def shifted(predictions: Predictions, model: str, towards: float) -> Predictions:
    """Move the probabilities of a model towards the truth, or away from it when negative."""
    odds = np.log(predictions.probabilities[model]) + towards * np.eye(len(predictions.classes))[predictions.labels]
    rows: FloatArray = np.exp(odds)
    rows /= rows.sum(axis=1, keepdims=True)
    return replace(predictions, probabilities={**predictions.probabilities, model: rows})
