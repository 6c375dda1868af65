from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cv_folds.errors import UsageError
from hamcv.config import amend_ensemble, differences, read_config, recipes, resolve
from hamcv.run_config import RunConfig


def test_default_comes_first_and_every_recipe_has_one_line() -> None:
    names = [recipe.name for recipe in recipes()]
    assert names[0] == "default"
    assert {"quick", "demo"} <= set(names)
    assert all(recipe.description and "\n" not in recipe.description + recipe.source for recipe in recipes())


@pytest.mark.parametrize("name", [recipe.name for recipe in recipes()])
def test_a_recipe_differs_from_default_only_in_what_its_file_says(name: str) -> None:
    text = next(recipe.text for recipe in recipes() if recipe.name == name)
    table = tomllib.loads(text)
    del table["description"]
    table.pop("source", None)
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


PHASES = "training.phases=[{epochs=5, learning_rate=1e-3, trained='head'}, {epochs=25, learning_rate=1e-4}]"


def test_a_number_in_a_key_names_the_entry_of_a_list() -> None:
    changes = [PHASES, "training.phases.1.learning_rate=1e-5", "training.phases.0.trained=0.75", "backbones.1=resnet18"]
    config = resolve("default", {}, changes)
    assert [phase.learning_rate for phase in config.training.phases] == [1e-3, 1e-5]
    assert [phase.trained for phase in config.training.phases] == [0.75, "all"]
    assert config.backbones == ("mobilenet_v3_large", "resnet18", "efficientnet_b0")


def test_the_number_of_epochs_that_is_asked_for_holds_for_every_phase() -> None:
    def epochs(options: dict[str, object], *assignments: str) -> list[int]:
        return [phase.epochs for phase in resolve("default", options, [PHASES, *assignments]).training.phases]

    assert epochs({}) == [5, 25]
    assert epochs({"training.epochs": 7}) == [5, 7]
    assert epochs({"training.epochs": 1}, "training.phases.0.epochs=9") == [1, 1]
    assert epochs({}, "training.epochs=2") == [2, 2]


def test_phases_come_back_from_their_file(tmp_path: Path) -> None:
    config = resolve("default", {}, [PHASES])
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert read_config(tmp_path / "config.toml") == config
    assert len(differences(config, resolve("default", {}))) == 1


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
        ({}, ["training.optimiser=adamax"], ["training.optimiser = 'adamax'", "'adamw', 'adam' or 'sgd'"]),
        ({}, ["training.nesterov=true"], ["training.nesterov goes with", "sgd"]),
        ({}, ["training.phases=5"], ["training.phases = 5: must be a list"]),
        ({}, ["training.phases=[5]"], ["training.phases.0 = 5: must be a table of batch_norm, epochs"]),
        ({}, ["training.phases=[{epochs=3}]"], ["training.phases.0.learning_rate: is missing"]),
        ({}, [PHASES, "training.phases.1.lr=1e-4"], ["training.phases.1.lr", "no such setting", "learning_rate"]),
        ({}, [PHASES, "training.phases.0.trained=2"], ["phases.0.trained = 2: must be all, head, or a share"]),
        ({}, [PHASES, "training.phases.1.epochs=0"], ["phases.1.epochs = 0: ", "greater than or equal to 1"]),
        ({}, [PHASES, "training.phases.2.epochs=1"], ["training.phases is a list and has entries 0 to 1"]),
        ({}, [PHASES, "training.phases.first.epochs=1"], ["training.phases is a list and has entries 0 to 1"]),
        ({}, ["training.phases.0.epochs=1"], ["training.phases is a list and has no entries"]),
        ({}, [PHASES, "training.phases.0.epochs.most=1"], ["epochs is a single value"]),
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
    words = r'\n  ensemble\.deployed = "stack" is none of ensemble\.combiners \(greedy\); .*deployed = "greedy"$'
    with pytest.raises(UsageError, match=words):
        amend_ensemble(config, {"ensemble.combiners": ["greedy"]}, [])


def test_models_of_the_subgroups_must_be_those_of_the_run() -> None:
    chosen = resolve("demo", {"report.subgroup_models": ["stack", "resnet50"]})
    assert chosen.report.subgroup_models == ("stack", "resnet50")
    with pytest.raises(UsageError, match=r"subgroup_models: densenet121: this run has .*resnet50.*soft_vote"):
        resolve("demo", {"report.subgroup_models": ["densenet121"]})


