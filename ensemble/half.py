"""Weights with half their digits: half the bytes of a bundle."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from ensemble.weights_file import read_weights

_LARGEST = torch.finfo(torch.float16).max


def halve_weights(source: Path, digest: str, target: Path) -> None:
    """Write the weights of a network as float16.

    Parameters
    ----------
    source : Path
        A safetensors file.
    digest : str
        What its SHA-256 must be.
    target : Path
        The file to write.

    Notes
    -----
    Filters and matrices are rounded, which hold nearly all bytes. Vectors stay as they are: the variances of batch
    normalisation have a wide range and scale whole channels. So does a matrix with a value beyond float16's range.
    """
    save_file({name: _halved(tensor) for name, tensor in read_weights(source, digest).items()}, target)


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    # A value that is no number fails the comparison, and stays what it is.
    fits = tensor.dtype == torch.float32 and tensor.ndim > 1 and bool((tensor.abs() <= _LARGEST).all())
    return tensor.half() if fits else tensor
