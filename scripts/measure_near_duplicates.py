"""Measure the search for near-duplicates on pairs of one lesion id, and fit the weights of its score.

    python scripts/measure_near_duplicates.py --data data/ham10000 --evidence evidence.json \
        --page docs/results/near-duplicates.md

The evidence on all pairs, those of one lesion id included, takes some minutes and is kept in the file of --evidence.
Weights are fitted on one half of the lesions and measured on the other. Prints the weights for
cv_folds/near_duplicates/score.py, and writes the curve of recall and precision as a table and a figure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from cv_folds.arrays import BoolArray, FloatArray, IntArray
from cv_folds.data.dataset import LesionDataset
from cv_folds.near_duplicates.alignment import Alignment, align_candidates
from cv_folds.near_duplicates.candidates import Candidates, find_candidates
from cv_folds.near_duplicates.collection import Collection, collect
from cv_folds.near_duplicates.evidence import Evidence, gather_evidence
from cv_folds.near_duplicates.features import one_thread_a_call
from cv_folds.near_duplicates.overlay import Agreement
from cv_folds.near_duplicates.score import CONFIRMED, DOUBTFUL, figures, log_odds
from cv_folds.near_duplicates.settings import SearchSettings
from hamcv.sources import choose_data, open_dataset

ZOOMS = ((1.0, 1.25), (1.25, 1.6), (1.6, 2.2), (2.2, 4.0))
"""Ranges of magnification, whichever image is larger."""
CHANCE_STEP = 10
"""Every so manieth candidate of two diagnoses with fewer inliers than the search needs is a negative too."""
CONTRADICTIONS = 12
"""Inliers from which pairs of two diagnoses were looked at: they show one lesion, and are no negatives."""
SURE = 8
"""Inliers from which the zoom of a pair of one lesion id is taken as known, when all its features are compared."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Evidence, and what it cost."""

    evidence: list[Evidence]
    chance: list[Evidence]
    zooms: dict[tuple[int, int], float]
    cpu_seconds: float
    peak_mib: float


