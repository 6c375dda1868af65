from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cv_folds.errors import UsageError
from hamcv.config import RunConfig, amend_ensemble, differences, read_config, recipes, resolve


def test_default_comes_first_and_every_recipe_has_one_line() -> None:
    names = [recipe.name for recipe in recipes()]
    assert names[0] == "default"
    assert {"quick", "demo"} <= set(names)
    assert all(recipe.description and "\n" not in recipe.description for recipe in recipes())


@pytest.mark.parametrize("name", [recipe.name for recipe in recipes()])
def test_a_recipe_differs_from_default_only_in_what_its_file_says(name: str) -> None:
    text = next(recipe.text for recipe in recipes() if recipe.name == name)
    table = tomllib.loads(text)
    del table["description"]
    said = {key for key, value in table.items() if not isinstance(value, dict)} | {"recipe"}
    for section, values in table.items():
        if isinstance(values, dict):
            said |= {f"{section}.{key}" for key in values}
    changed = {line.partition(":")[0] for line in differences(resolve("default", {}), resolve(name, {}))}
    assert all(any(key == one or key.startswith(f"{one}.") for one in said) for key in changed)


def test_the_default_recipe_is_what_the_mission_says() -> None:
    config = resolve("default", {})
    assert config.backbones == ("mobilenet_v3_large", "resnet50", "efficientnet_b0")
    assert (config.folds, config.weights, config.training.resampling) == (5, "imagenet", "weighted")
    assert (config.training.image_size, config.training.epochs, config.training.validation_parts) == (224, 30, 8)


@pytest.mark.parametrize("name", [recipe.name for recipe in recipes()])
def test_toml_round_trip(name: str, tmp_path: Path) -> None:
    config = resolve(name, {"limit_lesions": 12, "weights": str(tmp_path)})
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert read_config(tmp_path / "config.toml") == config


def test_options_win_over_the_recipe_and_assignments_over_options() -> None:
    config = resolve("quick", {"training.epochs": 5, "folds": None}, ["training.epochs=7", "ensemble.coverage=0.8"])
    assert (config.training.epochs, config.folds, config.ensemble.coverage) == (7, 5, 0.8)


def test_a_recipe_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('backbones = ["resnet18"]\n[training]\nepochs = 2\n')
    config = resolve(str(tmp_path / "mine.toml"), {})
    assert (config.recipe, config.backbones, config.training.epochs) == ("mine", ("resnet18",), 2)
    assert config.training.image_size == resolve("default", {}).training.image_size


@pytest.mark.parametrize(
    ("options", "assignments", "words"),
    [
        ({"folds": -1}, [], ["folds = -1", "greater than or equal to 2"]),
        ({"folds": 1}, [], ["folds = 1"]),
        ({"backbones": ["resnet5"]}, [], ["resnet5", "resnet50"]),
        ({"backbones": ["resnet18", "resnet18"]}, [], ["named once only"]),
        ({"backbones": []}, [], ["backbones"]),
        ({"device": "gpu"}, [], ["device = 'gpu'"]),
        ({"training.epochs": 0, "training.batch_size": 1}, [], ["training.epochs = 0", "training.batch_size = 1"]),
        ({}, ["training.epoch=3"], ["training.epoch", "no such setting", "epochs"]),
        ({}, ["training.resampling=up"], ["training.resampling = 'up'", "'weighted'", "'over'"]),
        ({}, ["epochs"], ["key=value"]),
        ({}, ["folds.x=3"], ["folds is a single value"]),
        ({}, ["training.learning_rate=nan"], ["training.learning_rate"]),
    ],
)
def test_wrong_settings_are_named_with_what_is_allowed(
    options: dict[str, object], assignments: list[str], words: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve("default", options, assignments)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_unknown_and_broken_recipes(tmp_path: Path) -> None:
    names = ", ".join(recipe.name for recipe in recipes())
    with pytest.raises(UsageError, match=rf"neither a recipe \({names}\) nor a TOML file"):
        resolve("fast", {})
    (tmp_path / "broken.toml").write_text("epochs = = 3")
    with pytest.raises(UsageError, match=r"broken\.toml: is no valid TOML"):
        resolve(str(tmp_path / "broken.toml"), {})


def test_differences_name_both_values() -> None:
    old = RunConfig()
    new = resolve("default", {"training.augmentation.zoom": 0.5, "limit_lesions": 9})
    assert "training.augmentation.zoom: 0.2 -> 0.5" in differences(old, new)
    assert "limit_lesions: None -> 9" in differences(old, new)


def test_data_is_made_absolute_and_may_not_be_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("default", {"data": "ham"}).data == str(tmp_path / "ham")
    assert resolve("default", {}, ["data=demo"]).data == "demo"
    with pytest.raises(UsageError, match="name a folder"):
        resolve("default", {"data": ""})


def test_a_recipe_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"bytes\.toml: is no valid TOML"):
        resolve(str(tmp_path / "bytes.toml"), {})


def test_only_the_ensembles_of_a_run_can_be_amended() -> None:
    config = resolve("demo", {"ensemble.coverage": 0.8})
    changed = amend_ensemble(config, {"ensemble.deployed": None}, ["ensemble.calibration=vector"])
    assert differences(config, changed) == ["ensemble.calibration: temperature -> vector"]
    with pytest.raises(UsageError, match=r"--set training\.epochs: .*new training"):
        amend_ensemble(config, {}, ["training.epochs=3"])
    with pytest.raises(UsageError, match=r'\n  deployed = "stack" must be one of combiners \(greedy\)$'):
        amend_ensemble(config, {"ensemble.combiners": ["greedy"]}, [])
