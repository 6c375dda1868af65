"""Which training images an epoch shows, and how often: the answer to unbalanced classes."""

from __future__ import annotations

import numpy as np
import torch

from cv_folds.training.settings import TrainingSettings


def class_weights(labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return the (n_classes,) float32 weights n / (classes present x class size); 0 for an absent class."""
    counts = torch.bincount(labels, minlength=n_classes).float()
    present = (counts > 0).sum()
    return torch.where(counts > 0, len(labels) / (present * counts.clamp(min=1)), 0.0)


def aimed_weights(labels: torch.Tensor, n_classes: int, settings: TrainingSettings) -> torch.Tensor:
    """Return the (n_classes,) float32 weights that give validation images the class shares that training shows.

    A network is judged at the prevalence that it was trained for: at another one it would have to be corrected first.
    """
    return class_weights(labels, n_classes) ** settings.balancing_power


def epoch_size(labels: torch.Tensor, settings: TrainingSettings) -> int:
    """Return how many images an epoch shows before it is cut to whole batches."""
    counts = torch.bincount(labels)
    counts = counts[counts > 0]
    match settings.resampling:
        case "over":
            return int(counts.max()) * len(counts)
        case "under":
            return int(counts.min()) * len(counts)
        case _:
            return len(labels)


def draw_epoch(labels: torch.Tensor, settings: TrainingSettings, generator: torch.Generator) -> torch.Tensor:
    """Draw the images of one epoch, in random order.

    Parameters
    ----------
    labels : (n,) int64 tensor
        Classes of the training images, on the CPU.
    settings : TrainingSettings
        Names the kind of resampling.
    generator : torch.Generator
        A CPU generator.

    Returns
    -------
    (`epoch_size`,) int64 tensor
        Positions in `labels`.
    """
    if settings.resampling == "weighted":
        # The weights of a WeightedRandomSampler, drawn as it draws them: with replacement.
        weights = torch.bincount(labels).clamp(min=1).double() ** -settings.resampling_exponent
        return torch.multinomial(weights[labels], len(labels), replacement=True, generator=generator)
    if settings.resampling == "none":
        return torch.randperm(len(labels), generator=generator)
    # Imported where it is used: in a process that does not use it, it would only take memory.
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    sampler = {"over": RandomOverSampler, "under": RandomUnderSampler}[settings.resampling](random_state=seed)
    sampler.fit_resample(np.arange(len(labels))[:, None], labels.numpy())
    drawn = torch.from_numpy(np.asarray(sampler.sample_indices_, dtype=np.int64))
    return drawn[torch.randperm(len(drawn), generator=generator)]
