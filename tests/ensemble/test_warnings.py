"""Distances and warnings of a bundle, from its files to the answer about an image."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ensemble_samples import BACKBONES, CLASSES, N_FOLDS, SIZE, tiny_backbone
from PIL import Image
from safetensors.torch import load_file

from cv_folds.errors import DataError
from cv_folds.images import to_pixels
from cv_folds.training.appearance import appearance_of
from cv_folds.training.features import FeatureStatistics, estimate_statistics
from cv_folds.training.pixels import IMAGENET, normalise
from ensemble.bundle import read_bundle
from ensemble.outliers import Limit, LogScale, MemberScales, OutlierRule
from ensemble.predictor import EnsemblePredictor
from ensemble.stored_outliers import GaugeFiles

RULE = OutlierRule(
    scales={
        (backbone, fold): MemberScales(
            features=LogScale(mean=0.1 * fold - 0.05, deviation=0.2 + 0.1 * column),
            appearance=LogScale(mean=-0.05 * column, deviation=0.3),
        )
        for column, backbone in enumerate(BACKBONES)
        for fold in range(N_FOLDS)
    },
    distance=Limit(value=4.0, beyond=0.01),
    spread=Limit(value=10.0, beyond=0.01),
)


def photographs(seed: int, n: int) -> np.ndarray:
    """Soft shades of one colour, unlike noise."""
    rng = np.random.default_rng(seed)
    shades = np.linspace(0, 1, SIZE)[:, None] * rng.random((n, 1, SIZE)) * 60 + 120
    return (shades[..., None] + rng.random((n, 1, 1, 3)) * 60).astype(np.uint8)


def pixels_of(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([to_pixels(Image.fromarray(image), SIZE) for image in images]))


def features_of(bundle: Path, backbone: str, fold: int, images: np.ndarray) -> torch.Tensor:
    network = tiny_backbone(backbone, len(CLASSES), image_size=SIZE)
    network.load_state_dict(load_file(bundle / f"{backbone}-fold-{fold}.safetensors"))
    with torch.inference_mode():
        return network.eval()[:-1](normalise(pixels_of(images), IMAGENET))


@pytest.fixture
def gauge_files(bundle: Path, tmp_path: Path) -> dict:
    """The distributions of every member's features, and of appearance, over the same images."""
    files = {}
    images = photographs(0, 80)
    for backbone, fold in RULE.scales:
        features, appearance = tmp_path / f"{backbone}-{fold}-f", tmp_path / f"{backbone}-{fold}-a"
        estimate_statistics(features_of(bundle, backbone, fold, images)).save(features)
        estimate_statistics(appearance_of(pixels_of(images))).save(appearance)
        files[backbone, fold] = GaugeFiles(features=features, appearance=appearance)
    return files


@pytest.fixture
def warning_bundle(make_bundle: Callable[..., Path], tmp_path: Path, gauge_files: dict[tuple[str, int], Path]) -> Path:
    return make_bundle(tmp_path / "warns", outliers=RULE, gauge_files=gauge_files)


def test_the_distance_is_the_mean_over_all_members(warning_bundle, gauge_files):
    images = photographs(1, 5)
    predictor = EnsemblePredictor.load(warning_bundle, device="cpu")
    looks = appearance_of(pixels_of(images))
    told = [answer.distance for answer in predictor.explain_each(images)]
    by_hand = []
    for (backbone, fold), scales in RULE.scales.items():
        files, features = gauge_files[backbone, fold], features_of(warning_bundle, backbone, fold, images)
        pairs = ((files.features, features, scales.features), (files.appearance, looks, scales.appearance))
        by_hand.append(
            [
                (np.log(FeatureStatistics.from_bytes(file.read_bytes(), "x").distances(values).numpy()) - scale.mean)
                / scale.deviation
                for file, values, scale in pairs
            ]
        )
    np.testing.assert_allclose(told, np.mean(by_hand, axis=0).max(axis=0), rtol=1e-3)
    # A distance does not depend on the images beside it, and turned views are none of the images it is known for.
    assert predictor.explain(images[3]).distance == told[3]
    turned = EnsemblePredictor.load(warning_bundle, device="cpu", views=3)
    assert [answer.distance for answer in turned.explain_each(images)] == told


