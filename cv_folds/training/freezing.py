"""Which layers of a network a phase of its training changes."""

from __future__ import annotations

from torch import nn

from cv_folds.training.backbones import classifier_layer
from cv_folds.training.settings import PhaseSettings


def choose_trained(model: nn.Module, phase: PhaseSettings) -> None:
    """Let gradients reach the layers that a phase trains, and no others.

    Parameters
    ----------
    model : torch.nn.Module
        Every parameter is changed in `requires_grad`.
    phase : PhaseSettings
        Which layers, and whether batch normalisation is frozen.
    """
    head = model.get_submodule(classifier_layer(model))
    model.requires_grad_(False)
    match phase.trained:
        case "all":
            model.requires_grad_(True)
        case "head":
            head.requires_grad_(True)
        case share:
            layers = layers_of(model)
            for layer in layers[len(layers) - round(share * len(layers)) :]:
                for parameter in layer.parameters(recurse=False):
                    parameter.requires_grad_(True)
            head.requires_grad_(True)
    if phase.batch_norm == "frozen":
        for layer in _batch_norms(model):
            layer.requires_grad_(False)


def set_training_mode(model: nn.Module, phase: PhaseSettings) -> None:
    """Put a network into training mode; frozen batch normalisation stays in evaluation mode."""
    model.train()
    if phase.batch_norm == "frozen":
        for layer in _batch_norms(model):
            layer.eval()


def layers_of(model: nn.Module) -> list[nn.Module]:
    """Return the modules that hold parameters of their own, in the order in which the network defines them."""
    return [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]


def _batch_norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
