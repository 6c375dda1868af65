"""Train one backbone with given settings and score it on the inner validation images of a fold, for tuning.

The held-out fold is never predicted here: settings may be chosen by these scores. They are somewhat too good, since the
epoch is chosen on the same images, alike for all settings. Macro F1 is also given for logits that are shifted towards
the natural class shares, by a quarter, a half and three quarters of their logarithm: about what training at another
`resampling_exponent` would give. With `training.held_out_spins` the scores are those of spun images, as in a run, and
the scores of the images as they are stand beside them, in the file alone.

python scripts/tune.py --data DIR --recipe scratch --backbone mobilenet_v3_large --set training.ema_decay=0.99 \
    --note "moving average" --out trials.jsonl
python scripts/tune.py --table trials.jsonl
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, roc_auc_score

from cv_folds.data.cache import cache_root, decoded_pixels
from cv_folds.splits import inner_split
from cv_folds.training.backbones import bfloat16_pays, build_backbone, set_batch_norm_momentum
from cv_folds.training.loop import Fitted, Means, fit
from cv_folds.training.memory import keep_freed_memory
from cv_folds.training.normalisation import choose_normalisation, usual_normalisation
from cv_folds.training.predict import predict_logits
from cv_folds.training.spins import draw_spins
from cv_folds.training.store import open_store
from cv_folds.training.view import ImageView
from cv_folds.training.weights import find_weights, load_weights
from hamcv.config import resolve
from hamcv.folding import split
from hamcv.run_config import RunConfig
from hamcv.sources import open_dataset

SHIFTS = (0.25, 0.5, 0.75)


def main() -> None:
    """Run one trial and append its figures to a file of JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="print the trials of this file as a Markdown table and end")
    parser.add_argument("--data")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--backbone", default="mobilenet_v3_large")
    parser.add_argument("--weights")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="key=value")
    parser.add_argument("--note", default="")
    parser.add_argument("--out", type=Path, default=Path("trials.jsonl"))
    options = parser.parse_args()
    if options.table is not None:
        print_table(options.table)
        return
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    config = resolve(options.recipe, {"data": options.data, "weights": options.weights}, options.set)
    row = trial(config, options.backbone, options.fold)
    changed = {"recipe": config.recipe, "set": options.set, "note": options.note, "threads": options.threads}
    with options.out.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(changed | row) + "\n")
    print(json.dumps(row))


def print_table(path: Path) -> None:
    """Print one row a trial, in the order in which they ran."""
    trials = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    figures = ("macro_f1", "balanced_accuracy", "accuracy", "macro_auc", "log_loss")
    heads = ("recipe", "backbone", "fold", "what was changed", "images", *figures, "macro_f1 shifted", "epoch kept")
    heads = (*heads, "weights", "seconds", "threads")
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in trials:
        changed = (
            row["note"] + ("; " if row["note"] and row["set"] else "") + ", ".join(f"`{text}`" for text in row["set"])
        )
        cells = [row["recipe"], row["backbone"], row["fold"], changed, row["images"]]
        cells += [*(f"{row[name]:.3f}" for name in figures), ", ".join(f"{f1:.3f}" for f1 in row["macro_f1_shifted"])]
        cells += [f"{row['epoch']} of {row['epochs']}", row["weights"], row["seconds"], row["threads"]]
        print("| " + " | ".join(str(cell) for cell in cells) + " |")


def trial(config: RunConfig, backbone: str, fold: int) -> dict[str, object]:
    """Train on the inner training images, return the scores on the inner validation images."""
    settings, device = config.training, torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset = open_dataset(config.data, limit_lesions=config.limit_lesions, seed=config.seed)
    folds = split(dataset, n_folds=config.folds, seed=config.seed).folds
    store = open_store(decoded_pixels(dataset, settings.image_size, root=cache_root(), workers=2), device)
    inner = inner_split(folds, fold, parts=settings.validation_parts, seed=config.seed)
    torch.manual_seed(config.seed)
    model = build_backbone(backbone, len(folds.classes), image_size=settings.image_size)
    weights = find_weights(config.weights, backbone, download=False)
    if weights is not None:
        load_weights(model, weights)
    set_batch_norm_momentum(model, settings.batch_norm_momentum)
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def view(rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> ImageView:
        positions = torch.from_numpy(np.array(rows))
        return ImageView(store, positions, torch.from_numpy(folds.labels.copy())[positions])

    usual = usual_normalisation(backbone, pretrained=weights is not None)
    normalisation = choose_normalisation(settings, view(inner.train), usual)
    start = time.perf_counter()
    fitted = fit(
        model,
        view(inner.train),
        view(inner.validation),
        settings=settings,
        from_scratch=weights is None,
        normalisation=normalisation,
        generator=torch.Generator().manual_seed(config.seed),
        on_step=lambda _: None,
        on_epoch=lambda rows: print(rows[-1], flush=True),
        means=Means(bfloat16=bfloat16_pays(backbone, device)),
    )
    seconds = time.perf_counter() - start
    labels = folds.labels[inner.validation]

    def logits_of(repetitions: int) -> torch.Tensor:
        spins = draw_spins(len(labels), repetitions, torch.Generator().manual_seed(config.seed))
        size = 4 * settings.batch_size
        seen = view(inner.validation)
        return predict_logits(model, seen, batch_size=size, normalisation=normalisation, spins=spins).double()

    as_they_are = logits_of(0)
    logits = logits_of(settings.held_out_spins) if settings.held_out_spins else as_they_are
    return (
        {"backbone": backbone, "fold": fold, "seconds": round(seconds), "images": len(labels)}
        | scores(logits, labels)
        | {"macro_f1_shifted": shifted_f1s(logits, labels)}
        | {"as_they_are": scores(as_they_are, labels) | {"macro_f1_shifted": shifted_f1s(as_they_are, labels)}}
        | course(fitted)
    )


def shifted_f1s(logits: torch.Tensor, labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[float]:
    """Return the macro F1 when shares of the logarithm of each class's prevalence are added to its logit."""
    prevalence = np.bincount(labels, minlength=logits.shape[1]).clip(1) / len(labels)
    chosen = [(logits.numpy() + share * np.log(prevalence)).argmax(1) for share in SHIFTS]
    return [round(float(f1_score(labels, classes, average="macro")), 4) for classes in chosen]


def course(fitted: Fitted) -> dict[str, object]:
    """Return which epoch was kept, and with which weights."""
    kept = fitted.history[fitted.best_epoch - 1]
    return {"epoch": fitted.best_epoch, "epochs": len(fitted.history), "weights": kept.weights}


def scores(logits: torch.Tensor, labels: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[str, float]:
    """Return the scores of (n, n_classes) float64 logits for (n,) labels."""
    probabilities = logits.softmax(1).numpy()
    chosen = probabilities.argmax(1)
    figures = {
        "macro_f1": f1_score(labels, chosen, average="macro"),
        "balanced_accuracy": balanced_accuracy_score(labels, chosen),
        "accuracy": float((chosen == labels).mean()),
        "macro_auc": roc_auc_score(labels, probabilities, multi_class="ovr"),
        "log_loss": log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1])),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


if __name__ == "__main__":
    main()
