from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cv_folds.errors import DataError
from cv_folds.files import sha256
from ensemble.bundle import read_bundle
from ensemble.half import halve_weights
from ensemble.predictor import EnsemblePredictor
from ensemble.repacking import made_up_pictures, repack


def test_matrices_are_rounded_and_vectors_and_counters_are_not(tmp_path):
    generator = torch.Generator().manual_seed(0)
    weights = {
        "filters": torch.randn((4, 3, 3, 3), generator=generator),
        "matrix": torch.randn((4, 5), generator=generator),
        "bias": torch.randn(7, generator=generator),
        "variance": torch.tensor([1e-9, 1e9]),
        "count": torch.tensor(12345678901),
        "huge": torch.tensor([[1e5, 1.0]]),
        "lost": torch.tensor([[float("nan"), 1.0]]),
    }
    save_file(weights, tmp_path / "full")
    halve_weights(tmp_path / "full", sha256(tmp_path / "full"), tmp_path / "half")
    found = load_file(tmp_path / "half")
    halved = {name for name, tensor in found.items() if tensor.dtype == torch.float16}
    assert halved == {"filters", "matrix"}
    for name in halved:
        # Half a unit in the last of 11 binary digits.
        torch.testing.assert_close(found[name].float(), weights[name], rtol=2**-11, atol=1e-7)
    for name in weights.keys() - halved:
        assert found[name].dtype == weights[name].dtype
        torch.testing.assert_close(found[name], weights[name], rtol=0, atol=0, equal_nan=True)


def test_a_changed_file_is_not_halved(tmp_path):
    save_file({"matrix": torch.ones((2, 2))}, tmp_path / "full")
    with pytest.raises(DataError, match="was changed"):
        halve_weights(tmp_path / "full", "0" * 64, tmp_path / "half")
    assert not (tmp_path / "half").exists()


def test_a_half_bundle_computes_with_the_rounded_weights_in_float32(bundle, make_bundle, tmp_path):
    small = repack(read_bundle(bundle), tmp_path / "small", half=True)
    pictures = list(made_up_pictures(np.random.default_rng(3), 4))
    logits = EnsemblePredictor(small, torch.device("cpu")).member_logits(pictures)
    full = EnsemblePredictor.load(bundle, device="cpu").member_logits(pictures)
    assert 0 < abs(logits - full).max() < 0.02 * abs(full).max()
    rounded = {}
    for member in small.manifest.members:
        stored = load_file(small.path(member))
        rounded[member.backbone, member.fold] = tmp_path / member.file
        save_file(
            {name: x.float() if x.dtype == torch.float16 else x for name, x in stored.items()}, tmp_path / member.file
        )
    by_hand = EnsemblePredictor.load(make_bundle(tmp_path / "rounded", member_files=rounded), device="cpu")
    np.testing.assert_array_equal(logits, by_hand.member_logits(pictures))


def test_the_stated_difference_is_that_of_the_probabilities(bundle, tmp_path):
    half = repack(read_bundle(bundle), tmp_path / "small", half=True).manifest.half
    pictures = list(made_up_pictures(np.random.default_rng(0), half.pictures))
    full, small = (EnsemblePredictor.load(folder, device="cpu") for folder in (bundle, tmp_path / "small"))
    assert half.largest_difference == abs(full.predict_proba(pictures) - small.predict_proba(pictures)).max() > 0
