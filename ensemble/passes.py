"""The forward passes of all members over a stream of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from cv_folds.arrays import ByteArray, FloatArray
from cv_folds.errors import DataError
from cv_folds.scheduling.threads import cpu_cores
from ensemble.ahead import ahead, single_threaded
from ensemble.members import Members, Outputs, Prepared
from ensemble.views import Views

BATCH = {"cpu": 1, "cuda": 32}
"""Images a pass by type of device, always filled up with blanks.

On a CPU, four at a time took 15 % less time each than one (the default backbones at 224 pixels, one thread). But then
a call with one image would take three times as long, or its answer would depend on what else is in the call.
"""

MOST_THREADS = 16
"""Threads that compute on a CPU, each with the memory of one pass."""

Read: TypeAlias = ByteArray | DataError
"""The (size, size, 3) pixels of an image, or why there are none."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the members say about some images in a row."""

    logits: FloatArray
    """(batch, n_views, n_folds, n_backbones, n_classes), always of one shape; the last rows may be blanks."""
    distances: FloatArray | None
    """(batch, n_folds * n_backbones, 2) from the training images of each member, in the order of `Members.ordered`, in
    features and in appearance; None when the bundle does not tell."""
    errors: tuple[DataError | None, ...]
    """For every image in its order: why it could not be read, or None when the next row of `logits` is its own."""

    @property
    def n_read(self) -> int:
        """How many of the first rows are images."""
        return self.errors.count(None)


def passes(members: Members, images: Iterable[Read], views: Views) -> Iterator[Batch]:
    """Yield the outputs of all members, batch by batch, in the order of the images.

    On a CPU every member is a task of its own, for threads that compute alone; on a CUDA device one thread launches
    them all while the caller works on the batch before.

    Parameters
    ----------
    members : Members
        The networks.
    images : iterable of (size, size, 3) uint8 array or DataError
        Taken as needed, so that memory stays bounded.
    views : Views
        What the members see of each.
    """
    numbers = range(len(members.ordered))
    if members.device.type == "cpu":
        workers = min(torch.get_num_threads(), cpu_cores(), MOST_THREADS)
        parts: list[Sequence[int]] = [[number] for number in numbers]
        # Enough tasks for all threads while the caller takes a result.
        window = 1 + -(-workers // len(parts))
    else:
        workers, parts, window = 1, [numbers], 2
    pool = single_threaded(workers)

    def start(batch: Sequence[Read]) -> Callable[[], Batch]:
        return _start(members, batch, views, parts, pool)

    try:
        yield from ahead(start, _batches(images, BATCH[members.device.type]), window=window)
    finally:
        pool.shutdown(cancel_futures=True)


def _batches(images: Iterable[Read], size: int) -> Iterator[list[Read]]:
    """Yield runs of images of which `size` could be read, the last one fewer; an image that could not is no row."""
    batch: list[Read] = []
    rows = 0
    for image in images:
        batch.append(image)
        rows += not isinstance(image, DataError)
        if rows == size:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _start(
    members: Members, batch: Sequence[Read], views: Views, parts: Sequence[Sequence[int]], pool: ThreadPoolExecutor
) -> Callable[[], Batch]:
    size = members.image_size
    # numpy's, since this thread is the caller's: operators of torch would wake its helpers.
    pixels = np.zeros((BATCH[members.device.type], size, size, 3), dtype=np.uint8)
    for row, image in enumerate(image for image in batch if not isinstance(image, DataError)):
        pixels[row] = image
    prepared = pool.submit(members.prepare, torch.from_numpy(pixels), views)

    def run(part: Sequence[int], prepared: Future[Prepared]) -> Outputs:
        # Submitted before and taken in order: never waited for by all threads.
        return members.outputs(part, prepared.result())

    waiting = [pool.submit(run, part, prepared) for part in parts]
    errors = tuple(image if isinstance(image, DataError) else None for image in batch)

    def wait() -> Batch:
        outputs = [output.result() for output in waiting]
        logits = torch.cat([output.logits for output in outputs], dim=2).double()
        n, n_views, _, n_classes = logits.shape
        rows: FloatArray = logits.numpy().reshape(n, n_views, members.n_folds, -1, n_classes)
        distances = [output.distances for output in outputs if output.distances is not None]
        return Batch(logits=rows, distances=torch.cat(distances, dim=1).numpy() if distances else None, errors=errors)

    return wait
