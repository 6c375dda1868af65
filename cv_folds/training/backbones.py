"""Any classification model of torchvision, or of timm, by name, with a fresh head for the classes at hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
import torchvision
from torch import nn

from cv_folds.errors import UsageError
from cv_folds.training.backbone_names import DEFAULT_BACKBONES, is_timm
from cv_folds.training.timm_backbones import build_timm, check_timm, head_of

# Auxiliary heads exist to train these from scratch on ImageNet; they are classifiers too.
AUXILIARY_HEADS = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}

# Models whose position tables depend on the image size, and how their constructors call it.
_SIZE_ARGUMENTS: dict[str, Callable[[int], object]] = {
    "image_size": lambda size: size,
    "input_size": lambda size: (size, size),
}


def backbone_names() -> tuple[str, ...]:
    """Return the names of all torchvision classification models, sorted."""
    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return tuple(sorted(names))


def check_backbone(name: str) -> None:
    """Raise `UsageError`, with near names, when there is no such backbone here."""
    if is_timm(name):
        check_timm(name)
        return
    names = backbone_names()
    if name not in names:
        stem = name.lower().replace("-", "_")
        close = [other for other in names if other.startswith(stem[:6])] or list(DEFAULT_BACKBONES)
        raise UsageError(
            f"--backbones {name}: no such backbone. Near it: {', '.join(close[:12])}. "
            f"All classification models of torchvision can be used ({len(names)} names), and timm:NAME."
        )


def build_backbone(name: str, n_classes: int, *, image_size: int) -> nn.Module:
    """Make a classification model with random weights and a head for `n_classes`.

    Parameters
    ----------
    name : str
        A name of `backbone_names`, or ``timm:NAME``.
    n_classes : int
        Number of logits.
    image_size : int
        Side of the input images in pixels; transformers size their position tables by it.

    Returns
    -------
    torch.nn.Module
        Takes (n, 3, image_size, image_size) float32, returns (n, n_classes) logits. Random numbers come from
        torch's global generator, as in every torch constructor.

    Raises
    ------
    UsageError
        When the name is unknown or the model cannot take this image size.
    """
    if is_timm(name):
        return build_timm(name, n_classes, image_size=image_size)
    check_backbone(name)
    builder = torchvision.models.get_model_builder(name)
    arguments: dict[str, object] = {"num_classes": n_classes}
    for argument, convert in _SIZE_ARGUMENTS.items():
        if argument in _model_arguments(name):
            arguments[argument] = convert(image_size)
    if name in AUXILIARY_HEADS:
        # Their ImageNet weights expect another normalisation, to which `transform_input` converts. They warn when
        # `init_weights` is not given.
        arguments |= {"aux_logits": False, "init_weights": True, "transform_input": True}
    try:
        model: nn.Module = builder(weights=None, **arguments)
    except (ValueError, AssertionError) as error:
        raise UsageError(f"{name} cannot be built for {image_size} px images: {error}; change --image-size") from error
    return model


def classifier_layer(model: nn.Module) -> str:
    """Return the path of the layer that gives the logits, e.g. ``classifier.3``."""
    if (head := head_of(model)) is not None:
        return next(str(path) for path, module in model.named_modules() if module is head)
    layers = [path for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return str(layers[-1])


def n_outputs(model: nn.Module) -> int:
    """Return how many logits a network gives."""
    return len(next(model.get_submodule(classifier_layer(model)).parameters()))


def set_batch_norm_momentum(model: nn.Module, momentum: float) -> None:
    """Set how fast the running statistics of every batch normalisation follow."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = momentum


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def bfloat16_pays(name: str, device: torch.device) -> bool:
    """Tell whether bfloat16 autocast is the faster arithmetic for a backbone.

    On a CPU with bfloat16 instructions it was measured to double the speed of ResNets, whose time goes into dense
    convolutions, and to halve that of MobileNets and EfficientNets, whose time goes into depthwise ones.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not name.startswith(("resnet", "resnext", "wide_resnet")):
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _model_arguments(name: str) -> set[str]:
    """Return the keyword arguments that reach the model's constructor through torchvision's builder."""
    if name.startswith("vit_"):
        return set(inspect.signature(torchvision.models.VisionTransformer.__init__).parameters)
    if name.startswith("maxvit"):
        return set(inspect.signature(torchvision.models.MaxVit.__init__).parameters)
    return set()
