"""What the search for near-duplicates does: the choice of the user, and the constants that were measured."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator


class AuditSettings(BaseModel):
    """What is looked for before lesions are divided into folds, and what a person decided about it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    near_duplicates: bool = True
    """Search for images of one lesion under different lesion ids and keep confirmed ones in one fold."""
    accept: str | None = None
    """CSV file with pairs of images that show one lesion."""
    reject: str | None = None
    """CSV file with pairs of images that do not."""

    @field_validator("accept", "reject")
    @classmethod
    def _absolute_file(cls, path: str | None) -> str | None:
        return None if path is None else str(Path(path).expanduser().absolute())


class SearchSettings(BaseModel):
    """Constants of the search; docs/results/near-duplicates.md says how they were chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    longest_side: int = 200
    """Pixels to which the longer side of every image is scaled, so that originals and small copies are alike."""
    contrast: float = 0.005
    """Contrast threshold of SIFT; far below the usual 0.04, since skin shows little contrast."""
    features: int = 300
    """Most features an image, those of highest contrast."""
    dimensions: int = 48
    """Of a descriptor after the projection; 128 before."""
    cells: int = 2048
    """Of the inverted file; fewer where there are fewer than 40 features a cell."""
    probes: int = 3
    """Cells that are searched for each feature."""
    neighbours: int = 5
    """Nearest features, of the whole data set, that each feature votes for."""
    farthest_neighbour: float = 0.1
    """Largest squared distance between descriptors of unit length that counts as a vote."""
    least_votes: float = 0.3
    """Votes that must agree on one motion for a pair to be verified; an identical descriptor gives 1."""
    candidates: int = 20
    """Most pairs that are verified for an image, those with most votes."""
    least_inliers: int = 5
    """Matches that agree on one motion, below which a pair is dropped without looking at its pixels."""
    seed: int = 0
    """Of the sample and the starting points of the cells."""
