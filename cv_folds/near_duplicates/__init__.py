"""Finding images that show one lesion under different lesion ids."""
