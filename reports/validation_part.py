"""What the images that a network is validated on after every epoch were for, in words."""

from __future__ import annotations

from cv_folds.training.settings import TrainingSettings


def purpose(settings: TrainingSettings) -> str:
    """Return what a training's validation images served: ``to choose the epoch``, for one.

    Parameters
    ----------
    settings : TrainingSettings
        How each network was trained.
    """
    if settings.monitor != "last":
        return "to choose the epoch"
    # No epoch is chosen, but the average is still validated beside the last weights, and the better ones are kept.
    return "to watch the training" + (
        " and to choose between the last and the averaged weights" if settings.ema_decay else ""
    )


def chooses_weights(settings: TrainingSettings) -> bool:
    """Tell whether the weights that are kept depend on the validation images.

    Parameters
    ----------
    settings : TrainingSettings
        How each network was trained.
    """
    return settings.monitor != "last" or settings.ema_decay > 0
