from __future__ import annotations

import pytest
import torch
from torch import nn

from cv_folds.errors import UsageError
from cv_folds.training import backbones
from cv_folds.training.backbones import (
    DEFAULT_BACKBONES,
    backbone_names,
    bfloat16_pays,
    build_backbone,
    check_backbone,
    classifier_layer,
    count_parameters,
    set_batch_norm_momentum,
)

# torchvision reads a number from a tensor while it builds these, which a tensor without values does not have.
NEEDS_VALUES = tuple(name for name in backbone_names() if name.startswith("regnet_"))
ON_META = tuple(name for name in backbone_names() if name not in NEEDS_VALUES)
FIXED_SIZE = {"inception_v3": 299}


@pytest.mark.parametrize("name", ON_META)
def test_every_model_gives_a_logit_for_each_class(name):
    size = FIXED_SIZE.get(name, 224)
    with torch.device("meta"):
        model = build_backbone(name, 7, image_size=size)
        for training in (True, False):
            logits = model.train(training)(torch.empty(2, 3, size, size))
            assert isinstance(logits, torch.Tensor)
            assert logits.shape == (2, 7)
    head = model.get_submodule(classifier_layer(model))
    assert next(head.parameters()).shape[0] == 7


@pytest.mark.parametrize("name", ["regnet_x_400mf", "regnet_y_400mf"])
def test_regnets_give_a_logit_for_each_class(name):
    model = build_backbone(name, 7, image_size=32).eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    assert model.get_submodule(classifier_layer(model)).out_features == 7


@pytest.mark.parametrize("name", ["vit_b_32", "maxvit_t"])
@pytest.mark.parametrize("size", [224, 448])
def test_transformers_size_their_position_tables_by_the_image(name, size):
    with torch.device("meta"):
        model = build_backbone(name, 3, image_size=size)
        assert model(torch.empty(1, 3, size, size)).shape == (1, 3)


@pytest.mark.parametrize(("name", "size"), [("vit_b_16", 100), ("maxvit_t", 100)])
def test_an_image_size_that_a_model_cannot_take(name, size):
    with torch.device("meta"), pytest.raises(UsageError, match=f"(?s){name} .*{size} px.*--image-size"):
        build_backbone(name, 3, image_size=size)


def test_the_defaults_and_the_families_are_there():
    names = backbone_names()
    assert set(DEFAULT_BACKBONES) <= set(names)
    assert list(names) == sorted(set(names))
    # Detection, segmentation and quantised models are no classifiers to be trained.
    assert not [name for name in names if "rcnn" in name or "deeplab" in name or "quantized" in name]


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("resnet5", "resnet50"), ("ResNet50", "resnet50"), ("efficientnet-b0", "efficientnet_b0"), ("vit", "vit_b_16")],
)
def test_an_unknown_name_is_refused_with_near_ones(wrong, near):
    with pytest.raises(UsageError, match=f"--backbones {wrong}: no such backbone.*{near}") as caught:
        check_backbone(wrong)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match=near):
        build_backbone(wrong, 7, image_size=32)


@pytest.mark.parametrize("wrong", ["yolo", "../resnet50", "fasterrcnn_resnet50_fpn", "get_model"])
def test_a_name_like_no_other_is_refused_with_the_defaults(wrong):
    with pytest.raises(UsageError, match=", ".join(DEFAULT_BACKBONES)):
        check_backbone(wrong)


def test_the_seed_decides_the_weights():
    def state(seed):
        torch.manual_seed(seed)
        return build_backbone("squeezenet1_1", 3, image_size=32).state_dict()

    first, again, other = state(0), state(0), state(1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_momentum_reaches_every_batch_normalisation():
    model = build_backbone("mobilenet_v3_small", 3, image_size=32)
    set_batch_norm_momentum(model, 0.25)
    momenta = [module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(momenta) == 34
    assert set(momenta) == {0.25}


def test_frozen_parameters_do_not_count():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    assert count_parameters(model) == 4 * 3 + 3 + 3 * 2 + 2
    model[0].requires_grad_(False)
    assert count_parameters(model) == 3 * 2 + 2


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_only_where_it_was_measured_to_pay(monkeypatch, supported):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert bfloat16_pays("resnet50", torch.device("cpu")) is supported
    assert bfloat16_pays("mobilenet_v3_large", torch.device("cpu")) is False
    assert bfloat16_pays("mobilenet_v3_large", torch.device("cuda")) is supported
    assert bfloat16_pays("resnet50", torch.device("meta")) is False


def test_auxiliary_heads_are_left_out():
    for name in backbones.AUXILIARY_HEADS:
        with torch.device("meta"):
            keys = build_backbone(name, 7, image_size=299).state_dict()
        assert not [key for key in keys if key.startswith(backbones.AUXILIARY_HEADS[name])]
