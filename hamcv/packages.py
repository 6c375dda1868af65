"""Noticing that another project, or a file beside a notebook, took the name of one of our packages.

``ensemble`` and ``reports`` are common names: other distributions install modules of these names, and a user's own
``ensemble.py`` in the current folder comes first on the path.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

OURS = ("cv_folds", "ensemble", "reports")


def refuse_strangers() -> None:
    """Raise `ImportError`, in one line, when a package of ours would be imported from elsewhere."""
    home = Path(__file__).resolve().parent.parent
    for name in OURS:
        spec = find_spec(name)
        origin = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if origin is None or origin.parent.parent != home or not (origin.parent / "py.typed").is_file():
            raise ImportError(
                f"hamcv needs its own package {name!r} but Python finds {origin or 'none'}; rename that file, or "
                "uninstall the other project and reinstall hamcv in a fresh environment"
            )
