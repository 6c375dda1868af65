"""Data, folds, training and out-of-fold predictions of skin-lesion classifiers."""
