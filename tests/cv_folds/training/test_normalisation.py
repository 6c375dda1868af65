"""Means and deviations of the training images: measured exactly, and from nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cv_folds_samples import coloured_pixels, job_spec, small_folds
from safetensors.torch import load_file

from cv_folds.arrays import ByteArray
from cv_folds.out_of_fold import FoldLogits
from cv_folds.splits import inner_split
from cv_folds.training.backbones import build_backbone
from cv_folds.training.job_spec import JobSpec
from cv_folds.training.jobs import run_job
from cv_folds.training.normalisation import choose_normalisation, measure_normalisation
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.predict import predict_logits
from cv_folds.training.record import read_record
from cv_folds.training.settings import TrainingSettings
from cv_folds.training.store import ResidentPixels
from cv_folds.training.view import ImageView

SETTINGS = TrainingSettings(image_size=32, epochs=1, batch_size=16, normalisation="data")


def view_of(pixels: ByteArray, rows: list[int] | None = None) -> ImageView:
    positions = torch.tensor(range(len(pixels)) if rows is None else rows)
    return ImageView(ResidentPixels(torch.from_numpy(pixels)), positions, torch.zeros(len(positions)))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_that_of_numpy(seed):
    rng = np.random.default_rng(seed)
    centre, spread = rng.integers(40, 200, 3), rng.integers(1, 60, 3)
    pixels = np.clip(rng.normal(centre, spread, (70, 20, 20, 3)), 0, 255).astype(np.uint8)
    measured = measure_normalisation(view_of(pixels))
    np.testing.assert_allclose(measured.mean, (pixels / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(measured.std, (pixels / 255).std(axis=(0, 1, 2)), rtol=1e-10)


def test_the_order_of_the_images_does_not_matter_to_the_last_bit():
    pixels = coloured_pixels(small_folds())
    order = np.random.default_rng(0).permutation(len(pixels)).tolist()
    assert measure_normalisation(view_of(pixels)) == measure_normalisation(view_of(pixels, order))


def test_a_channel_without_any_contrast_can_be_divided_by_its_deviation():
    measured = measure_normalisation(view_of(np.full((2, 16, 16, 3), 255, dtype=np.uint8)))
    assert measured.mean == (1.0, 1.0, 1.0)
    assert measured.std == (1 / 255,) * 3


def test_imagenets_is_the_default():
    pixels = coloured_pixels(small_folds())
    assert choose_normalisation(TrainingSettings(), view_of(pixels)) is IMAGENET
    assert choose_normalisation(SETTINGS, view_of(pixels)) == measure_normalisation(view_of(pixels))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> JobSpec:
    torch.set_num_threads(1)
    spec = job_spec(tmp_path_factory.mktemp("done"), settings=SETTINGS)
    run_job(spec)
    return spec


def test_a_job_measures_the_images_that_its_weights_are_fitted_on(done):
    record = read_record(done.folder)
    assert record is not None
    train = inner_split(done.folds, done.fold, parts=SETTINGS.validation_parts, seed=done.seed).train
    assert record.normalisation == measure_normalisation(view_of(np.load(done.pixels)[train]))


@pytest.mark.parametrize("part", ["held out", "validation", "train"])
def test_only_the_training_images_have_a_say(done, tmp_path, part):
    split = inner_split(done.folds, done.fold, parts=SETTINGS.validation_parts, seed=done.seed)
    held_out = np.flatnonzero(done.folds.folds == done.fold)
    rows = {"held out": held_out, "validation": split.validation, "train": split.train}[part]
    pixels = np.load(done.pixels)
    pixels[rows] = np.random.default_rng(0).integers(0, 256, pixels[rows].shape)
    np.save(tmp_path / "pixels.npy", pixels)
    changed = run_job(replace(done, run=tmp_path / "run", pixels=tmp_path / "pixels.npy"))
    before = read_record(done.folder)
    assert before is not None
    assert (changed.normalisation == before.normalisation) is (part != "train")
    if part == "held out":
        assert changed.files["model.safetensors"] == before.files["model.safetensors"]


def test_held_out_images_are_normalised_alike(done):
    part, record = FoldLogits.load(done.folder / "oof.npz"), read_record(done.folder)
    assert record is not None
    assert record.normalisation is not None
    model = build_backbone(done.backbone, 3, image_size=32)
    model.load_state_dict(load_file(done.folder / "model.safetensors"))
    view = view_of(np.load(done.pixels)[done.folds.folds == done.fold])
    expected = predict_logits(model, view, batch_size=30, normalisation=record.normalisation)
    np.testing.assert_allclose(part.logits, expected, rtol=1e-4, atol=1e-5)
    # After one epoch all logits are nearly the same; rounding still is far from what another normalisation does.
    other = predict_logits(model, view, batch_size=30, normalisation=IMAGENET)
    assert abs(part.logits - other.numpy()).max() > 10 * abs(part.logits - expected.numpy()).max()


def test_the_record_says_nothing_of_imagenets(tmp_path):
    spec = job_spec(tmp_path, settings=SETTINGS.model_copy(update={"normalisation": "imagenet"}))
    assert run_job(spec).normalisation is None
    assert "normalisation" not in (spec.folder / "job.json").read_text()
