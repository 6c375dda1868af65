from __future__ import annotations

import http.client
import re
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cv_folds.errors import UsageError
from cv_folds.files import sha256
from cv_folds.training.backbones import build_backbone, classifier_layer
from cv_folds.training.preflight import try_backbone
from cv_folds.training.weights import WeightsFile, find_weights, load_weights, official_file

NAME = "shufflenet_v2_x0_5"
HIDDEN = "mobilenet_v3_small"


@pytest.fixture(autouse=True)
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args, **kwargs):
        raise AssertionError("a test reached for the network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


def network(name: str = NAME, n_classes: int = 5, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_backbone(name, n_classes, image_size=32)


def state(name: str = NAME, n_classes: int = 11, seed: int = 1) -> dict[str, torch.Tensor]:
    return dict(network(name, n_classes, seed).state_dict())


def write(path: Path, tensors: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def loaded(path: Path, name: str = NAME) -> torch.nn.Module:
    model = network(name)
    load_weights(model, WeightsFile(backbone=name, path=path, sha256=sha256(path)))
    return model


def complaint(path: Path, name: str = NAME) -> str:
    model = network(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UsageError) as caught:
        load_weights(model, WeightsFile(backbone=name, path=path, sha256=sha256(path)))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert str(path) in str(caught.value)
    return str(caught.value)


def check_backbone_loaded(model: torch.nn.Module, stored: dict[str, torch.Tensor]) -> None:
    layer, fresh = classifier_layer(model), network().state_dict()
    for key, value in model.state_dict().items():
        if key.startswith(layer):
            assert torch.equal(value, fresh[key]), key
        else:
            torch.testing.assert_close(value, stored[key].to(value.dtype), rtol=0, atol=0)


def test_official_file_in_the_folder_of_torchvision(torch_home):
    address, path = official_file(NAME)
    assert address.startswith("https://download.pytorch.org/models/shufflenetv2_x0.5-")
    assert path.parent == torch_home
    stored = state()
    write(path, stored)
    found = find_weights("imagenet", NAME, download=False)
    assert found == WeightsFile(backbone=NAME, path=path, sha256=sha256(path))
    model = network()
    load_weights(model, found)
    check_backbone_loaded(model, stored)


@pytest.mark.parametrize("file", [f"{NAME}.safetensors", "official"])
def test_a_folder_of_files(tmp_path, file):
    name = official_file(NAME)[1].name if file == "official" else file
    path = write(tmp_path / "mine" / name, state())
    found = find_weights(str(tmp_path / "mine"), NAME, download=True)
    assert found.path == path
    check_backbone_loaded(loaded(path), state())


def test_a_folder_with_both_files_gives_the_one_named_by_the_backbone(tmp_path):
    write(tmp_path / official_file(NAME)[1].name, state(seed=1))
    named = write(tmp_path / f"{NAME}.safetensors", state(seed=2))
    assert find_weights(str(tmp_path), NAME, download=False).path == named


def test_none_is_none_even_where_a_folder_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "none" / f"{NAME}.safetensors", state())
    assert find_weights("none", NAME, download=True) is None


def test_classifier_entries_are_optional(tmp_path):
    stored = {key: value for key, value in state().items() if not key.startswith("fc.")}
    check_backbone_loaded(loaded(write(tmp_path / "x.safetensors", stored)), stored)


def test_a_classifier_of_the_right_size_is_replaced_too(tmp_path):
    stored = state(n_classes=5)
    check_backbone_loaded(loaded(write(tmp_path / "x.pth", stored)), stored)


def test_hidden_classifier_layers_are_loaded_and_only_the_last_is_fresh(tmp_path):
    stored = state(HIDDEN)
    model = loaded(write(tmp_path / "x.safetensors", stored), HIDDEN)
    assert torch.equal(model.state_dict()["classifier.0.weight"], stored["classifier.0.weight"])
    assert torch.equal(model.state_dict()["classifier.3.weight"], network(HIDDEN).state_dict()["classifier.3.weight"])


def test_missing_extra_and_misshaped_entries_are_all_listed(tmp_path):
    stored = state()
    del stored["conv1.0.weight"], stored["conv5.1.bias"]
    stored["conv9.weight"] = torch.zeros(3)
    stored["stage2.0.branch1.0.weight"] = torch.zeros(24, 1, 5, 5)
    message = complaint(write(tmp_path / "x.safetensors", stored))
    assert f"does not fit {NAME}" in message
    assert sorted(message.splitlines()[1:]) == [
        "  extra entry conv9.weight",
        "  missing entry conv1.0.weight",
        "  missing entry conv5.1.bias",
        "  stage2.0.branch1.0.weight has shape (24, 1, 5, 5) instead of (24, 1, 3, 3)",
    ]


def test_the_file_of_another_backbone_does_not_fit(tmp_path):
    assert "does not fit" in complaint(write(tmp_path / "x.safetensors", state("squeezenet1_1")))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_other_precisions_are_cast(tmp_path, dtype, suffix):
    stored = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state().items()}
    model = loaded(write(tmp_path / f"x{suffix}", stored))
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32, torch.int64}
    check_backbone_loaded(model, stored)


