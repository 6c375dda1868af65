"""The predictor of a run warns of pictures that are nothing like its training images, and lets others of them pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from cv_folds.data.demo import write_demo_set
from ensemble import EnsemblePredictor
from hamcv.sources import open_dataset


def written_page() -> np.ndarray:
    page = Image.new("RGB", (600, 450), "white")
    pen = ImageDraw.Draw(page)
    for line in range(10, 440, 18):
        pen.text((10, line), "the quick brown fox jumps over the lazy dog and runs away from it " * 2, fill="black")
    return np.asarray(page)


@pytest.fixture(scope="module")
def predictor(tiny_run: Path) -> EnsemblePredictor:
    return EnsemblePredictor.load(tiny_run, device="cpu")


def test_photographs_noise_text_and_empty_images_are_warned_of(predictor: EnsemblePredictor) -> None:
    rng = np.random.default_rng(0)
    pagoda, flower = load_sample_images().images
    pictures = {
        "pagoda": pagoda,
        "part of the pagoda": pagoda[100:300, 200:420],
        "flower": flower,
        "part of the flower": flower[100:300, 200:420],
        "noise": rng.integers(256, size=(450, 600, 3), dtype=np.uint8),
        "text": written_page(),
        "black": np.zeros((450, 600, 3), np.uint8),
        "white": np.full((450, 600, 3), 255, np.uint8),
        "the colour of skin": np.full((450, 600, 3), (225, 170, 160), np.uint8),
    }
    warnings = dict(zip(pictures, predictor.explain_each(list(pictures.values())), strict=True))
    unnoticed = [name for name, answer in warnings.items() if "unlike the training" not in (answer.warning or "")]
    assert unnoticed == []


def test_other_lesions_like_those_of_the_training_pass(predictor: EnsemblePredictor, tmp_path: Path) -> None:
    write_demo_set(tmp_path / "others", seed=7, n_lesions=60, n_images=60)
    answers = list(predictor.explain_each(open_dataset(str(tmp_path / "others")).paths))
    far = [answer.warning for answer in answers if answer.warning is not None and "unlike" in answer.warning]
    # A limit from 60 lesions is that of one in 61; nine of 60 beyond it would be one chance in a million.
    assert len(far) < 9


def test_the_limits_are_those_of_the_stated_share(predictor: EnsemblePredictor) -> None:
    rule = predictor.bundle.outliers
    assert rule is not None
    assert rule.distance is not None
    assert rule.spread is not None
    # Sixty lesions cannot promise 1 %.
    assert rule.distance.beyond == pytest.approx(1 / 61)
    assert set(rule.scales) == {(member.backbone, member.fold) for member in predictor.bundle.manifest.members}
