"""Combining out-of-fold predictions, and the predictor that comes of it."""
