"""The table of published systems: its scores, its differences and what it says of recipes that cannot run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from cv_folds.arrays import frozen
from ensemble.predictions import Predictions

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
CLASSES = ("akiec", "mel", "nv")


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


def predictions(seed: int, *, right: float, rows: list[int] | None = None) -> Predictions:
    """Answers for 150 images of 75 lesions, of which a share is right; of some rows only."""
    rng = np.random.default_rng(seed)
    lesion = np.repeat(np.arange(75), 2)
    labels = lesion % 3
    answers = np.where(rng.random(150) < right, labels, rng.integers(3, size=150))
    probabilities = 0.1 + 0.7 * np.eye(3)[answers]
    kept = np.arange(150) if rows is None else np.array(rows)
    names = frozen([f"lesion_{number:02d}" for number in lesion[kept].tolist()])
    return Predictions(
        image_ids=frozen([f"image_{number:03d}" for number in kept.tolist()]),
        lesion_ids=names,
        groups=names,
        folds=frozen(np.zeros(len(kept)), np.int64),
        labels=frozen(labels[kept], np.int64),
        classes=CLASSES,
        probabilities={"resnet50": frozen(probabilities[kept])},
        kinds={"resnet50": "backbone"},
    )


def compared(own: Predictions, images: Predictions, lesions: Predictions, metric: str) -> Any:
    from reproducing.compare import compare

    generator = np.random.default_rng(0)
    return compare(own, images, lesions, model="resnet50", metric=metric, resamples=400, generator=generator)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "weighted_f1"])
def test_scores_are_those_of_scikit_learn_and_differences_theirs(metric):
    def score(table: Predictions) -> float:
        answers = table.probabilities["resnet50"].argmax(axis=1)
        if metric == "accuracy":
            return float(accuracy_score(table.labels, answers))
        return float(f1_score(table.labels, answers, average=metric.removesuffix("_f1")))

    own = predictions(1, right=0.8, rows=[*range(10, 40), *range(149, 109, -2)])
    images, lesions = predictions(2, right=0.8), predictions(3, right=0.5)
    found = compared(own, images, lesions, metric)
    for side, table in (("own", own), ("image_level", images), ("grouped", lesions)):
        estimate = getattr(found, side)
        assert estimate.value == pytest.approx(score(table), abs=1e-12)
        assert estimate.low < estimate.value < estimate.high
    assert found.own_minus_grouped.value == pytest.approx(score(own) - score(lesions), abs=1e-12)
    assert found.image_level_minus_grouped.value == pytest.approx(score(images) - score(lesions), abs=1e-12)


def test_what_two_sides_share_is_not_in_the_interval_of_their_difference():
    lesions = predictions(3, right=0.5)
    answers = lesions.probabilities["resnet50"].copy()
    wrong = np.flatnonzero(answers.argmax(1) != lesions.labels)[:3]
    answers[wrong] = 0.1 + 0.7 * np.eye(3)[lesions.labels[wrong]]
    fields = {name: getattr(lesions, name) for name in lesions.__dataclass_fields__}
    better = Predictions(**(fields | {"probabilities": {"resnet50": frozen(answers)}}))
    found = compared(lesions, better, lesions, "accuracy")
    difference = found.image_level_minus_grouped
    assert difference.value == pytest.approx(3 / 150)
    assert 0 <= difference.low < difference.high < 0.06
    assert found.grouped.high - found.grouped.low > 0.1
    assert found.own_minus_grouped.value == 0
    assert found.own_minus_grouped.reason == "every resample gives the same value"


def test_every_published_system_is_a_recipe_whose_divisions_are_valid():
    from reproducing.published import PUBLISHED, WITHOUT_LEAKAGE

    from hamcv.config import recipes, resolve

    known = {recipe.name for recipe in recipes()}
    for published in PUBLISHED:
        assert published.recipe in known
        own = resolve(published.recipe, dict(published.own))
        assert own.protocol == "holdout"
        folds = resolve(published.recipe, dict(WITHOUT_LEAKAGE))
        assert (folds.protocol, folds.allow_leakage) == ("leakage", False)
        assert folds.training == own.training


def test_a_recipe_that_cannot_run_is_in_the_table_with_its_reason(tmp_path):
    from reproducing.page import Outcome, write_page
    from reproducing.published import PUBLISHED

    outcomes = [Outcome(published=PUBLISHED[0], measured=None, failure="no weights here\nmore")]
    page, content = write_page(outcomes, tmp_path, command="python scripts/reproduce.py --out x", epochs=1)
    text = page.read_text()
    assert "not run: no weights here |" in text
    assert "0.75; 0.66" in text
    assert "No reproduction of the published figures" in text
    assert '"failure": "no weights here\\nmore"' in content.read_text()


def test_versions_stand_in_one_line_with_timm_where_it_was_used(tmp_path):
    from reproducing.page import Measured, Outcome, write_page
    from reproducing.published import PUBLISHED

    from hamcv.config import resolve
    from reports.run_records import DataRecord, DeviceRecord, RunRecord

    def record(versions: dict[str, str]) -> RunRecord:
        return RunRecord(
            schema=1,
            status="done",
            recipe="x",
            started="2026-01-01T00:00:00Z",
            versions=versions,
            platform="Linux",
            device=DeviceRecord(kind="cpu", name="Some CPU", threads=1),
            data=DataRecord(
                name="x",
                fingerprint="0",
                demo=True,
                n_images=2,
                n_lesions=2,
                images_per_class={"nv": 2},
                lesions_per_class={"nv": 2},
            ),
            weights="none",
            seconds={"train": 1.0},
            jobs=(),
        )

    def outcome(published: Any, versions: dict[str, str]) -> Outcome:
        config, found = resolve(published.recipe, {}), record(versions)
        measured = Measured(rows=(), config=config, own=found, folds=found, n_test=1)
        return Outcome(published=published, measured=measured, failure=None)

    same = {"hamcv": "0.1.0", "torch": "2.15.0"}
    usual = [published for published in PUBLISHED if published.recipe != "three-phase"][:2]
    (phases,) = (published for published in PUBLISHED if published.recipe == "three-phase")
    failed = Outcome(published=PUBLISHED[-1], measured=None, failure="no weights here")
    outcomes = [*(outcome(published, same) for published in usual), outcome(phases, same | {"timm": "1.0.31"}), failed]
    text = write_page(outcomes, tmp_path, command="x", epochs=None)[0].read_text()
    assert [line for line in text.splitlines() if line.startswith("Versions")] == [
        "Versions: hamcv 0.1.0, torch 2.15.0, timm 1.0.31 (`three-phase`)."
    ]
    outcomes[0] = outcome(usual[0], same | {"torch": "2.14.1"})
    text = write_page(outcomes, tmp_path, command="x", epochs=None)[0].read_text()
    assert (
        f"Versions: hamcv 0.1.0, torch 2.14.1 (`{usual[0].recipe}`), "
        f"torch 2.15.0 (`{usual[1].recipe}`, `three-phase`), timm 1.0.31 (`three-phase`)." in text
    )
