"""Readers: every layout that users have, into the one dataset type."""

from cv_folds.data.readers.registry import AUTO, FORMATS, READERS, read_dataset

__all__ = ["AUTO", "FORMATS", "READERS", "read_dataset"]
