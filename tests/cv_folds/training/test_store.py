from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from cv_folds.data.pixel_file import PixelFile
from cv_folds.training import store
from cv_folds.training.pixels import IMAGENET
from cv_folds.training.predict import predict_logits
from cv_folds.training.store import PixelStore, ResidentPixels, StreamedPixels, open_store
from cv_folds.training.view import ImageView

CPU = torch.device("cpu")
N, SIZE = 50, 6


def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (N, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)


def rows(sizes: list[int], seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(N, (size,), generator=generator) for size in sizes]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> PixelFile:
    path = tmp_path_factory.mktemp("store") / "pixels.npy"
    np.save(path, pixels().numpy())
    return PixelFile(path)


@pytest.fixture(scope="module")
def stores(file) -> tuple[PixelStore, PixelStore]:
    return ResidentPixels(pixels()), StreamedPixels(file, CPU)


def pixel_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("pixels")]


SIZES = [
    [1],
    [7],
    [4, 4],
    [5] * store._BATCHES_AHEAD,
    [5] * (store._BATCHES_AHEAD + 1),
    [3] * 40,
    [8, 8, 8, 8, 8, 3],
    [2, 9, 1, 4, 16, 1, 1, 12],
    [5, 0, 3],
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_store_gives_the_images_that_were_asked_for(stores, sizes):
    wanted = rows(sizes)
    for kept in stores:
        batches = list(kept.batches(wanted))
        assert len(batches) == len(wanted)
        for batch, which in zip(batches, wanted, strict=True):
            assert batch.device == kept.device
            assert batch.dtype == torch.uint8
            assert torch.equal(batch, pixels()[which])
    assert pixel_threads() == []


def test_no_batches_are_no_work(stores):
    for kept in stores:
        assert list(kept.batches([])) == []
    assert pixel_threads() == []


@pytest.mark.parametrize("taken", [0, 1, 3, 11])
def test_a_reader_that_leaves_early_leaves_no_thread_behind(file, taken):
    wanted = rows([6] * 12)
    batches = StreamedPixels(file, CPU).batches(wanted)
    for which in wanted[:taken]:
        assert torch.equal(next(batches), pixels()[which])
    batches.close()  # type: ignore[attr-defined]
    assert pixel_threads() == []


def test_a_row_that_is_not_there_is_an_error_and_ends_the_threads(stores):
    wanted = rows([4] * 9)
    wanted[5] = torch.tensor([0, N])
    for kept in stores:
        with pytest.raises(IndexError):
            list(kept.batches(wanted))
    assert pixel_threads() == []


@pytest.mark.parametrize("pause", [0.0, 0.003])
def test_what_was_given_is_not_overwritten(file, pause):
    wanted = rows([4] * 30)
    given = []
    for batch in StreamedPixels(file, CPU).batches(wanted):
        # Meanwhile the threads fill all the buffers that they may fill.
        time.sleep(pause)
        given.append(batch)
    assert all(torch.equal(batch, pixels()[which]) for batch, which in zip(given, wanted, strict=True))


def test_a_buffer_is_filled_again_only_after_the_device_has_read_it(file, monkeypatch):
    """A device that reads as late as it may: when somebody waits for it."""
    late = []

    class LateCopy:
        def __init__(self, source: torch.Tensor) -> None:
            self.source, self.target, self.done = source, torch.zeros_like(source), False
            self.lock = threading.Lock()

        def synchronize(self) -> None:
            with self.lock:
                if not self.done:
                    self.target.copy_(self.source)
                    self.done = True

    def send(slot: store._Slot, filled: torch.Tensor) -> torch.Tensor:
        copy = LateCopy(filled)
        late.append(copy)
        slot._copied = copy  # type: ignore[assignment]
        return copy.target

    monkeypatch.setattr(store._Slot, "send", send)
    wanted = rows([4, 9, 2, 7] * 8)
    given = list(StreamedPixels(file, CPU).batches(wanted))
    for copy in late:
        copy.synchronize()
    assert all(torch.equal(batch, pixels()[which]) for batch, which in zip(given, wanted, strict=True))


def test_no_more_batches_are_gathered_ahead_than_there_are_buffers(file, monkeypatch):
    gathered = 0
    gather = store._Slot.gather

    def counting(slot, source, which):
        nonlocal gathered
        gathered += 1
        return gather(slot, source, which)

    monkeypatch.setattr(store._Slot, "gather", counting)
    batches = StreamedPixels(file, CPU).batches(rows([3] * 20))
    next(batches)
    end = time.monotonic() + 60
    while gathered < store._BATCHES_AHEAD:
        assert time.monotonic() < end
        time.sleep(0.001)
    # Whoever would gather more has the time to.
    time.sleep(0.05)
    assert gathered == store._BATCHES_AHEAD
    batches.close()  # type: ignore[attr-defined]


def test_predictions_do_not_depend_on_the_store(stores):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    positions = torch.arange(0, N, 2)
    resident, streamed = (
        predict_logits(
            model, ImageView(kept, positions, torch.zeros(len(positions))), batch_size=3, normalisation=IMAGENET
        )
        for kept in stores
    )
    assert torch.equal(resident, streamed)


def test_on_a_cpu_images_are_read_from_the_file(tmp_path):
    np.save(tmp_path / "pixels.npy", pixels().numpy())
    kept = open_store(tmp_path / "pixels.npy", CPU)
    assert isinstance(kept, StreamedPixels)
    which = rows([5])
    assert torch.equal(next(iter(kept.batches(which))), pixels()[which[0]])


def test_all_images_can_be_sent_to_a_device_in_parts(file, monkeypatch):
    monkeypatch.setattr(store, "_UPLOADED_AT_A_TIME", 7)
    assert torch.equal(store._upload(file, CPU), pixels())


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("as if"), RuntimeError("CUDA error: out of memory")])
def test_images_for_which_a_gpu_has_no_room_after_all_are_streamed(error, tmp_path, monkeypatch):
    np.save(tmp_path / "pixels.npy", pixels().numpy())
    monkeypatch.setattr(store, "_uploaded", {})
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (10**9, 10**9))

    def upload(*_):
        raise error

    monkeypatch.setattr(store, "_upload", upload)
    monkeypatch.setattr(store, "StreamedPixels", lambda *_: "streamed")
    assert open_store(tmp_path / "pixels.npy", torch.device("cuda")) == "streamed"
    error = ValueError("another")
    with pytest.raises(ValueError, match="another"):
        open_store(tmp_path / "pixels.npy", torch.device("cuda"))
    assert store._uploaded == {}
