"""A generated stand-in for HAM10000, so that everything can be tried without the download.

The pictures are drawn from random numbers alone. They have HAM10000's layout, classes, imbalance and repeated
photographs of one lesion; they say nothing about patients.
"""

from cv_folds.data.demo.writing import DEMO_LESION_PREFIX, DEMO_VERSION, demo_folder, write_demo_set

__all__ = ["DEMO_LESION_PREFIX", "DEMO_VERSION", "demo_folder", "write_demo_set"]
