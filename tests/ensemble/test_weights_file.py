from __future__ import annotations

import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from cv_folds.errors import DataError
from cv_folds.files import sha256
from ensemble.weights_file import check_weights_file, read_weights


def tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "layer.0.weight": torch.randn(5, 3, 3, 3, generator=generator),
        "layer.0.half": torch.randn(7, generator=generator).half(),
        "layer.num_batches_tracked": torch.tensor(41),
        "empty": torch.zeros(0, 4),
        "double": torch.randn(2, 2, generator=generator).double(),
    }


def write(path: Path, header: object, content: bytes = b"") -> None:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_it_reads_what_safetensors_reads(tmp_path, seed, metadata):
    path = tmp_path / "w.safetensors"
    save_file(tensors(seed), path, metadata=metadata)
    check_weights_file(path)
    found, expected = read_weights(path, sha256(path)), load_file(path)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


def test_every_flipped_bit_is_found(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.arange(3.0)}, path)
    digest, whole = sha256(path), path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=re.escape(str(path))):
            read_weights(path, digest)


def test_a_cut_or_longer_file_is_found(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(tensors(0), path)
    whole = path.read_bytes()
    for content in (b"", whole[:7], whole[:50], whole[:-1], whole + b"\0"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=re.escape(str(path))):
            check_weights_file(path)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "n_bytes"),
    [
        (b"{", 0), (b"[]", 0), (b"3", 0), (b"\xff\xfe", 0), ({"a": 1}, 0), ({"a": {}}, 0),
        ({"a": ENTRY | {"dtype": "O"}}, 8), ({"a": ENTRY | {"shape": [3]}}, 8), ({"a": ENTRY | {"shape": [-2]}}, 8),
        ({"a": ENTRY | {"data_offsets": [4, 12]}}, 12), ({"a": ENTRY | {"data_offsets": [8, 0]}}, 8),
        ({"a": ENTRY, "b": ENTRY}, 16), ({"a": ENTRY}, 12), ({"../a": ENTRY}, 8), ({"a\nb": ENTRY}, 8),
        ({"": ENTRY}, 8), (b"[" * 100_000, 0), ({"a": ENTRY | {"shape": [float("inf")]}}, 8),
        ({"a": {"dtype": "F32", "shape": [2**62, 2**62, 0], "data_offsets": [0, 0]}}, 0),
        ({"cos\nsystem\n(S'id'\ntR.": ENTRY}, 8),
    ],
)  # fmt: skip
def test_malformed_headers_are_refused(tmp_path, header, n_bytes):
    path = tmp_path / "w.safetensors"
    write(path, header, bytes(n_bytes))
    with pytest.raises(DataError, match=re.escape(str(path))):
        check_weights_file(path)


def test_random_damage_of_the_header_never_leaves_as_another_error(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(tensors(0), path)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    length = 8 + int.from_bytes(whole[:8].tobytes(), "little")
    rng, accepted, refused = np.random.default_rng(0), 0, 0
    for _ in range(300):
        damaged = whole.copy()
        damaged[rng.integers(0, length, 2)] = rng.integers(32, 127, 2)
        path.write_bytes(damaged.tobytes())
        try:
            check_weights_file(path)
        except DataError:
            refused += 1
            continue
        accepted += 1
        with safetensors.safe_open(path, "pt"):
            pass
    assert accepted < refused


def test_pickles_and_archives_under_the_suffix_are_called_so(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(pickle.dumps({"weight": [1.0]}))
    with pytest.raises(DataError, match=r"w\.safetensors is no safetensors file but looks like a pickle"):
        check_weights_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(1))
    with pytest.raises(DataError, match=r"w\.safetensors .*zip archive"):
        check_weights_file(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(DataError, match=r"w\.safetensors .*zip archive"):
        check_weights_file(path)
