from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cv_folds.files import sha256
from cv_folds.training.backbones import build_backbone
from cv_folds.training.state_dict import load_tensors
from cv_folds.training.weights import WeightsFile, load_weights
from ensemble.networks import load_network

# Its modules ask for the version of the network that the tensors come from.
VERSIONED = "mnasnet0_5"


def network(seed: int, name: str = VERSIONED) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_backbone(name, 3, image_size=32)


@pytest.mark.parametrize("name", [VERSIONED, "mobilenet_v3_small"])
def test_plain_tensors_are_loaded(name):
    source, target = network(0, name), network(1, name)
    load_tensors(target, dict(source.state_dict()))
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value)


def test_a_missing_entry_is_an_error_unless_allowed():
    tensors = dict(network(0).state_dict())
    del tensors["layers.0.weight"]
    with pytest.raises(RuntimeError, match=r"layers\.0\.weight"):
        load_tensors(network(1), tensors)
    load_tensors(network(1), tensors, strict=False)


def test_a_weights_file_without_versions_starts_a_training(tmp_path: Path):
    path = tmp_path / f"{VERSIONED}.safetensors"
    source, target = network(0), network(1)
    save_file(dict(source.state_dict()), path)
    load_weights(target, WeightsFile(backbone=VERSIONED, path=path, sha256=sha256(path)))
    assert torch.equal(target.state_dict()["layers.0.weight"], load_file(path)["layers.0.weight"])


def test_a_member_of_a_bundle_without_versions_is_read(tmp_path: Path):
    path = tmp_path / "member.safetensors"
    source = network(0).eval()
    save_file(dict(source.state_dict()), path)
    member = load_network(path, sha256(path), backbone=VERSIONED, n_classes=3, image_size=32)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(member(images), source(images), rtol=1e-3, atol=1e-4)
