"""Reading the parameters of a calibrator back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cv_folds.errors import DataError, list_rows


class StoredParameters(BaseModel):
    """Base of the JSON forms: nothing more than the named keys, and finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Form = TypeVar("Form", bound=StoredParameters)


def read_parameters(form: type[Form], parameters: Mapping[str, Any], name: str) -> Form:
    """Read `parameters` of the calibrator `name` into `form`; `DataError` lists all that is malformed."""
    try:
        return form.model_validate(dict(parameters))
    except ValidationError as error:
        rows = [f"{'.'.join(str(part) for part in row['loc'])}: {row['msg']}" for row in error.errors()]
        raise DataError(f"parameters of calibrator {name}:\n" + list_rows(rows)) from error
