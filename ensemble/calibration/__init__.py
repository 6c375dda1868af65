"""Calibration: maps from probabilities to probabilities that agree better with frequencies."""
