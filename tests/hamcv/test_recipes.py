from __future__ import annotations

import csv
import importlib.util
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest_runs import carry_out

from cv_folds.data.demo import write_demo_set
from hamcv.config import Recipe, differences, recipes, resolve

RECIPES = {recipe.name: recipe for recipe in recipes()}
PUBLISHED = {name: recipe for name, recipe in RECIPES.items() if recipe.source}
SMALL: dict[str, Any] = {
    "weights": "none",
    "training.image_size": 32,
    "training.epochs": 1,
    "training.batch_size": 16,
    "ensemble.combiners": ["soft_vote"],
    "ensemble.deployed": "soft_vote",
    "report.resamples": 100,
}


def leaves(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def test_all_published_systems_are_there() -> None:
    assert PUBLISHED.keys() == {
        "weighted-sampler",
        "oversampled-pair",
        "long-early-stop",
        "three-phase",
        "eight-class-sgd",
        "eight-class-sgd-augmented",
        "eight-class-sgd-oversampled",
        "eight-class-sgd-selected",
    }


@pytest.mark.parametrize("name", sorted(RECIPES.keys() - {"default"}))
def test_a_recipe_differs_from_default_in_what_its_file_says_and_in_nothing_else(name: str) -> None:
    said = leaves(tomllib.loads(RECIPES[name].text)).keys() - {"description", "source"}
    changed = {line.partition(":")[0] for line in differences(resolve("default", {}), resolve(name, {}))}
    assert changed == said | {"recipe"}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_list_and_the_text_of_a_recipe(recipe: Recipe, hamcv: Callable[..., Any]) -> None:
    line = next(line for line in hamcv("recipes").out.splitlines() if line.split()[0] == recipe.name)
    assert recipe.description in line
    assert recipe.source in line
    assert hamcv("recipes", "show", recipe.name).out.strip() == recipe.text.strip()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default", 5e-4), ("strong", 5e-4), ("long-early-stop", 5e-4), ("finetune", 1e-3), ("quick", 1e-3),
        ("weighted-sampler", 1e-3), ("oversampled-pair", 1e-3),
    ],
)  # fmt: skip
def test_the_peak_from_pretrained_weights_is_the_documented_one(name: str, expected: float) -> None:
    """Those of published systems are theirs, whatever `default` is tuned to."""
    (phase,) = resolve(name, {"data": "demo"}).training.phases_of(from_scratch=False)
    assert phase.learning_rate == expected


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo set with enough lesions of a single image for a validation and a test part of them alone."""
    folder = tmp_path_factory.mktemp("data") / "demo"
    write_demo_set(folder, seed=1, n_lesions=90, n_images=110)
    return folder


@pytest.mark.parametrize("recipe", PUBLISHED.values(), ids=PUBLISHED)
def test_a_recipe_runs_to_a_report(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    if "timm:" in recipe.text and importlib.util.find_spec("timm") is None:
        pytest.skip("the extra hamcv[timm] is not there")
    # One training a network: a hold-out also where the recipe leaves the protocol to the user.
    config = resolve(recipe.name, SMALL | {"data": str(data), "protocol": "holdout"})
    carry_out(config, tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(config.backbones) <= metrics["models"].keys()
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert all(f"epochs = 1, learning_rate = {phase.learning_rate:g}" in report for phase in config.training.phases)
    histories = list((tmp_path / "run").glob("jobs/*/fold-0/history.csv"))
    assert len(histories) == len(config.backbones)
    for history in histories:
        with history.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        # One epoch of every phase.
        assert [int(row["phase"]) for row in rows] == list(range(1, max(1, len(config.training.phases)) + 1))