def test_files_from_before_batches_were_counted(tmp_path):
    stored = {key: value for key, value in state().items() if not key.endswith("num_batches_tracked")}
    loaded(write(tmp_path / "x.pth", stored))


def test_the_old_names_of_densenets_layers(tmp_path):
    stored = state("densenet121")
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", key): value for key, value in stored.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    model = loaded(write(tmp_path / "x.pth", old), "densenet121")
    assert all(
        torch.equal(value, stored[key])
        for key, value in model.state_dict().items()
        if not key.startswith("classifier.")
    )


def test_auxiliary_heads_in_the_file_are_passed_over(tmp_path):
    stored = state("googlenet") | {"aux1.fc1.weight": torch.zeros(2), "aux2.conv.bn.bias": torch.zeros(2)}
    loaded(write(tmp_path / "x.safetensors", stored), "googlenet")


class Shell:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_inside_a_file_is_refused_and_not_run(tmp_path):
    path = write(tmp_path / "x.pth", {"conv1.0.weight": Shell(tmp_path / "ran")})
    assert "no readable weight file" in complaint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("damage", ["empty", "text", "half"])
def test_a_damaged_file_is_named(tmp_path, suffix, damage):
    path = write(tmp_path / f"x{suffix}", state())
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"<html>404 Not Found</html>", "half": whole[: len(whole) // 2]}[damage])
    assert "no readable weight file" in complaint(path)


def test_random_damage_never_leaves_as_another_error(tmp_path):
    rng = np.random.default_rng(0)
    path = write(tmp_path / "x.pth", {"conv1.0.weight": torch.zeros(2, 2)})
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for _ in range(100):
        damaged = whole.copy()
        damaged[rng.integers(0, len(damaged), 5)] = rng.integers(0, 256, 5)
        path.write_bytes(damaged.tobytes())
        complaint(path)


@pytest.mark.parametrize(
    "content", [{"state_dict": {"a": torch.zeros(1)}, "epoch": 3}, [torch.zeros(1)], {0: torch.zeros(1)}]
)
def test_a_file_of_something_else_is_named(tmp_path, content):
    assert "no state dict" in complaint(write(tmp_path / "x.pth", content))


def test_a_folder_without_the_file_names_both_that_would_do(tmp_path):
    with pytest.raises(UsageError) as caught:
        find_weights(str(tmp_path), NAME, download=True)
    for part in (str(tmp_path), f"{NAME}.safetensors", official_file(NAME)[1].name):
        assert part in str(caught.value)


@pytest.mark.parametrize("weights", ["imagnet", "/no/such/folder"])
def test_an_unknown_source_is_taken_for_a_folder_that_is_not_there(weights):
    with pytest.raises(UsageError, match=rf"--weights {weights}: no such folder; give imagenet, none or a folder"):
        find_weights(weights, NAME, download=True)


def test_an_unknown_backbone_is_refused_first():
    with pytest.raises(UsageError, match="no such backbone"):
        find_weights("none", "resnet5", download=False)


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("Name or service not known"),
        urllib.error.HTTPError("https://x", 403, "Forbidden", None, None),  # type: ignore[arg-type]
        ConnectionResetError("reset by peer"),
        TimeoutError("timed out"),
        PermissionError(13, "Permission denied"),
        RuntimeError('invalid hash value (expected "f707e7126e", got "00")'),
        http.client.IncompleteRead(b"abc", 10),
        None,
    ],
)
def test_weights_that_cannot_be_had_name_file_folder_and_alternatives(torch_home, monkeypatch, error):
    def fail(address, path, hash_prefix, progress):
        assert (hash_prefix, progress) == ("f707e7126e", False)
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(UsageError) as caught:
        find_weights("imagenet", NAME, download=error is not None)
    assert caught.value.exit_code == 2
    address, path = official_file(NAME)
    for part in (NAME, path.name, str(torch_home), address, "--weights none", "--weights FOLDER"):
        assert part in str(caught.value)
    assert ("not downloaded yet" if error is None else "download failed: ") in str(caught.value)


def test_a_download_is_used(torch_home, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda address, path, **_: write(Path(path), state()))
    found = find_weights("imagenet", NAME, download=True)
    assert found.path == official_file(NAME)[1]
    assert found.sha256 == sha256(found.path)


def test_layers_of_the_classifier_that_a_file_lacks_are_told(tmp_path):
    name = "mobilenet_v3_small"
    stored = {key: value for key, value in state(name).items() if not key.startswith("classifier.")}
    assert stored
    path = write(tmp_path / f"{name}.safetensors", stored)
    weights = WeightsFile(backbone=name, path=path, sha256=sha256(path))
    assert load_weights(network(name), weights) == ("classifier.0",)
    (note,) = try_backbone(name, 7, image_size=32, weights=weights)
    assert note == f"{path} lacks classifier.0 of {name}: 39% of its weights start from random values"
    write(path, state(name))
    assert load_weights(network(name), weights) == ()
    assert try_backbone(name, 7, image_size=32, weights=weights) == ()