def main() -> None:
    """Parse, measure, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of HAM10000")
    parser.add_argument("--evidence", type=Path, required=True, help="file to keep the evidence in")
    parser.add_argument("--page", type=Path, help="page to write; the figure lies beside it")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    dataset = open_dataset(choose_data(options.data).data)
    if not options.evidence.exists():
        options.evidence.write_text(json.dumps(_to_json(measure(dataset, options.workers))))
    measured = _from_json(json.loads(options.evidence.read_text()))
    pairs = Pairs(dataset, measured)
    fit(pairs)
    rows = curve(pairs)
    for row in rows:
        print(row)
    if options.page is not None:
        write_page(options.page, pairs, rows, measured)


def measure(dataset: LesionDataset, workers: int) -> Measured:
    """Gather the evidence on pairs of all images, on chance, and the zoom of pairs of one lesion id."""
    settings = SearchSettings()
    start = time.process_time()
    with one_thread_a_call(), threadpool_limits(1):
        collection = collect(dataset.paths, settings, workers=workers)
        say(f"features: {time.process_time() - start:.0f} CPU seconds")
        candidates = find_candidates(collection, np.arange(len(dataset)), settings, workers=workers)
        say(f"{len(candidates)} candidates: {time.process_time() - start:.0f} CPU seconds")
        evidence = gather_evidence(collection, candidates, dataset.paths, settings, workers=workers)
        cpu = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        say(f"evidence on {len(evidence)} pairs: {cpu:.0f} CPU seconds, {peak:.0f} MiB")
        wrong = np.flatnonzero(dataset.labels[candidates.a] != dataset.labels[candidates.b])[::CHANCE_STEP]
        chance = gather_evidence(
            collection,
            Candidates(
                a=candidates.a[wrong],
                b=candidates.b[wrong],
                mirrored=candidates.mirrored[wrong],
                votes=candidates.votes[wrong],
            ),
            dataset.paths,
            settings.model_copy(update={"least_inliers": 3}),
            workers=workers,
        )
        return Measured(
            evidence=evidence,
            chance=[pair for pair in chance if pair.alignment.inliers < settings.least_inliers],
            zooms=_zooms(dataset, collection, settings),
            cpu_seconds=cpu,
            peak_mib=peak,
        )


def say(text: str) -> None:
    """Print to stderr."""
    print(text, file=sys.stderr, flush=True)


def _zooms(dataset: LesionDataset, collection: Collection, settings: SearchSettings) -> dict[tuple[int, int], float]:
    a, b = same_lesion_pairs(dataset)
    best: dict[tuple[int, int], Alignment] = {}
    for mirrored in (False, True):
        candidates = Candidates(a=a, b=b, mirrored=np.full(len(a), mirrored), votes=np.ones(len(a)))
        for start in range(0, len(a), 256):
            rows = np.arange(start, min(start + 256, len(a)))
            for found in align_candidates(collection, candidates, rows, settings):
                before = best.get((found.a, found.b))
                if found.inliers >= SURE and (before is None or before.inliers < found.inliers):
                    best[found.a, found.b] = found
    return {pair: max(found.scale, 1 / found.scale) for pair, found in best.items()}


def same_lesion_pairs(dataset: LesionDataset) -> tuple[IntArray, IntArray]:
    """Return all pairs of images of one lesion id."""
    order = np.argsort(dataset.lesion_ids, kind="stable")
    _, starts = np.unique(dataset.lesion_ids[order], return_index=True)
    pairs = [pair for rows in np.split(order, starts[1:]) for pair in combinations(sorted(rows.tolist()), 2)]
    return np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])


class Pairs:
    """Every pair with evidence, and which half it belongs to."""

    def __init__(self, dataset: LesionDataset, measured: Measured) -> None:
        evidence = measured.evidence
        self.evidence = evidence
        self.a = np.array([pair.alignment.a for pair in evidence])
        self.b = np.array([pair.alignment.b for pair in evidence])
        self.inliers = np.array([pair.alignment.inliers for pair in evidence])
        self.same: BoolArray = dataset.lesion_ids[self.a] == dataset.lesion_ids[self.b]
        self.two_diagnoses: BoolArray = dataset.labels[self.a] != dataset.labels[self.b]
        half = np.array([hashlib.sha256(lesion.encode()).digest()[0] % 2 for lesion in dataset.lesion_ids.tolist()])
        self.fitting, self.testing = half[self.a] == 0, half[self.a] == 1
        self.negative = self.two_diagnoses & (self.inliers < CONTRADICTIONS)
        all_a, all_b = same_lesion_pairs(dataset)
        tested = half[all_a] == 1
        self.n_tested = int(tested.sum())
        zoom = np.array([measured.zooms.get(pair, np.nan) for pair in zip(all_a.tolist(), all_b.tolist(), strict=True)])
        self.zooms = dict(
            zip(zip(all_a[tested].tolist(), all_b[tested].tolist(), strict=True), zoom[tested], strict=True)
        )
        shares = np.bincount(dataset.labels) / len(dataset)
        self.share_of_two_diagnoses = float(1 - (shares**2).sum())
        self.chance = [pair for pair in measured.chance if half[pair.alignment.a] == 0]

    @property
    def log_odds(self) -> FloatArray:
        """Of the score that the package holds."""
        return log_odds(self.evidence)


def fit(pairs: Pairs) -> None:
    """Print the weights that the fitting half gives."""
    chosen = pairs.fitting & (pairs.same | pairs.negative)
    evidence = [pair for pair, taken in zip(pairs.evidence, chosen.tolist(), strict=True) if taken]
    values = figures([*evidence, *pairs.chance])
    truth = np.r_[pairs.same[chosen], np.zeros(len(pairs.chance), bool)]
    scaler = StandardScaler().fit(values)
    model = LogisticRegression(C=1.0, max_iter=5000).fit(scaler.transform(values), truth)
    weights = model.coef_[0] / scaler.scale_
    print("positives, negatives:", int(truth.sum()), int((~truth).sum()))
    print("standardised:", model.coef_[0].round(2).tolist())
    print("WEIGHTS =", tuple(weights.round(2).tolist()))
    print("INTERCEPT =", round(float(model.intercept_[0] - weights @ scaler.mean_), 2))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One threshold."""

    threshold: float
    recall: float
    recall_by_zoom: tuple[float, ...]
    false_pairs: int
    precision: float
    across: int


def curve(pairs: Pairs) -> list[Row]:
    """Return recall and precision on the testing half at many thresholds, those of the package among them."""
    score = pairs.log_odds
    positive, negative = pairs.testing & pairs.same, pairs.testing & pairs.negative
    zoom = np.array(list(pairs.zooms.values()))
    of_pair = {(a, b): value for a, b, value in zip(pairs.a.tolist(), pairs.b.tolist(), score.tolist(), strict=True)}
    tested = np.array([of_pair.get(pair, -np.inf) for pair in pairs.zooms])
    rows = []
    for threshold in sorted({*np.arange(-4, 14, 1).tolist(), DOUBTFUL, CONFIRMED}):
        true, false = int((score[positive] >= threshold).sum()), int((score[negative] >= threshold).sum())
        expected = false / pairs.share_of_two_diagnoses
        rows.append(
            Row(
                threshold=threshold,
                recall=true / pairs.n_tested,
                recall_by_zoom=tuple(
                    float((tested[(zoom >= low) & (zoom < high)] >= threshold).mean()) for low, high in ZOOMS
                ),
                false_pairs=false,
                precision=true / max(true + expected, 1),
                across=int((score[~pairs.same] >= threshold).sum()),
            )
        )
    return rows


