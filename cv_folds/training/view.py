"""Some images with their labels, and no way to the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from cv_folds.training.store import PixelStore


class ImageView:
    """Some rows of the decoded pixels with their labels; the other rows cannot be reached through it.

    Parameters
    ----------
    store : PixelStore
        All decoded images.
    rows : (n,) int64 tensor
        The rows that this view shows, on the CPU.
    labels : (n,) int64 tensor
        Their classes, on the CPU.
    """

    def __init__(self, store: PixelStore, rows: torch.Tensor, labels: torch.Tensor) -> None:
        assert len(rows) == len(labels)
        self._store = store
        self._rows = rows
        self.labels = labels
        self.device = store.device

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, positions: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the (m, size, size, 3) uint8 images at each (m,) tensor of positions of this view."""
        return self._store.batches([self._rows[batch] for batch in positions])

    def pixels(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the (m, size, size, 3) uint8 images at (m,) positions of this view."""
        return next(self.batches([positions]))
