"""Grad-CAM: it points where the answer comes from, changes nothing, and says when a network has no maps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cv_folds.errors import UsageError
from cv_folds.training.backbones import build_backbone
from ensemble.attribution import FEWEST_PLACES, Stage, find_stage, grad_cam


class RedSpots(nn.Module):
    """Class 1 is the amount of red in the image, class 0 that of blue; in-place layers as in torchvision's networks."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 2, 4, stride=4, bias=False), nn.ReLU(inplace=True))
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            weight = torch.zeros(2, 3, 4, 4)
            weight[0, 2], weight[1, 0] = 1 / 16, 1 / 16
            self.features[0].weight.copy_(weight)
            self.head.weight.copy_(torch.eye(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(torch.relu_(self.features(images)).mean(dim=(2, 3)))
        return answer


@pytest.fixture
def spots() -> RedSpots:
    return RedSpots().eval().requires_grad_(False)


def spotted(row: int, column: int, channel: int) -> torch.Tensor:
    """Return one image of 32 by 32 pixels that is black but for one 4 by 4 patch."""
    image = torch.zeros(1, 3, 32, 32)
    image[0, channel, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1
    return image


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 6), (7, 2), (5, 5)])
def test_the_map_peaks_where_the_answer_comes_from(spots: RedSpots, row: int, column: int) -> None:
    stage = find_stage(spots, "spots", image_size=32)
    assert stage == Stage(path="features", side=8)
    images = torch.cat([spotted(row, column, 0), spotted(row, column, 2)])
    maps = grad_cam(spots, images, torch.tensor([1, 0]), stage)
    expected = torch.zeros(8, 8)
    expected[row, column] = 1
    assert torch.equal(maps, expected.expand(2, 8, 8))


def test_a_place_counts_by_how_much_it_speaks_for_the_class(spots: RedSpots) -> None:
    image = spotted(1, 1, 0) + 0.25 * spotted(6, 3, 0) + spotted(4, 4, 2)
    (found,) = grad_cam(spots, image, torch.tensor([1]), Stage(path="features", side=8))
    assert found[1, 1] == 1
    assert found[6, 3] == pytest.approx(0.25)
    # Blue speaks for the other class only.
    assert found[4, 4] == 0


def test_nothing_speaks_for_a_class_without_evidence(spots: RedSpots) -> None:
    maps = grad_cam(spots, spotted(2, 2, 2), torch.tensor([1]), Stage(path="features", side=8))
    assert torch.equal(maps, torch.zeros(1, 8, 8))


def test_what_speaks_against_a_class_is_left_out(spots: RedSpots) -> None:
    spots.head.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 1.0]]))
    maps = grad_cam(spots, spotted(2, 2, 2) + spotted(0, 7, 0), torch.tensor([1]), Stage(path="features", side=8))
    assert maps[0, 2, 2] == 0
    assert maps[0, 0, 7] == 1


def test_gradients_are_those_of_autograd() -> None:
    """The weights of the maps are the mean gradients of the logit, computed here in another way."""
    torch.manual_seed(5)
    model = build_backbone("resnet18", 4, image_size=64).eval()
    images = torch.randn(2, 3, 64, 64)
    trunk = nn.Sequential(*list(model.children())[:-3])
    maps = trunk(images).detach().requires_grad_(True)
    logits = model.fc(torch.flatten(model.avgpool(model.layer4(maps)), 1))
    (gradients,) = torch.autograd.grad(logits[0, 3] + logits[1, 1], maps)
    expected = (gradients.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).clamp(min=0).detach()
    expected = expected / expected.amax(dim=(1, 2), keepdim=True)
    found = grad_cam(model, images, torch.tensor([3, 1]), Stage(path="layer3", side=4))
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("mobilenet_v3_small", "features"),
        ("resnet50", "layer4"),
        ("efficientnet_b0", "features"),
        ("convnext_tiny", "features"),
        ("densenet121", "features"),
        ("swin_t", "permute"),
    ],
)
def test_the_last_stage_of_real_networks_explains(name: str, path: str) -> None:
    torch.manual_seed(0)
    model = build_backbone(name, 3, image_size=128).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    stage = find_stage(model, name, image_size=128)
    assert stage == Stage(path=path, side=4)
    images = torch.randn(2, 3, 128, 128)
    maps = grad_cam(model, images, torch.tensor([2, 0]), stage)
    assert maps.shape == (2, 4, 4)
    assert maps.amin() >= 0
    assert maps.amax() == 1
    assert torch.equal(maps, grad_cam(model, images, torch.tensor([2, 0]), stage))
    # Another image beside it changes nothing but rounding.
    assert torch.allclose(maps[1:], grad_cam(model, images[1:], torch.tensor([0]), stage), atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "resnet18", "efficientnet_b0", "swin_t"])
def test_small_images_are_explained_by_an_earlier_stage(name: str) -> None:
    stage = find_stage(build_backbone(name, 3, image_size=40).eval(), name, image_size=40)
    assert stage.side == 5 >= FEWEST_PLACES


def test_a_network_of_tokens_is_named() -> None:
    model = build_backbone("vit_b_32", 3, image_size=64).eval()
    with pytest.raises(UsageError, match=r"vit_b_32 .*works on tokens.*Grad-CAM cannot"):
        find_stage(model, "vit_b_32", image_size=64)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_network_that_keeps_no_places_apart_is_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 32), nn.Flatten(), nn.Linear(4, 2)).eval()
    with pytest.raises(UsageError, match="flat has no maps"):
        find_stage(model, "flat", image_size=32)