@pytest.mark.parametrize(
    ("recipe", "options", "assignments", "changed"),
    [
        ("protocol = 'holdout'\nsplit = [80, 10, 10]\nholdout = 'single_image'", {"protocol": "cv"}, [], ()),
        ("protocol = 'holdout'\nsplit = [80, 10, 10]", {}, ["protocol=leakage"], ("protocol",)),
        ("protocol = 'holdout'\nholdout = 'image'\nallow_leakage = true", {"protocol": "cv"}, [], ()),
        ("repeats = 3", {"protocol": "holdout"}, [], ("protocol",)),
        ("nested = true", {"protocol": "holdout", "split": ["70", "15", "15"]}, [], ("protocol", "split")),
        ("folds_file = '/f.csv'\nallow_leakage = true", {"protocol": "leakage"}, [], ("protocol", "folds_file")),
    ],
)
def test_what_a_recipe_sets_for_its_protocol_does_not_apply_to_another(
    tmp_path: Path, recipe: str, options: dict[str, object], assignments: list[str], changed: tuple[str, ...]
) -> None:
    (tmp_path / "other.toml").write_text(recipe)
    config = resolve(str(tmp_path / "other.toml"), options, assignments)
    lines = differences(resolve("default", {}), config, but={"recipe"})
    assert sorted({line.partition(":")[0] for line in lines}) == sorted(changed)


def test_what_a_recipe_sets_for_its_own_division_does_not_apply_to_a_file_of_folds(tmp_path: Path) -> None:
    recipe = tmp_path / "other.toml"
    recipe.write_text("protocol = 'holdout'\nholdout = 'image'\nallow_leakage = true\nstratify = ['sex']\n")
    config = resolve(str(recipe), {"folds_file": "/mine.csv"})
    assert (config.protocol, config.holdout, config.stratify) == ("holdout", "lesion", ())
    assert not config.allow_leakage, "leakage was allowed for another division"
    assert resolve(str(recipe), {"folds_file": "/mine.csv", "allow_leakage": True}).allow_leakage
    recipe.write_text("limit_lesions = 30\nrepeats = 2\n")
    config = resolve(str(recipe), {}, ["folds_file=/mine.csv"])
    assert (config.limit_lesions, config.repeats) == (None, 1)
    config = resolve(str(recipe), {"folds_file": "/mine.csv", "protocol": "holdout"})
    assert (config.limit_lesions, config.repeats, config.protocol) == (None, 1, "holdout")


@pytest.mark.parametrize(
    "recipe", ["folds_file = '/theirs.csv'\n", "protocol = 'holdout'\nfolds_file = '/theirs.csv'\n"]
)
def test_leakage_that_was_allowed_for_one_file_of_folds_is_not_allowed_for_another(tmp_path: Path, recipe: str) -> None:
    earlier = tmp_path / "config.toml"
    earlier.write_text(f"{recipe}allow_leakage = true\n")
    assert resolve(str(earlier), {}).allow_leakage
    changed = resolve(str(earlier), {}, ["folds_file=/mine.csv"])
    assert (changed.folds_file, changed.allow_leakage) == ("/mine.csv", False)
    assert not resolve(str(earlier), {"folds_file": "/mine.csv", "protocol": "holdout"}).allow_leakage
    assert resolve(str(earlier), {"folds_file": "/mine.csv"}, ["allow_leakage=true"]).allow_leakage
    assert resolve(str(earlier), {"folds_file": "/theirs.csv"}).allow_leakage, "it is the same file"


def test_allowed_leakage_without_leaking_parts_is_refused_with_its_mend(tmp_path: Path) -> None:
    recipe = tmp_path / "images.toml"
    recipe.write_text("protocol = 'holdout'\nholdout = 'image'\nallow_leakage = true\n")
    with pytest.raises(UsageError, match="--set allow_leakage=false"):
        resolve(str(recipe), {}, ["holdout=lesion"])
    mended = resolve(str(recipe), {}, ["holdout=lesion", "allow_leakage=false"])
    assert (mended.holdout, mended.allow_leakage) == ("lesion", False)


@pytest.mark.parametrize(
    ("recipe", "options", "assignments", "words"),
    [
        ("oversampled-pair", {"protocol": "cv"}, ["split=[80, 10, 10]"], "split goes with protocol holdout only"),
        ("oversampled-pair", {"protocol": "cv"}, ["holdout=image"], "holdout = image goes with protocol holdout only"),
        ("oversampled-pair", {"nested": True}, [], "nested goes with protocol cv only"),
        ("default", {"protocol": "holdout", "repeats": 2}, [], "repeats = 2 goes with protocol cv only"),
        ("default", {"folds_file": "/mine.csv", "stratify": ["sex"]}, [], "stratify has no say"),
    ],
)
def test_what_contradicts_itself_on_the_command_line_is_refused(
    recipe: str, options: dict[str, object], assignments: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        resolve(recipe, options, assignments)


def test_only_digits_name_the_entry_of_a_list() -> None:
    with pytest.raises(UsageError, match=r"training\.phases is a list and has entries 0 to 1"):
        resolve("default", {}, [PHASES, "training.phases.².epochs=1"])
