"""A finished run folder made up in memory: every file that a report reads, with scores computed by scikit-learn."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from cv_folds.splits import Folds
from ensemble.predictions import ModelKind, Predictions
from reports.results import Comparison, Estimate, Evaluation, ModelScores

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
BACKBONES = ("mobilenet_v3_large", "resnet50", "efficientnet_b0")
ENSEMBLES = ("soft_vote", "stack")


@dataclass(frozen=True, kw_only=True)
class MadeUpRun:
    path: Path
    predictions: Predictions
    evaluation: Evaluation


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., MadeUpRun]:
    """Return a function that makes a run; see `build_run` for its options."""

    def make(**options: object) -> MadeUpRun:
        return build_run(tmp_path_factory.mktemp("runs") / "made-up", **options)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def run(make_run: Callable[..., MadeUpRun]) -> MadeUpRun:
    """Return a run that no test may change."""
    return make_run()


def build_run(
    path: Path,
    *,
    classes: tuple[str, ...] = CLASSES,
    backbones: tuple[str, ...] = BACKBONES,
    n_lesions: int = 160,
    n_folds: int = 4,
    n_epochs: int = 6,
    demo: bool = False,
    weights: str = "imagenet",
    data_name: str = "HAM10000",
    undefined: tuple[str, str] | None = None,
) -> MadeUpRun:
    """Write a run folder; `undefined` names a class and a metric that is None with a reason in every model."""
    random = np.random.default_rng(7)
    predictions = _predictions(random, classes, backbones, n_lesions, n_folds)
    evaluation = _evaluation(predictions, demo=demo, undefined=undefined)
    names = np.array(classes)[predictions.labels]
    path.mkdir(parents=True)
    Folds(
        image_ids=predictions.image_ids,
        lesion_ids=predictions.lesion_ids,
        groups=predictions.groups,
        labels=predictions.labels,
        classes=classes,
        folds=predictions.folds,
        n_folds=n_folds,
    ).write_csv(path / "folds.csv")
    jobs = [_job(random, path, backbone, fold, n_epochs) for backbone in backbones for fold in range(n_folds)]
    record = {
        "schema": 1,
        "status": "done",
        "recipe": "quick",
        "started": "2025-03-01T10:00:00+00:00",
        "finished": "2025-03-01T12:07:30+00:00",
        "versions": {"hamcv": "0.1.0", "python": "3.11.9", "torch": "2.15.0"},
        "platform": "Linux-6.1-x86_64",
        "device": {"kind": "cpu", "name": "Some CPU", "threads": 2},
        "git_revision": None,
        "data": {
            "name": data_name,
            "fingerprint": "0123456789abcdef" * 4,
            "demo": demo,
            "n_images": evaluation.n_images,
            "n_lesions": evaluation.n_lesions,
            "images_per_class": {name: int((names == name).sum()) for name in classes},
            "lesions_per_class": {name: len(np.unique(predictions.lesion_ids[names == name])) for name in classes},
        },
        "weights": weights,
        "seconds": {"cache": 12.3, "train": 7200.0, "ensemble": 4.0, "evaluate": 3.5},
        "images_per_second": 31.4,
        "peak_memory_mib": 2048.0,
        "jobs": jobs,
    }
    audit = {
        "schema": 1,
        "checks": [
            {
                "code": "fold-overlap",
                "title": "No lesion is in two folds",
                "severity": "error",
                "status": "passed",
                "detail": f"{n_lesions} lesions in {n_folds} folds",
            },
            {
                "code": "near-duplicates",
                "title": "Images of different lesions that look alike",
                "severity": "warning",
                "status": "failed",
                "detail": "1 pair merged, 1 pair doubtful",
            },
            {
                "code": "two-diagnoses",
                "title": "Lesions with two diagnoses",
                "severity": "note",
                "status": "skipped",
                "detail": "switched off in the settings",
            },
        ],
        "merged_pairs": [
            {"image_a": "img00000", "image_b": "img00009", "lesion_a": "les0000", "lesion_b": "les0004", "score": 41.0}
        ],
        "doubtful_pairs": [
            {"image_a": "img00003", "image_b": "img00012", "lesion_a": "les0001", "lesion_b": "les0005", "score": 9.0}
        ],
    }
    settings = {
        "recipe": "quick",
        "folds": n_folds,
        "seed": 3,
        "backbones": list(backbones),
        "weights": weights,
        "training": {"epochs": n_epochs, "batch_size": 32, "augmentation": {"flip": True}},
        "report": {"resamples": 2000},
    }
    (path / "run.json").write_text(json.dumps(record))
    (path / "audit.json").write_text(json.dumps(audit))
    (path / "config.toml").write_text(tomli_w.dumps(settings))
    return MadeUpRun(path=path, predictions=predictions, evaluation=evaluation)


def _predictions(
    random: np.random.Generator, classes: tuple[str, ...], backbones: tuple[str, ...], n_lesions: int, n_folds: int
) -> Predictions:
    k = len(classes)
    shares = 1.0 / np.arange(1, k + 1) ** 1.3
    lesion_labels = np.concatenate(
        [np.repeat(np.arange(k), n_folds), random.choice(k, n_lesions - k * n_folds, p=(shares / shares.sum())[::-1])]
    )
    lesions = np.repeat(np.arange(n_lesions), random.integers(1, 4, n_lesions))
    labels = lesion_labels[lesions]
    probabilities: dict[str, np.ndarray] = {}
    for place, backbone in enumerate(backbones):
        logits = random.normal(0, 1.2, (len(labels), k)) + (2.0 - 0.2 * place) * np.eye(k)[labels]
        probabilities[backbone] = _softmax(logits)
    mean = np.mean(list(probabilities.values()), axis=0)
    probabilities |= {"soft_vote": mean, "stack": _softmax(1.4 * np.log(mean))}
    kinds: dict[str, ModelKind] = dict.fromkeys(backbones, "backbone")
    return Predictions(
        image_ids=np.array([f"img{row:05d}" for row in range(len(labels))]),
        lesion_ids=np.array([f"les{lesion:04d}" for lesion in lesions]),
        groups=np.array([f"les{lesion:04d}" for lesion in lesions]),
        folds=(lesions % n_folds).astype(np.int64),
        labels=labels.astype(np.int64),
        classes=classes,
        probabilities=probabilities,
        kinds=kinds | dict.fromkeys(ENSEMBLES, "ensemble"),
    )


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _evaluation(predictions: Predictions, *, demo: bool, undefined: tuple[str, str] | None) -> Evaluation:
    models = {name: _scores(predictions, name, undefined) for name in predictions.probabilities}
    best = max((name for name in models if models[name].kind == "backbone"), key=lambda name: _macro_f1(models[name]))
    pairs = (("stack", "soft_vote"), ("stack", best), ("soft_vote", best))
    return Evaluation(
        classes=predictions.classes,
        n_images=len(predictions.labels),
        n_lesions=len(np.unique(predictions.lesion_ids)),
        demo=demo,
        models=models,
        comparisons=tuple(
            _comparison(models, metric, model, against)
            for model, against in pairs
            for metric in ("macro_f1", "balanced_accuracy", "macro_auc", "log_loss", "brier", "ece")
        ),
    )


def _macro_f1(scores: ModelScores) -> float:
    value = scores.overall["macro_f1"].value
    assert value is not None
    return value


def _comparison(models: Mapping[str, ModelScores], metric: str, model: str, against: str) -> Comparison:
    ours, theirs = models[model].overall[metric].value, models[against].overall[metric].value
    assert ours is not None
    assert theirs is not None
    difference = Estimate(value=ours - theirs, low=ours - theirs - 0.02, high=ours - theirs + 0.02)
    apart = abs(ours - theirs) > 0.02
    return Comparison(
        metric=metric,
        model=model,
        against=against,
        difference=difference,
        evidence="difference" if apart else "no evidence of a difference",
    )


def _around(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.021, high=value + 0.017)


def _scores(predictions: Predictions, name: str, undefined: tuple[str, str] | None) -> ModelScores:
    rows, labels = predictions.probabilities[name], predictions.labels
    per_class: dict[str, dict[str, Estimate]] = {}
    for index, class_name in enumerate(predictions.classes):
        truth, guess = labels == index, rows.argmax(axis=1) == index
        per_class[class_name] = {
            "f1": _around(float(f1_score(truth, guess, zero_division=0))),
            "auc": _around(float(roc_auc_score(truth, rows[:, index]))),
            "precision": _around(float(precision_score(truth, guess, zero_division=0))),
            "recall": _around(float(recall_score(truth, guess))),
            "specificity": _around(float(recall_score(~truth, ~guess))),
            "average_precision": _around(float(average_precision_score(truth, rows[:, index]))),
            "brier": _around(float(np.mean((truth - rows[:, index]) ** 2))),
            "ece": _around(0.031 + index / 700),
            "support": Estimate(value=float(truth.sum()), low=float(truth.sum()) - 9, high=float(truth.sum()) + 9),
        }
        if undefined is not None and undefined[0] == class_name:
            per_class[class_name][undefined[1]] = Estimate(value=None, reason="no image was given this class")
    return ModelScores(
        name=name,
        kind=predictions.kinds[name],
        overall={metric: _around(value) for metric, value in _overall(labels, rows).items()},
        per_class=per_class,
        folds=tuple(
            _overall(labels[inside], rows[inside])
            for inside in (predictions.folds == fold for fold in np.unique(predictions.folds))
        ),
    )


def _overall(labels: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    guess, every = rows.argmax(axis=1), list(range(rows.shape[1]))
    return {
        "accuracy": float((guess == labels).mean()),
        "balanced_accuracy": float(balanced_accuracy_score(labels, guess)),
        "macro_f1": float(f1_score(labels, guess, labels=every, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(labels, guess, labels=every, average="weighted", zero_division=0)),
        "macro_auc": float(np.mean([roc_auc_score(labels == index, rows[:, index]) for index in every])),
        "log_loss": float(log_loss(labels, rows, labels=every)),
        "brier": float(np.mean(np.sum((np.eye(len(every))[labels] - rows) ** 2, axis=1))),
        "ece": float(abs(rows.max(axis=1).mean() - (guess == labels).mean())),
        "mcc": float(matthews_corrcoef(labels, guess)),
        "kappa": float(cohen_kappa_score(labels, guess)),
    }


def _job(random: np.random.Generator, path: Path, backbone: str, fold: int, n_epochs: int) -> dict[str, object]:
    folder = path / "jobs" / backbone / f"fold-{fold}"
    folder.mkdir(parents=True)
    epochs = np.arange(1, n_epochs + 1)
    train = 0.3 + 1.4 * np.exp(-epochs / 3) + random.normal(0, 0.02, n_epochs)
    validation = 0.6 + 0.9 * np.exp(-epochs / 3) + 0.02 * epochs + random.normal(0, 0.03, n_epochs)
    best = int(epochs[validation.argmin()])
    lines = ["epoch,learning_rate,train_loss,validation_loss,validation_balanced_accuracy,seconds,images_per_second"]
    lines += [
        f"{epoch},0.001,{low:.6f},{high:.6f},{0.75 - 0.3 * high:.6f},1.5,400.0"
        for epoch, low, high in zip(epochs, train, validation, strict=True)
    ]
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    details = {
        "schema": 1,
        "backbone": backbone,
        "fold": fold,
        "seed": 100 + fold,
        "settings_digest": "abc",
        "best_epoch": best,
        "epochs_run": n_epochs,
        "n_train": 210,
        "n_validation": 30,
        "n_held_out": 80,
        "seconds": 9.0,
        "images_per_second": 400.0,
        "parameters": 4_210_000,
        "precision": "float32",
        "device": "cpu",
        "files": {"model.safetensors": "0" * 64, "oof.npz": "1" * 64, "history.csv": "2" * 64},
    }
    (folder / "job.json").write_text(json.dumps(details))
    return {
        "backbone": backbone,
        "fold": fold,
        "status": "done",
        "seconds": 9.0,
        "images_per_second": 400.0,
        "best_epoch": best,
        "epochs_run": n_epochs,
        "error": None,
    }
