"""From recipe, options and ``--set`` to the settings of a run, and what its ``config.toml`` says."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cv_folds.errors import UsageError, list_rows
from hamcv.dotted_keys import read_assignment, set_key
from hamcv.run_config import RunConfig
from reports.run_folder import flatten

_OF_PROTOCOL = {"split": "holdout", "holdout": "holdout", "repeats": "cv", "nested": "cv"}
"""Settings that go with one protocol only."""

_OF_FOLDS_MADE_HERE = ("holdout", "repeats", "stratify", "limit_lesions")
"""Settings that have no say where a file gives the folds."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named set of settings."""

    name: str
    """File name without ``.toml``."""
    description: str
    """One line."""
    source: str
    """Where the method comes from; empty for hamcv's own."""
    text: str
    """The TOML."""


def recipes() -> tuple[Recipe, ...]:
    """Return the recipes that come with hamcv, `default` first."""
    found = []
    for entry in files("hamcv").joinpath("recipes").iterdir():
        if entry.name.endswith(".toml"):
            text = entry.read_text(encoding="utf-8")
            table = tomllib.loads(text)
            found.append(
                Recipe(
                    name=entry.name.removesuffix(".toml"),
                    description=str(table["description"]),
                    source=str(table.get("source", "")),
                    text=text,
                )
            )
    return tuple(sorted(found, key=lambda recipe: (recipe.name != "default", recipe.name)))


def resolve(recipe: str, options: Mapping[str, Any], assignments: Sequence[str] = ()) -> RunConfig:
    """Lay recipe, options and assignments over the `default` recipe and check the result.

    Parameters
    ----------
    recipe : str
        Name of a recipe, or a TOML file.
    options : mapping
        Dotted key to value; values of None are passed over.
    assignments : sequence of str
        ``key=value`` with a dotted key and a TOML value (a bare word is taken as text). A number in a key counts the
        entries of a list from 0, as in ``training.phases.0.learning_rate``.

    Raises
    ------
    UsageError
        Naming every wrong setting, its value and what is allowed.

    Notes
    -----
    ``training.epochs``, as an option or assignment, also cuts every training phase to so many epochs. With another
    ``protocol``, or a ``folds_file``, what the recipe sets for its own division of the images does not apply.
    """
    name, table = _read_recipe(recipe)
    merged = _merge(_read_recipe("default")[1], table)
    for words in ("description", "source"):
        merged.pop(words, None)
    merged.setdefault("recipe", name)
    changes = _changes(options, assignments)
    _leave_out(merged, changes)
    for key, value in changes.items():
        set_key(merged, key, value)
    if "training.epochs" in changes:
        _cap_epochs(merged)
    return check(merged)


def amend_ensemble(config: RunConfig, options: Mapping[str, Any], assignments: Sequence[str] = ()) -> RunConfig:
    """Change how the networks of a run are combined.

    Parameters
    ----------
    config : RunConfig
        The settings of a run.
    options, assignments
        As for `resolve`.

    Raises
    ------
    UsageError
        When a setting is wrong, or one that the networks depend on.
    """
    table = config.model_dump(mode="json", exclude_none=True)
    for key, value in _changes(options, assignments).items():
        if not key.startswith("ensemble."):
            raise UsageError(f"--set {key}: only settings that begin with ensemble. can change without new training")
        set_key(table, key, value)
    return check(table)


def _changes(options: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    given = {key: value for key, value in options.items() if value is not None}
    return given | dict(read_assignment(text) for text in assignments)


def names_data(recipe: str) -> bool:
    """Tell whether a recipe says which data to use, as the ``config.toml`` of a run does."""
    return "data" in _read_recipe(recipe)[1]


def check(table: Mapping[str, Any]) -> RunConfig:
    """Validate a table of settings; `UsageError` lists all that is wrong."""
    try:
        return RunConfig.model_validate(table)
    except ValidationError as error:
        raise UsageError("wrong settings:\n" + list_rows([_complaint(detail) for detail in error.errors()])) from None


def read_config(path: Path) -> RunConfig:
    """Read a ``config.toml``."""
    return check(_read_toml(path))


def differences(old: RunConfig, new: RunConfig, *, but: Collection[str] = ()) -> list[str]:
    """Return ``key: old -> new`` for every setting that differs, apart from those in `but`."""
    before, after = flatten(old.model_dump(mode="json")), flatten(new.model_dump(mode="json"))
    return [
        f"{key}: {before.get(key)} -> {after.get(key)}"
        for key in sorted((before.keys() | after.keys()) - set(but))
        if before.get(key) != after.get(key)
    ]


def _read_recipe(recipe: str) -> tuple[str, dict[str, Any]]:
    for known in recipes():
        if known.name == recipe:
            return known.name, tomllib.loads(known.text)
    path = Path(recipe)
    if path.is_file():
        return path.stem, _read_toml(path)
    names = ", ".join(known.name for known in recipes())
    raise UsageError(f"--recipe {recipe}: neither a recipe ({names}) nor a TOML file")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is no valid TOML: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        merged[key] = _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _leave_out(table: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Remove what a recipe sets for a division of the images that the changes replace by another."""
    before = table.get("protocol", "cv")
    protocol, dropped = changes.get("protocol", before), list[str]()
    if protocol != before:
        dropped += [key for key, other in _OF_PROTOCOL.items() if other != protocol]
    if "folds_file" in changes:
        dropped += _OF_FOLDS_MADE_HERE
    # Leakage that was allowed for other folds, or for images, is not allowed for these.
    others = "folds_file" in changes and _other_file(table.get("folds_file"), changes["folds_file"])
    if others or (dropped and (protocol == "leakage" or table.get("holdout") == "image")):
        dropped.append("allow_leakage")
    for key in dropped:
        table.pop(key, None)


def _other_file(before: Any, now: Any) -> bool:
    """Tell whether two settings of files name two files; one alone is other than none."""
    return not (isinstance(before, str) and isinstance(now, str) and Path(before).resolve() == Path(now).resolve())


def _cap_epochs(table: dict[str, Any]) -> None:
    """Let the number of epochs that was asked for hold for every phase."""
    match table:
        case {"training": {"epochs": int(most), "phases": list(phases)}}:
            for phase in phases:
                if isinstance(phase, dict) and isinstance(phase.get("epochs"), int):
                    phase["epochs"] = min(phase["epochs"], most)


def _complaint(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{key}: there is no such setting; allowed here: {', '.join(_allowed(detail['loc'][:-1]))}"
    if detail["type"] == "missing":
        return f"{key}: is missing, and there is no default"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "tuple_type":
        message = "must be a list"
    elif detail["type"] == "model_type":
        message = f"must be a table of {', '.join(_allowed(detail['loc']))}"
    elif not key or isinstance(detail["input"], dict):
        # Settings that do not go together: what was given is a whole table.
        return message
    return f"{key} = {detail['input']!r}: {message[0].lower()}{message[1:]}"


def _allowed(location: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        # A list of tables is written as a tuple of its entries' type.
        inner = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return sorted(model.model_fields)
