"""``python -m hamcv``."""

from hamcv.cli import main

main()
