"""From one bundle to another: with half the digits, with the whole ensemble as ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cv_folds.arrays import ByteArray
from cv_folds.files import sha256
from ensemble.bundle import Bundle, read_bundle
from ensemble.bundle_folder import CARD, add_file, seal, staged
from ensemble.half import halve_weights
from ensemble.manifest import Manifest
from ensemble.manifest_parts import StoredHalf, StoredOnnx
from ensemble.onnx.writing import refuse_without_onnx, write_onnx
from ensemble.predictor import EnsemblePredictor

ONNX_FILE = "ensemble.onnx"

PICTURES = 8
"""On which rounded weights are compared with full ones: each takes two passes of every member."""


def repack(bundle: Bundle, folder: Path, *, half: bool = False, onnx: bool = False) -> Bundle:
    """Write a bundle again, elsewhere.

    Parameters
    ----------
    bundle : Bundle
        A verified bundle; it stays as it is. An ONNX file in it is left behind.
    folder : Path
        Replaced when it is a bundle.
    half : bool
        Store the weights as float16. Predictions are computed in float32 all the same; how much they differ is
        measured and recorded.
    onnx : bool
        Add one ONNX file of the whole ensemble, with the weights of the new bundle.

    Returns
    -------
    Bundle

    Raises
    ------
    UsageError
        When `folder` is something else, or the extra ``hamcv[onnx]`` is not installed.
    DataError
        When a file of the bundle was changed, or the ONNX file says something else than the predictor.
    """
    if onnx:
        refuse_without_onnx()
    # Half of a half is the same, and its difference is known.
    rounded = half and bundle.manifest.half is None
    with staged(folder) as partial:
        manifest = seal(partial, _copied(bundle, partial, half=rounded))
        if rounded:
            manifest = seal(partial, manifest.model_copy(update={"half": _compared(bundle, read_bundle(partial))}))
        if onnx:
            seal(partial, _with_onnx(read_bundle(partial)))
    return read_bundle(folder)


def _copied(bundle: Bundle, folder: Path, *, half: bool) -> Manifest:
    """Fill a folder and return its manifest, the model card left out."""
    old = bundle.manifest
    weights = {member.file for member in old.members}
    onnx = () if old.onnx is None else _onnx_files(old.onnx.file)
    files = {}
    for name, digest in old.files.items():
        if name == CARD or name in onnx:
            continue
        if half and name in weights:
            halve_weights(bundle.folder / name, digest, folder / name)
            files[name] = sha256(folder / name)
        else:
            add_file(bundle.folder / name, folder / name, "a file of the bundle")
            files[name] = digest
    return old.model_copy(update={"files": files, "onnx": None})


def _onnx_files(name: str) -> tuple[str, str]:
    """Return the names of an ONNX file and of that of its weights, where they do not fit into it."""
    return name, f"{name}.data"


def _with_onnx(bundle: Bundle) -> Manifest:
    """Write the ONNX file and return the manifest with it."""
    written = write_onnx(bundle, bundle.folder / ONNX_FILE)
    files = bundle.manifest.files | {file.name: sha256(file) for file in written.files}
    stored = StoredOnnx(file=ONNX_FILE, largest_difference=written.largest_difference)
    return bundle.manifest.model_copy(update={"onnx": stored, "files": files})


def _compared(full: Bundle, half: Bundle) -> StoredHalf:
    pictures = list(made_up_pictures(np.random.default_rng(0), PICTURES))
    before, after = (EnsemblePredictor(bundle, torch.device("cpu")).predict_proba(pictures) for bundle in (full, half))
    return StoredHalf(largest_difference=float(abs(before - after).max()), pictures=PICTURES)


def made_up_pictures(generator: np.random.Generator, count: int) -> Iterator[ByteArray]:
    """Yield (450, 600, 3) pictures of smooth colours with a little noise."""
    for _ in range(count):
        patches = Image.fromarray(generator.integers(256, size=(9, 12, 3), dtype=np.uint8))
        smooth = np.asarray(patches.resize((600, 450)), dtype=np.float32)
        yield (smooth + generator.normal(scale=4, size=smooth.shape)).clip(0, 255).astype(np.uint8)
