"""What names of backbones say: where they come from, and what their files are called. Nothing here needs torch."""

from __future__ import annotations

import re

from cv_folds.errors import UsageError

TIMM = "timm:"
"""How names of backbones of the package timm begin: ``timm:NAME`` or ``timm:NAME.TAG``."""

_TIMM_NAME = re.compile(r"timm:\w+(\.\w+)?")


def is_timm(backbone: str) -> bool:
    """Tell whether a backbone is one of timm's."""
    return backbone.startswith(TIMM)


def check_timm_name(backbone: str) -> None:
    """Raise `UsageError` when a name cannot be one of timm's."""
    if not _TIMM_NAME.fullmatch(backbone):
        raise UsageError(f"--backbones {backbone}: write timm:NAME or timm:NAME.TAG, such as timm:tf_efficientnetv2_b0")


def file_stem(backbone: str) -> str:
    """Return a backbone's name as part of a file name: with ``-`` for the colon, which not every system takes."""
    return backbone.replace(":", "-")
