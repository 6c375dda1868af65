"""Reading the JSON form of a combiner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cv_folds.errors import DataError, list_rows

Stored = TypeVar("Stored", bound=BaseModel)


def read_stored(form: type[Stored], parameters: Mapping[str, Any], combiner: str) -> Stored:
    """Read the parameters of a combiner into `form`; `DataError` names the combiner and lists all that is wrong."""
    try:
        return form.model_validate(dict(parameters))
    except ValidationError as error:
        rows = [f"{'.'.join(str(part) for part in row['loc'])}: {row['msg']}" for row in error.errors()]
        raise DataError(f"parameters of {combiner}:\n" + list_rows(rows)) from error