def test_what_is_unlike_the_training_images_is_warned_of(warning_bundle):
    predictor = EnsemblePredictor.load(warning_bundle, device="cpu")
    assert [answer.warning for answer in predictor.explain_each(photographs(2, 20))] == [None] * 20
    noise = np.random.default_rng(0).integers(256, size=(3, SIZE, SIZE, 3), dtype=np.uint8)
    others = [*noise, np.zeros((30, 40, 3), np.uint8), np.full((30, 40, 3), 255, np.uint8)]
    for answer in predictor.explain_each(others):
        assert answer.warning is not None
        assert answer.warning.startswith(f"unlike the training images (distance {answer.distance:.3g}, 99 % of")


@pytest.mark.usefixtures("bundle")
def test_members_that_disagree_are_warned_of(make_bundle, tmp_path):
    rule = OutlierRule(scales={}, distance=None, spread=Limit(value=1e-9, beyond=0.02))
    answer = EnsemblePredictor.load(make_bundle(tmp_path / "b", outliers=rule), device="cpu").explain(
        photographs(1, 1)[0]
    )
    assert answer.distance is None
    assert answer.warning is not None
    assert answer.warning.startswith("the members disagree (spread ")
    assert answer.warning.endswith("98 % of training lesions are below 1e-09)")


def test_without_features_no_distance_is_known(bundle):
    answer = EnsemblePredictor.load(bundle, device="cpu").explain(np.zeros((30, 40, 3), np.uint8))
    assert (answer.distance, answer.warning) == (None, None)
    assert answer.spread == answer.mutual_information


def test_the_rule_comes_back_from_the_bundle(warning_bundle, bundle):
    assert read_bundle(warning_bundle).outliers == RULE
    assert read_bundle(bundle).outliers is None


def test_damaged_missing_and_exchanged_files_are_named(warning_bundle):
    predictor = EnsemblePredictor.load(warning_bundle, device="cpu")
    file = warning_bundle / f"{BACKBONES[1]}-fold-1-features.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.unlink()
    with pytest.raises(DataError, match=r"features\.safetensors cannot be read any more"):
        predictor.explain(photographs(0, 1)[0])
    with pytest.raises(DataError, match=r"features\.safetensors is missing"):
        read_bundle(warning_bundle)
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"features\.safetensors was changed"):
        predictor.explain(photographs(0, 1)[0])
    with pytest.raises(DataError, match=r"features\.safetensors is damaged"):
        read_bundle(warning_bundle)


def test_missing_statistics_are_named_before_a_bundle_is_written(make_bundle, tmp_path, gauge_files):
    lost = {key: replace(files, appearance=tmp_path / "nowhere") for key, files in gauge_files.items()}
    with pytest.raises(DataError, match="nowhere, the appearances of tiny_wide, fold 0, is missing"):
        make_bundle(tmp_path / "b", outliers=RULE, gauge_files=lost)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("outliers", "distance"), None, "all members or none need gauges"),
        (("members", 0, "gauges"), None, "all members or none need gauges"),
        (("members", 0, "gauges", "features", "file"), "../x.safetensors", "leads out of the folder"),
        (("members", 0, "gauges", "features", "file"), "manifest.json", "no safetensors file"),
        (("members", 0, "gauges", "appearance", "deviation"), 0.0, r"members\.0\.gauges\.appearance\.deviation"),
        (("outliers", "spread", "beyond"), 1.5, r"outliers\.spread\.beyond"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(warning_bundle, path, value, complaint):
    content = json.loads((warning_bundle / "manifest.json").read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (warning_bundle / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=complaint):
        read_bundle(warning_bundle)


def test_statistics_of_another_network_are_refused(make_bundle, tmp_path, gauge_files):
    exchanged = {
        (backbone, fold): gauge_files[other, fold]
        for backbone, other in zip(BACKBONES, BACKBONES[::-1], strict=True)
        for fold in range(N_FOLDS)
    }
    bundle = make_bundle(tmp_path / "b", outliers=RULE, gauge_files=exchanged)
    with pytest.raises(DataError, match="its network has other features than"):
        EnsemblePredictor.load(bundle, device="cpu").explain(photographs(0, 1)[0])
