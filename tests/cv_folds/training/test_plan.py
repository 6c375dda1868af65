from __future__ import annotations

import pytest
import torch

from cv_folds.training.plan import EpochPlan, draw_plan, size_of_epoch
from cv_folds.training.resampling import epoch_size
from cv_folds.training.settings import AugmentationSettings, TrainingSettings

# Three classes of 40, 15 and 5 images.
LABELS = torch.tensor([0] * 40 + [1] * 15 + [2] * 5)
RESAMPLINGS = ["weighted", "over", "under", "none"]


def plan(seed: int = 0, **settings: object) -> EpochPlan:
    generator = torch.Generator().manual_seed(seed)
    return draw_plan(LABELS, TrainingSettings(**settings), generator)  # type: ignore[arg-type]


def numbers(drawn: EpochPlan) -> list[object]:
    mixes = [None if mix is None else (mix.order.tolist(), mix.share, mix.box) for mix in drawn.mixes]
    return [drawn.positions.tolist(), [value.tolist() for value in drawn.parameters.tensors().values()], mixes]


@pytest.mark.parametrize("resampling", RESAMPLINGS)
@pytest.mark.parametrize("batch_size", [2, 7, 15, 16, 60, 1000])
def test_an_epoch_is_as_many_whole_batches_as_its_images_give(resampling, batch_size):
    settings = TrainingSettings(batch_size=batch_size, resampling=resampling)
    images, size = epoch_size(LABELS, settings), size_of_epoch(LABELS, settings)
    assert images == {"weighted": 60, "over": 120, "under": 15, "none": 60}[resampling]
    assert size.batch_size == min(batch_size, images)
    assert size.steps == max(1, images // batch_size)
    assert size.images <= images < size.images + size.batch_size
    drawn = plan(batch_size=batch_size, resampling=resampling)
    assert drawn.positions.shape == (size.steps, size.batch_size)
    assert drawn.positions.dtype == torch.int64
    assert drawn.positions.min() >= 0
    assert drawn.positions.max() < len(LABELS)
    assert len(drawn.mixes) == size.steps
    for value in drawn.parameters.tensors().values():
        assert (value.shape, value.dtype) == ((size.images,), torch.float32)


def test_without_resampling_each_image_is_shown_at_most_once():
    shown = plan(resampling="none", batch_size=16).positions.flatten()
    assert len(shown) == 48 == len(torch.unique(shown))
    assert not torch.equal(shown, shown.sort().values)


@pytest.mark.parametrize("resampling", ["over", "under"])
def test_balanced_epochs_show_every_class_alike(resampling):
    shown = plan(resampling=resampling, batch_size=15).positions
    assert len(set(torch.bincount(LABELS[shown.flatten()]).tolist())) == 1
    # In random order, not class by class.
    assert all(len(torch.unique(LABELS[batch])) > 1 for batch in shown)


@pytest.mark.parametrize("settings", [{}, {"mixup": 0.4}, {"cutmix": 0.4}, {"mixup": 0.4, "cutmix": 0.4}])
@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_the_generator_decides_everything(settings, resampling):
    settings = settings | {"batch_size": 5, "resampling": resampling}
    torch.manual_seed(0)
    first = numbers(plan(1, **settings))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert numbers(plan(1, **settings)) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert numbers(plan(2, **settings)) != first


@pytest.mark.parametrize("resampling", RESAMPLINGS)
def test_an_epoch_can_be_drawn_again_from_where_the_generator_stood(resampling):
    settings = TrainingSettings(batch_size=5, resampling=resampling, mixup=0.4, cutmix=0.4)
    generator = torch.Generator().manual_seed(0)
    draw_plan(LABELS, settings, generator)
    start = generator.get_state()
    second, after = draw_plan(LABELS, settings, generator), generator.get_state()
    again = torch.Generator()
    again.set_state(start)
    assert numbers(draw_plan(LABELS, settings, again)) == numbers(second)
    assert torch.equal(again.get_state(), after)
    assert not torch.equal(start, after)


def test_epochs_differ():
    generator = torch.Generator().manual_seed(0)
    settings = TrainingSettings(batch_size=5, mixup=0.4)
    first, second = (numbers(draw_plan(LABELS, settings, generator)) for _ in range(2))
    assert all(one != two for one, two in zip(first, second, strict=True))


def test_images_that_are_drawn_do_not_depend_on_how_they_are_changed():
    plain, stronger = plan(), plan(augmentation=AugmentationSettings(rotation=10, zoom=0.5), mixup=0.4)
    assert torch.equal(plain.positions, stronger.positions)
    assert torch.equal(plain.parameters.flip_x, stronger.parameters.flip_x)


def test_batches_are_mixed_only_where_it_is_asked_for():
    assert set(plan(batch_size=5).mixes) == {None}
    mixes = plan(batch_size=5, mixup=0.4, cutmix=0.4, image_size=32).mixes
    assert all(mix is not None and sorted(mix.order.tolist()) == list(range(5)) for mix in mixes)
    assert len({mix.share for mix in mixes if mix is not None}) == len(mixes)
    boxes = [mix.box for mix in plan(batch_size=5, cutmix=0.4, image_size=32).mixes if mix is not None]
    assert max(edge for box in boxes if box is not None for edge in box) <= 32


def test_parameters_of_a_batch_are_a_slice_of_the_epochs():
    parameters = plan(batch_size=5).parameters
    rows = parameters.rows(slice(10, 15))
    for name, value in rows.tensors().items():
        assert torch.equal(value, getattr(parameters, name)[10:15])
    moved = parameters.to(torch.device("cpu"))
    assert all(torch.equal(value, getattr(parameters, name)) for name, value in moved.tensors().items())
