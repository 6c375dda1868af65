from __future__ import annotations

import pytest
import torch
from torch import nn

from cv_folds.training.backbones import build_backbone, classifier_layer
from cv_folds.training.freezing import choose_trained, layers_of, set_training_mode
from cv_folds.training.settings import PhaseSettings

BACKBONES = ("mobilenet_v3_small", "resnet18", "squeezenet1_1", "vit_b_32")


def phase(**changed: object) -> PhaseSettings:
    return PhaseSettings.model_validate({"epochs": 1, "learning_rate": 0.1} | changed)


def network(name: str) -> nn.Module:
    with torch.device("meta"):
        return build_backbone(name, 3, image_size=64)


def trained_names(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


@pytest.mark.parametrize("name", BACKBONES)
def test_the_head_is_the_layer_that_gives_the_logits(name):
    model = network(name)
    choose_trained(model, phase(trained="head"))
    layer = classifier_layer(model)
    assert trained_names(model) == [f"{layer}.weight", f"{layer}.bias"]


@pytest.mark.parametrize("name", BACKBONES)
def test_a_share_counts_layers_from_the_output(name):
    model = network(name)
    every = [key for key, _ in model.named_parameters()]
    sizes = []
    for share in (0.001, 0.25, 0.5, 0.75, 0.999):
        choose_trained(model, phase(trained=share))
        names = trained_names(model)
        # The last ones, without a gap.
        assert names == every[-len(names) :]
        layers = [layer for layer in layers_of(model) if next(layer.parameters(recurse=False)).requires_grad]
        assert len(layers) == max(1, round(share * len(layers_of(model))))
        sizes.append(len(names))
    assert sizes == sorted(sizes)
    assert sizes[0] == 2
    assert sizes[-1] == len(every)


def test_layers_are_modules_with_parameters_of_their_own():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Sequential(nn.Linear(4, 4), nn.Dropout())
    )
    assert layers_of(model) == [model[0], model[1], model[3][0]]


def test_each_phase_chooses_anew():
    model = network("resnet18")
    choose_trained(model, phase(trained="head", batch_norm="frozen"))
    choose_trained(model, phase())
    assert len(trained_names(model)) == len(list(model.parameters()))


@pytest.mark.parametrize("trained", ["all", 0.75])
def test_frozen_batch_normalisation_keeps_its_scale_and_mode(trained):
    model = network("resnet18")
    frozen = phase(trained=trained, batch_norm="frozen")
    choose_trained(model, frozen)
    set_training_mode(model, frozen)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 20
    assert not any(parameter.requires_grad for norm in norms for parameter in norm.parameters())
    assert not any(norm.training for norm in norms)
    assert model.training
    assert model.layer4[1].conv2.weight.requires_grad
    assert model.layer4[1].conv2.training
    set_training_mode(model, phase())
    assert all(norm.training for norm in norms)
