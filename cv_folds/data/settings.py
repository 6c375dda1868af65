"""What can be set about reading a table of one's own."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ColumnSettings(BaseModel):
    """Which column of a plain table holds what; those that are not set are found by their usual names."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    table: str | None = None
    """File name of the table, below the folder; needed when several could be meant."""
    image: str | None = None
    """Image id, file name or path."""
    label: str | None = None
    """Diagnosis: the name of the class."""
    lesion: str | None = None
    """What the images of one lesion share; a column of patients keeps theirs together too."""
    part: str | None = None
    """``train``, ``val`` or ``test``, where the table gives a split; not looked for when it is not set."""
    dx_type: str | None = None
    """How the diagnosis was confirmed."""
    age: str | None = None
    """Age in years."""
    sex: str | None = None
    """Sex."""
    localization: str | None = None
    """Body site."""

    def named(self) -> dict[str, str]:
        """Return what was set: role to name."""
        return {role: name for role, name in self if name is not None}
