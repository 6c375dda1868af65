from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn_reference import as_predictions, random_labels, random_probabilities

from reports import score_sections
from reports.document import Cell, Group, Section, Table
from reports.evaluation import evaluate
from reports.further_tables import net_benefit_table
from reports.results import Evaluation
from reports.settings import ReportSettings
from reports.tests_table import table_of_tests


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluated(ReportSettings(resamples=100, malignant=("class-0",)))


def evaluated(settings: ReportSettings, *, n_folds: int = 3) -> Evaluation:
    generator = np.random.default_rng(0)
    labels = np.repeat(random_labels(120, 3, generator), 2)
    groups = np.repeat(np.arange(120), 2)
    models = {model: random_probabilities(labels, 3, generator) for model in ("resnet50", "soft_vote", "stack")}
    predictions = as_predictions(labels, models, groups=groups, folds=groups % n_folds)
    return evaluate(predictions, demo=False, settings=settings, generator=generator)


def tables(section: Section) -> dict[str, Table]:
    blocks = [part for block in section.blocks for part in (block.blocks if isinstance(block, Group) else (block,))]
    return {part.name: part for part in blocks if isinstance(part, Table)}


def column(table: Table, label: str) -> dict[str, Cell]:
    place = [heading.label for heading in table.columns].index(label)
    return {row[0].text: row[place] for row in table.rows}


def test_every_number_is_that_of_the_evaluation(evaluation: Evaluation) -> None:
    levels = evaluation.levels
    assert levels is not None
    assert levels.by_lesion is not None
    found = tables(score_sections.further(evaluation))
    for level in (levels.by_image, levels.by_lesion):
        for model, scores in level.models.items():
            ranking = column(found[f"malignant-ranking-{level.unit}"], "Partial AUC")[model]
            assert ranking.value == scores.malignant["partial_auc"].value
            assert column(found[f"further-{level.unit}"], "AURC")[model].value == scores.overall["aurc"].value
            parts = found[f"brier-parts-{level.unit}"]
            signs = {
                "Brier score": -1, "Reliability": 1, "Resolution": -1, "Uncertainty": 1, "Within-bin variance": 1,
                "Within-bin covariance": -1,
            }  # fmt: skip
            total = sum(sign * (column(parts, label)[model].value or 0) for label, sign in signs.items())
            assert total == pytest.approx(0, abs=1e-12)
            threshold = column(found[f"operating-points-{level.unit}"], "Sensitivity of 95 %")[model]
            assert threshold.value == scores.operating_points[-1].threshold
            benefit = column(net_benefit_table(levels, level), model)["20 %"]
            assert benefit.value == scores.net_benefit[levels.thresholds.index(0.2)].value
    leaders = column(found["leaderboard-lesion"], "Accuracy")
    assert leaders["stack"].value == levels.by_lesion.models["stack"].overall["accuracy"].value
    assert sum(cell.best for cell in leaders.values()) >= 1
    assert not any(cell.best for cell in column(found["brier-parts-image"], "Uncertainty").values())


def test_without_malignant_classes_the_reason_is_in_a_footnote() -> None:
    found = tables(score_sections.further(evaluated(ReportSettings(resamples=100, malignant=()))))
    assert "operating-points-image" not in found
    assert found["malignant-ranking-image"].notes == (
        "none of the classes counts as malignant (report.malignant: no name)",
    )


def test_nothing_is_shown_of_what_was_not_computed(evaluation: Evaluation) -> None:
    assert score_sections.further(replace(evaluation, levels=None)).blocks == ()


def test_without_two_folds_no_test_over_folds_is_shown() -> None:
    whole = evaluated(ReportSettings(resamples=100), n_folds=1)
    assert {family.unit for family in whole.tests} == {"image", "lesion", "fold"}
    table = table_of_tests(whole)
    assert {row[2].text for row in table.rows} == {"image", "lesion"}
    assert "fold" not in table.caption


def test_the_tests_are_all_there(evaluation: Evaluation) -> None:
    table = table_of_tests(evaluation)
    pairs = len(evaluation.tests[0].pairs)
    assert pairs == 3
    assert len(table.rows) == 11 * pairs
    shown = [[cell.text for cell in row] for row in table.rows]
    for family in evaluation.tests:
        for pair in family.pairs:
            (row,) = (
                cells
                for cells, texts in zip(table.rows, shown, strict=True)
                if cells[8].value == pair.p_adjusted
                and texts[3:5] == [pair.model, pair.against]
                and cells[6].value == pair.outcome.statistic
            )
            assert row[5].value == pair.outcome.difference.value
            assert row[9].text in ("better", "worse", "no evidence of a difference")
            assert (row[9].text == "no evidence of a difference") == (pair.evidence == "no evidence of a difference")
    for comparison, row in zip(evaluation.comparisons, table.rows, strict=False):
        assert (row[7].value, row[8].value) == (comparison.p, comparison.p_adjusted)
