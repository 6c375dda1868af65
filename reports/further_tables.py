"""Tables of the further scores: per lesion, malignant against benign, calibration in detail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reports.document import Cell, Column, Table
from reports.further_metrics import BRIER_PARTS
from reports.levels import Level, Levels, OperatingPoint
from reports.results import Estimate
from reports.score_tables import (
    DECISION_METRICS,
    PROBABILITY_METRICS,
    best_value,
    estimate_cell,
    metric_columns,
    missing,
    plain,
)
from reports.wording import METRICS, count, number, percent, plural

BALANCE_METRICS = (
    "balanced_multiclass_accuracy",
    "geometric_mean",
    "index_balanced_accuracy",
    "top2_accuracy",
    "aurc",
    "excess_aurc",
)
CALIBRATION_METRICS = (
    "ece",
    "ece_equal_width",
    "classwise_ece",
    "debiased_calibration_error",
    "max_calibration_error",
)
MALIGNANT_RANKING = ("auc", "average_precision", "partial_auc", "partial_auc_raw")
MALIGNANT_DECISIONS = (
    "sensitivity",
    "specificity",
    "sensitivity_at_90_specificity",
    "sensitivity_at_95_specificity",
    "specificity_at_90_sensitivity",
    "specificity_at_95_sensitivity",
)
SHOWN_PERCENTS = (1, 2, 5, 10, 15, 20, 25, 30, 40, 50)
"""Threshold probabilities in the table of the net benefit; ``metrics.json`` has every per cent."""


def lesion_tables(level: Level) -> tuple[Table, ...]:
    """Return the overall scores per lesion."""
    estimates = {name: scores.overall for name, scores in level.models.items()}
    caption = f"Every lesion counts once, with the mean probabilities of its images ({plural(level.n, 'lesion')})"
    return (
        _table("leaderboard-lesion", f"{caption}: decisions and ranking.", DECISION_METRICS, estimates),
        _table("probability-scores-lesion", f"{caption}: the probabilities.", PROBABILITY_METRICS, estimates),
    )


def balance_table(level: Level) -> Table:
    """Return further scores of decisions, and of confidence as a guide to errors."""
    return _table(
        f"further-{level.unit}",
        f"Further scores of the decisions, and areas under the risk-coverage curve, per {level.unit}.",
        BALANCE_METRICS,
        {name: scores.overall for name, scores in level.models.items()},
    )


def calibration_tables(level: Level) -> tuple[Table, Table]:
    """Return the calibration errors, and the parts of the Brier score."""
    estimates = {name: scores.overall for name, scores in level.models.items()}
    return (
        _table(
            f"calibration-errors-{level.unit}", f"Calibration errors per {level.unit}.", CALIBRATION_METRICS, estimates
        ),
        _table(
            f"brier-parts-{level.unit}",
            f"Brier score per {level.unit}: reliability − resolution + uncertainty + within-bin variance − within-bin "
            "covariance, summed over the classes.",
            ("brier", *BRIER_PARTS),
            estimates,
        ),
    )


def malignant_tables(levels: Levels, level: Level) -> tuple[Table, ...]:
    """Return the scores of malignant against benign: ranking, decisions, thresholds."""
    estimates = {name: scores.malignant for name, scores in level.models.items()}
    names = ", ".join(levels.malignant_classes) or "no class"
    of = f"{count(level.n_malignant)} of {plural(level.n, level.unit)} ({names})"
    return (
        _table(
            f"malignant-ranking-{level.unit}",
            f"Malignant against benign, {of}, by the summed probability of the malignant classes.",
            MALIGNANT_RANKING,
            estimates,
        ),
        _table(
            f"malignant-decisions-{level.unit}",
            f"Malignant against benign per {level.unit}: sensitivity and specificity of the most probable class, then "
            "of thresholds on the summed probability, which were chosen on the same data.",
            MALIGNANT_DECISIONS,
            estimates,
        ),
        *((_operating_table(level),) if level.n_malignant not in (0, level.n) else ()),
    )


def _operating_table(level: Level) -> Table:
    demands = next(iter(level.models.values())).operating_points
    return Table(
        name=f"operating-points-{level.unit}",
        caption=f"Thresholds on the summed probability that keep a demand on these {level.unit}s; below, the "
        "sensitivity and specificity that they have.",
        columns=(
            Column(label="Model", numeric=False),
            *(Column(label=f"{point.demand.capitalize()} of {point.percent} %") for point in demands),
        ),
        rows=tuple(
            (Cell(text=name), *(_operating_cell(point) for point in scores.operating_points))
            for name, scores in level.models.items()
        ),
    )


def _operating_cell(point: OperatingPoint) -> Cell:
    if point.threshold is None:
        return missing("only calling nothing malignant keeps the demand")
    detail = f"{percent(point.sensitivity, 1)}, {percent(point.specificity, 1)}"
    behind = (("sensitivity", point.sensitivity), ("specificity", point.specificity))
    return Cell(text=number(point.threshold), detail=detail, behind=behind, value=point.threshold)


def net_benefit_table(levels: Levels, level: Level) -> Table:
    """Return the net benefit of every model and of calling all malignant, at `SHOWN_PERCENTS`."""

    def rows() -> Iterator[tuple[Cell, ...]]:
        for place, threshold in enumerate(levels.thresholds):
            everyone = level.treat_all[place]
            if round(100 * threshold) not in SHOWN_PERCENTS or everyone is None:
                continue
            found = [scores.net_benefit[place] for scores in level.models.values()]
            yield (
                Cell(text=percent(threshold), value=threshold),
                plain(everyone),
                *(estimate_cell(estimate) for estimate in found),
            )

    return Table(
        name=f"net-benefit-{level.unit}",
        caption=f"Net benefit per {level.unit} of calling malignant what reaches a threshold probability: true "
        "positives less false ones, these weighted by the odds of the threshold. Calling none has a net benefit of 0.",
        columns=(
            Column(label="Threshold"),
            Column(label="Call all", explain="Net benefit of calling everything malignant."),
            *(Column(label=name) for name in level.models),
        ),
        rows=tuple(rows()),
    )


def _table(name: str, caption: str, metrics: Sequence[str], estimates: Mapping[str, Mapping[str, Estimate]]) -> Table:
    best = {
        metric: best_value([found[metric] for found in estimates.values()], metric)
        for metric in metrics
        if METRICS[metric].better != "neither"
    }
    return Table(
        name=name,
        caption=f"{caption} 95 % intervals from the same lesion resamples. Bold: best point estimate.",
        columns=(Column(label="Model", numeric=False), *metric_columns(metrics)),
        rows=tuple(
            (Cell(text=model), *(estimate_cell(found[metric], best=best.get(metric)) for metric in metrics))
            for model, found in estimates.items()
        ),
    )