def write_page(page: Path, pairs: Pairs, rows: list[Row], measured: Measured) -> None:
    """Write the table between the marks of the page, and the figure beside it."""
    head = ["log-odds", "recall", *(f"zoom {low:g}-{high:g}" for low, high in ZOOMS)]
    head += ["pairs of two diagnoses", "precision", "pairs across lesion ids"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        name = {DOUBTFUL: " (doubtful from here)", CONFIRMED: " (confirmed from here)"}.get(row.threshold, "")
        cells = [f"{row.threshold:g}{name}", f"{row.recall:.3f}", *(f"{value:.3f}" for value in row.recall_by_zoom)]
        lines.append("| " + " | ".join([*cells, str(row.false_pairs), f"{row.precision:.4f}", str(row.across)]) + " |")
    known = np.array(list(pairs.zooms.values()))
    counts = ", ".join(f"{int(((known >= low) & (known < high)).sum())}" for low, high in ZOOMS)
    lines += [
        "",
        (
            f"Pairs of one lesion id in the measured half: {pairs.n_tested}; with known zoom, by column: {counts}. "
            f"Search of all pairs, those of one lesion id included: {measured.cpu_seconds:.0f} CPU seconds, "
            f"{measured.peak_mib:.0f} MiB at most."
        ),
    ]
    before, _, rest = page.read_text().partition("<!-- table -->\n")
    _, _, after = rest.partition("<!-- end of table -->\n")
    page.write_text(f"{before}<!-- table -->\n" + "\n".join(lines) + f"\n<!-- end of table -->\n{after}")
    draw(page.with_suffix(".svg"), rows)


def draw(path: Path, rows: list[Row]) -> None:
    """Draw the curve."""
    mpl.rcParams["svg.hashsalt"] = "hamcv"
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    left.plot([row.recall for row in rows], [row.precision for row in rows], marker="o", markersize=3)
    for name, threshold in (("confirmed", CONFIRMED), ("doubtful", DOUBTFUL)):
        row = next(row for row in rows if row.threshold == threshold)
        left.annotate(name, (row.recall, row.precision), xytext=(-8, -14), textcoords="offset points", ha="right")
    left.set(xlabel="recall on pairs of one lesion id", ylabel="precision")
    for number, (low, high) in enumerate(ZOOMS):
        values = [row.recall_by_zoom[number] for row in rows]
        right.plot([row.threshold for row in rows], values, label=f"zoom {low:g}-{high:g}")
    right.axvline(CONFIRMED, color="0.6", linewidth=0.8)
    right.axvline(DOUBTFUL, color="0.6", linewidth=0.8)
    right.set(xlabel="log-odds from which a pair counts", ylabel="recall")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def _to_json(measured: Measured) -> dict[str, Any]:
    return {
        "evidence": [_pair_to_json(pair) for pair in measured.evidence],
        "chance": [_pair_to_json(pair) for pair in measured.chance],
        "zooms": [[a, b, zoom] for (a, b), zoom in measured.zooms.items()],
        "cpu_seconds": measured.cpu_seconds,
        "peak_mib": measured.peak_mib,
    }


def _pair_to_json(pair: Evidence) -> dict[str, Any]:
    alignment = asdict(pair.alignment) | {"matrix": pair.alignment.matrix.tolist()}
    return {"alignment": alignment, "agreement": asdict(pair.agreement)}


def _from_json(content: dict[str, Any]) -> Measured:
    return Measured(
        evidence=[_pair_from_json(pair) for pair in content["evidence"]],
        chance=[_pair_from_json(pair) for pair in content["chance"]],
        zooms={(a, b): zoom for a, b, zoom in content["zooms"]},
        cpu_seconds=content["cpu_seconds"],
        peak_mib=content["peak_mib"],
    )


def _pair_from_json(pair: dict[str, Any]) -> Evidence:
    alignment = pair["alignment"] | {"matrix": np.array(pair["alignment"]["matrix"])}
    agreement = {key: tuple(value) if isinstance(value, list) else value for key, value in pair["agreement"].items()}
    return Evidence(alignment=Alignment(**alignment), agreement=Agreement(**agreement))


if __name__ == "__main__":
    main()
