"""The command line: it composes `cv_folds`, `ensemble` and `reports`."""

from importlib.metadata import version

__version__ = version("hamcv")
