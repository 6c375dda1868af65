"""The command line: it composes `cv_folds`, `ensemble` and `reports`."""
