"""Writing a bundle as one ONNX file, and comparing what it says with the predictor."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cv_folds.errors import DataError, UsageError
from ensemble.bundle import Bundle
from ensemble.manifest_parts import Member
from ensemble.networks import load_network
from ensemble.onnx.graph import EnsembleGraph
from ensemble.predictor import EnsemblePredictor

INPUT, OUTPUT = "images", "probabilities"

TOLERANCE = 1e-4
"""Largest difference between a probability of the file and of the predictor."""

OPSET = 18

_EXTRA = ("onnx", "onnxscript", "onnxruntime")

_MOST_BYTES = 2**31 - 2**20
"""A protobuf message ends at 2 GiB; larger weights go into a file beside."""


@dataclass(frozen=True, kw_only=True)
class WrittenOnnx:
    """An ONNX file that was compared with the predictor."""

    files: tuple[Path, ...]
    """The model, and the file of its weights when they do not fit into it."""
    largest_difference: float
    """Between a probability of the file, by onnxruntime, and of the predictor, on random images."""


def refuse_without_onnx() -> None:
    """Raise `UsageError` when the extra is not installed."""
    if missing := [name for name in _EXTRA if find_spec(name) is None]:
        raise UsageError(f"--onnx needs {', '.join(missing)}; install them with: pip install 'hamcv[onnx]'")


def write_onnx(bundle: Bundle, path: Path) -> WrittenOnnx:
    """Write all of a bundle but decoding and resizing into one ONNX file.

    Parameters
    ----------
    bundle : Bundle
        A verified bundle.
    path : Path
        The file; appears when it is complete. Its input ``images`` is (n, 3, size, size) uint8, RGB, its output
        ``probabilities`` (n, n_classes) float32. The names of the classes and the size are in its metadata.

    Returns
    -------
    WrittenOnnx

    Raises
    ------
    UsageError
        When the extra ``hamcv[onnx]`` is not installed.
    DataError
        When a probability differs from the predictor's by more than `TOLERANCE`.
    """
    refuse_without_onnx()
    graph = _graph_of(bundle)
    outside = sum(value.nbytes for value in graph.state_dict().values()) > _MOST_BYTES
    with _quiet():
        program = _export(graph, bundle)
        del graph
    program.model.metadata_props.update(_metadata(bundle))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".onnx-") as folder:
        # Under its own name: the model notes that of the file of weights beside it.
        partial = Path(folder, path.name)
        program.save(partial, external_data=outside)
        difference = _largest_difference(bundle, partial)
        if not difference <= TOLERANCE:
            raise DataError(f"{path}: differs from the predictor by {difference:.2g}, more than {TOLERANCE:.0e}")
        files = tuple(file.replace(path.parent / file.name) for file in sorted(Path(folder).iterdir()))
    return WrittenOnnx(files=files, largest_difference=difference)


def _graph_of(bundle: Bundle) -> EnsembleGraph:
    manifest = bundle.manifest

    def network(member: Member) -> nn.Module:
        loaded = load_network(
            bundle.path(member),
            manifest.files[member.file],
            backbone=member.backbone,
            n_classes=len(manifest.classes),
            image_size=manifest.preprocessing.image_size,
        )
        return loaded.to(memory_format=torch.contiguous_format)

    members = [
        [manifest.member(backbone, fold) for backbone in manifest.combiner.backbones]
        for fold in range(manifest.n_folds)
    ]
    networks = [[network(member) for member in of_fold] for of_fold in members]
    normalisations = [[manifest.normalisation(member) for member in of_fold] for of_fold in members]
    return EnsembleGraph(networks, bundle.model, normalisations).eval()


def _export(graph: EnsembleGraph, bundle: Bundle) -> Any:
    size = bundle.manifest.preprocessing.image_size
    return torch.onnx.export(
        graph,
        (torch.zeros((2, 3, size, size), dtype=torch.uint8),),
        dynamo=True,
        verbose=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={INPUT: {0: torch.export.Dim("n", min=1)}},
    )


def _metadata(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    return {
        "classes": json.dumps(manifest.classes),
        "image_size": str(manifest.preprocessing.image_size),
        "decoder": manifest.preprocessing.decoder,
        "combiner": manifest.combiner.name,
        "training_data": manifest.training_data.model_dump_json(),
        "hamcv_version": manifest.hamcv_version,
    }


def _largest_difference(bundle: Bundle, path: Path) -> float:
    import onnxruntime  # An extra.

    size = bundle.manifest.preprocessing.image_size
    images = np.random.default_rng(0).integers(256, size=(3, size, size, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run([OUTPUT], {INPUT: np.ascontiguousarray(images.transpose(0, 3, 1, 2))})[0]
    expected = EnsemblePredictor(bundle, torch.device("cpu")).predict_proba(images)
    return float(abs(found - expected).max())


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter warns of: its own plans for its own arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
