"""Time the bootstrap over lesions against a plain loop of scikit-learn calls, on simulated predictions.

Both sides score the same resamples in one run. The loop only scores the first few; its time for all is extrapolated
from them and marked so. Class and lesion counts are those of HAM10000. The last line is the whole evaluation: all
metrics per image and per lesion, comparisons and tests.

    python scripts/bench_intervals.py --models 5 --resamples 2000 --loop-resamples 3
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Mapping

import numpy as np
from sklearn import metrics

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from ensemble.predictions import Predictions
from reports.equal_mass import equal_mass_bins
from reports.evaluation import evaluate
from reports.intervals import bootstrap, resample_groups
from reports.metrics import CLASS_METRICS, OVERALL_METRICS, Scores
from reports.settings import ReportSettings

IMAGES_PER_CLASS = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}
N_LESIONS = 7470
CLASSES = tuple(IMAGES_PER_CLASS)


def simulate(n_models: int, generator: np.random.Generator) -> Predictions:
    """Make predictions of HAM10000's size; the second and further images of a lesion share its class."""
    labels = np.repeat(np.arange(len(CLASSES)), list(IMAGES_PER_CLASS.values()))
    n = len(labels)
    starts = np.ones(n, dtype=np.bool_)
    inside = np.flatnonzero(labels[1:] == labels[:-1]) + 1
    starts[generator.choice(inside, size=n - N_LESIONS, replace=False)] = False
    lesions = np.array([f"lesion-{number:05d}" for number in np.cumsum(starts)])
    models = {}
    for number in range(n_models):
        logits = generator.normal(size=(n, len(CLASSES)))
        logits[np.arange(n), labels] += 2.0
        odds = np.exp(logits)
        models[f"model-{number}"] = odds / odds.sum(axis=1, keepdims=True)
    return Predictions(
        image_ids=np.array([f"image-{row:05d}" for row in range(n)]),
        lesion_ids=lesions,
        groups=lesions,
        folds=np.zeros(n, dtype=np.int64),
        labels=labels,
        classes=CLASSES,
        probabilities=models,
        kinds=dict.fromkeys(models, "backbone"),
    )


def loop_over_scikit_learn(predictions: Predictions, rows_of_resamples: list[IntArray]) -> dict[str, list[list[float]]]:
    """Return model name to a list a resample of all metrics, overall first, then class by class."""
    values: dict[str, list[list[float]]] = {}
    for model, probabilities in predictions.probabilities.items():
        top_bins = equal_mass_bins(probabilities.max(axis=1))
        class_bins = [equal_mass_bins(column) for column in probabilities.T]
        values[model] = [
            one_resample(
                predictions.labels[rows], probabilities[rows], top_bins[rows], [bins[rows] for bins in class_bins]
            )
            for rows in rows_of_resamples
        ]
    return values


def one_resample(
    labels: IntArray, probabilities: FloatArray, top_bins: IntArray, class_bins: list[IntArray]
) -> list[float]:
    """Score one resample with one scikit-learn call a metric."""
    every = list(range(probabilities.shape[1]))
    predicted = probabilities.argmax(axis=1)
    values = [
        metrics.accuracy_score(labels, predicted),
        metrics.balanced_accuracy_score(labels, predicted),
        metrics.f1_score(labels, predicted, labels=every, average="macro", zero_division=0),
        metrics.f1_score(labels, predicted, labels=every, average="weighted", zero_division=0),
        metrics.roc_auc_score(labels, probabilities, multi_class="ovr"),
        metrics.log_loss(labels, probabilities, labels=every),
        metrics.brier_score_loss(labels, probabilities, labels=every, scale_by_half=False),
        plain_ece(probabilities.max(axis=1), predicted == labels, top_bins),
        metrics.matthews_corrcoef(labels, predicted),
        metrics.cohen_kappa_score(labels, predicted),
    ]
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=np.nan
    )
    for label in every:
        of_class, score = labels == label, probabilities[:, label]
        values += [
            f1[label],
            metrics.roc_auc_score(of_class, score),
            precision[label],
            recall[label],
            metrics.recall_score(~of_class, predicted != label),
            metrics.average_precision_score(of_class, score),
            metrics.brier_score_loss(of_class, score),
            plain_ece(score, of_class, class_bins[label]),
            support[label],
        ]
    return [float(value) for value in values]


def plain_ece(confidence: FloatArray, right: BoolArray, bins: IntArray) -> float:
    """Sum the gaps of the bins."""
    gaps = [abs((confidence[bins == number] - right[bins == number]).sum()) for number in np.unique(bins)]
    return float(sum(gaps)) / len(bins)


def largest_difference(resampled: Mapping[str, Scores], loop: dict[str, list[list[float]]]) -> float:
    """Compare all metrics on the resamples that both scored."""
    differences = []
    for model, resamples in loop.items():
        scores = resampled[model]
        for number, expected in enumerate(resamples):
            found = [scores.overall[metric][number] for metric in OVERALL_METRICS]
            for label in range(len(CLASSES)):
                found += [scores.per_class[metric][number, label] for metric in CLASS_METRICS]
            differences.append(np.abs(np.array(found) - expected).max())
    return float(max(differences))


def main() -> None:
    """Run both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--loop-resamples", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    predictions = simulate(options.models, np.random.default_rng(options.seed))
    n = len(predictions.labels)
    n_values = len(OVERALL_METRICS) + len(CLASSES) * len(CLASS_METRICS)

    start = time.perf_counter()
    resampled = bootstrap(predictions, resamples=options.resamples, generator=np.random.default_rng(options.seed))
    ours = time.perf_counter() - start

    names, groups = np.unique(predictions.groups, return_inverse=True)
    blocks = resample_groups(
        len(names), n, resamples=options.loop_resamples, generator=np.random.default_rng(options.seed)
    )
    rows = [np.repeat(np.arange(n), counts[groups]) for counts in np.concatenate(list(blocks))]
    start = time.perf_counter()
    loop = loop_over_scikit_learn(predictions, rows)
    looped = time.perf_counter() - start
    extrapolated = looped / options.loop_resamples * options.resamples

    print(
        f"{options.models} models, {n} images, {len(names)} lesions, {len(CLASSES)} classes, "
        f"{n_values} values a model and resample"
    )
    print(f"{'':<24}{'resamples':>10}{'seconds':>12}{'ms a resample':>16}")
    print(f"{'reports.intervals':<24}{options.resamples:>10}{ours:>12.2f}{1000 * ours / options.resamples:>16.2f}")
    print(
        f"{'scikit-learn loop':<24}{options.loop_resamples:>10}{looped:>12.2f}"
        f"{1000 * looped / options.loop_resamples:>16.2f}"
    )
    print(f"{'  extrapolated':<24}{options.resamples:>10}{extrapolated:>12.2f}")
    print(f"ratio {extrapolated / ours:.0f}, from {options.loop_resamples} resamples that the loop ran")
    print(f"largest difference on those resamples {largest_difference(resampled, loop):.1e}")

    settings = ReportSettings(resamples=options.resamples)
    start, cpu = time.perf_counter(), time.process_time()
    evaluate(predictions, demo=False, settings=settings, generator=np.random.default_rng(options.seed))
    print(
        f"whole evaluation {time.perf_counter() - start:.2f} seconds, {time.process_time() - cpu:.2f} of a processor; "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
    )


if __name__ == "__main__":
    main()
