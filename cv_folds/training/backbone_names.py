"""What names of backbones say: where they come from, and what their files are called."""

from __future__ import annotations

import re

from cv_folds.errors import UsageError

DEFAULT_BACKBONES = ("mobilenet_v3_large", "resnet50", "efficientnet_b0")

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


def check_backbone_name(name: str) -> None:
    """Raise `UsageError` when no backbone can have this name.

    Does without timm, and for the usual backbones without torch: what reads a finished run need not have them.
    """
    if is_timm(name):
        check_timm_name(name)
    elif name not in DEFAULT_BACKBONES:
        from cv_folds.training.backbones import check_backbone

        check_backbone(name)


def file_stem(backbone: str) -> str:
    """Return a backbone's name as part of a file name: with ``-`` for the colon, which not every system takes."""
    return backbone.replace(":", "-")
