"""Every setting of a run: from recipe, options and ``--set`` to one checked, frozen object and back to TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cv_folds.data.readers import AUTO, FORMATS
from cv_folds.data.settings import ColumnSettings
from cv_folds.errors import UsageError, list_rows
from cv_folds.holdout import HoldoutKind
from cv_folds.near_duplicates.settings import AuditSettings
from cv_folds.strata import StratumColumn
from cv_folds.training.backbones import DEFAULT_BACKBONES, check_backbone_name
from cv_folds.training.settings import TrainingSettings
from ensemble.settings import EnsembleSettings
from reports.run_folder import flatten
from reports.settings import ReportSettings

DEMO = "demo"
"""Value of `RunConfig.data` for the built-in demo set."""

_OF_PROTOCOL = {"split": "holdout", "holdout": "holdout", "repeats": "cv", "nested": "cv"}
"""Settings that go with one protocol only."""

_OF_FOLDS_MADE_HERE = ("holdout", "repeats", "stratify", "limit_lesions")
"""Settings that have no say where a file gives the folds."""


class RunConfig(BaseModel):
    """What determines the results of a run; ``config.toml`` holds it resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recipe: str = "default"
    """Name of the recipe that the settings started from."""
    data: str = DEMO
    """Folder of the data, or ``demo``."""
    format: str = AUTO
    """Layout of the folder; ``auto`` looks at it."""
    columns: ColumnSettings = ColumnSettings()
    """Which columns a plain table, or a table of groups, has."""
    limit_lesions: int | None = Field(default=None, ge=1)
    """Work on a random subset of about this many lesions."""
    unit: Literal["image", "lesion"] = "image"
    """``image``: all images; ``lesion``: one of every lesion, the first by image id."""
    folds: int = Field(default=5, ge=2, le=100)
    """Number of cross-validation folds."""
    protocol: Literal["cv", "holdout", "leakage"] = "cv"
    """``cv``: lesion-grouped cross-validation; ``holdout``: one fixed division, by lesion too; ``leakage``:
    cross-validation on folds of lesions and again on folds of images, to see how much the split makes of a score."""
    split: tuple[int, int, int] = (60, 20, 20)
    """Per cent of the images in the training, validation and test part of a hold-out."""
    holdout: HoldoutKind = "lesion"
    """What validation and test part of a hold-out are made of: any lesions (``lesion``), only those with a single image
    (``single_image``), or images whatever lesion they show (``image``), which leaks and needs `allow_leakage`."""
    repeats: int = Field(default=1, ge=1, le=100)
    """Cross-validations on as many divisions; the first gives the scores, all of them the spread."""
    nested: bool = False
    """Train without each pair of folds too, for an estimate of the ensembles in which nothing has seen the scored fold;
    may be changed in a run folder that exists."""
    folds_file: str | None = None
    """A table of image ids and folds to use instead of making folds, such as ``hamcv folds`` writes."""
    allow_leakage: bool = False
    """Use `folds_file`, or a hold-out of images, even if images of one lesion stand in several folds or parts; every
    report then says so."""
    stratify: tuple[StratumColumn, ...] = ()
    """What is spread evenly over the folds beside the diagnosis: any of ``dx_type``, ``sex`` and ``localization``."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of folds, training and intervals."""
    backbones: tuple[str, ...] = Field(default=DEFAULT_BACKBONES, min_length=1)
    """Names of classification models of torchvision, or ``timm:NAME`` with the extra ``hamcv[timm]``."""
    weights: str = "imagenet"
    """``imagenet``, ``none``, or a folder of weight files."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda|cuda:\d+)$")
    """Where to compute."""
    audit: AuditSettings = AuditSettings()
    """What is kept together beside the images of one lesion id."""
    training: TrainingSettings = TrainingSettings()
    """How each model is trained."""
    ensemble: EnsembleSettings = EnsembleSettings()
    """How their outputs are combined."""
    report: ReportSettings = ReportSettings()
    """How the results are scored and shown."""

    @field_validator("backbones")
    @classmethod
    def _known_and_named_once(cls, backbones: tuple[str, ...]) -> tuple[str, ...]:
        for name in backbones:
            check_backbone_name(name)
        if len(set(backbones)) < len(backbones):
            raise ValueError("every backbone may be named once only")
        return backbones

    @field_validator("data")
    @classmethod
    def _absolute_data(cls, data: str) -> str:
        if not data.strip():
            raise ValueError("name a folder, or demo")
        return data if data == DEMO else str(Path(data).expanduser().absolute())

    @field_validator("format")
    @classmethod
    def _known_format(cls, layout: str) -> str:
        if layout not in FORMATS:
            raise ValueError(f"must be one of {', '.join(FORMATS)}")
        return layout

    @field_validator("split")
    @classmethod
    def _whole(cls, split: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(split) < 1 or sum(split) != 100:
            raise ValueError("give per cent of training, validation and test that add up to 100, such as 60:20:20")
        return split

    @model_validator(mode="after")
    def _belongs_to_the_protocol(self) -> RunConfig:
        if self.protocol != "cv" and self.repeats > 1:
            raise ValueError(f"repeats = {self.repeats} goes with protocol cv only, not with {self.protocol}")
        if self.protocol != "holdout" and self.split != (60, 20, 20):
            raise ValueError(f"split goes with protocol holdout only, not with {self.protocol}")
        if self.protocol != "holdout" and self.holdout != "lesion":
            raise ValueError(f"holdout = {self.holdout} goes with protocol holdout only, not with {self.protocol}")
        if self.holdout != "lesion" and self.folds_file is not None:
            raise ValueError("folds_file (--folds-file) gives the parts of the hold-out; leave holdout out")
        if self.holdout == "image" and not self.allow_leakage:
            raise ValueError(
                "holdout = image puts images of one lesion into several parts; allow_leakage = true (--allow-leakage) "
                "uses them all the same, and every report then says so; holdout = lesion keeps them together"
            )
        if self.folds_file is not None and self.repeats > 1:
            raise ValueError("folds_file (--folds-file) holds one division; repeats needs several, leave one out")
        if self.protocol == "leakage" and self.allow_leakage:
            raise ValueError("protocol leakage compares with folds that do not leak; leave allow_leakage out")
        return self

    @model_validator(mode="after")
    def _known_subgroup_models(self) -> RunConfig:
        models = (*self.backbones, *self.ensemble.combiners)
        if unknown := [name for name in self.report.subgroup_models if name not in models]:
            raise ValueError(f"report.subgroup_models: {', '.join(unknown)}: this run has {', '.join(models)}")
        return self

    @model_validator(mode="after")
    def _can_be_nested(self) -> RunConfig:
        if not self.nested:
            return self
        if self.protocol != "cv":
            raise ValueError(f"nested goes with protocol cv only, not with {self.protocol}")
        if self.repeats > 1:
            raise ValueError(f"nested goes with one cross-validation only, not with repeats = {self.repeats}")
        if self.allow_leakage:
            raise ValueError("nested needs folds that do not leak; leave allow_leakage out")
        if self.folds < 3:
            raise ValueError(f"nested needs at least 3 folds, since two are held out together; folds = {self.folds}")
        return self

    @field_validator("folds_file")
    @classmethod
    def _absolute_file(cls, file: str | None) -> str | None:
        return None if file is None else str(Path(file).expanduser().absolute())

    @field_validator("stratify", mode="before")
    @classmethod
    def _site_is_the_localization(cls, columns: Any) -> Any:
        if not isinstance(columns, list | tuple):
            return columns
        return tuple(dict.fromkeys("localization" if column == "site" else column for column in columns))

    @model_validator(mode="after")
    def _folds_file_decides(self) -> RunConfig:
        if self.folds_file is None:
            if self.allow_leakage and self.holdout != "image":
                raise ValueError(
                    "allow_leakage is about folds_file (--folds-file) and holdout = image; apart from these, the folds "
                    "made here never leak"
                )
            return self
        if self.stratify:
            raise ValueError("stratify has no say when folds_file (--folds-file) gives the folds; leave one out")
        if self.limit_lesions is not None:
            raise ValueError("folds_file (--folds-file) holds all images; limit_lesions would leave some out")
        return self

    @field_validator("weights")
    @classmethod
    def _absolute_folder(cls, weights: str) -> str:
        return weights if weights in ("imagenet", "none") else str(Path(weights).expanduser().absolute())

    def to_toml(self) -> str:
        """Return the content of ``config.toml``; settings that are not set are left out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


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
        _set(merged, key, value)
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
        _set(table, key, value)
    return check(table)


def _changes(options: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    given = {key: value for key, value in options.items() if value is not None}
    return given | dict(_assignment(text) for text in assignments)


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


def _assignment(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"--set {text}: write key=value, for example --set training.epochs=12")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _set(table: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; a number in it counts the entries of a list from 0."""
    *above, last = key.split(".")
    inner: Any = table
    for number, part in enumerate(above):
        place = _place(inner, part, key, ".".join(above[:number]))
        if isinstance(inner, dict):
            # A number says that a list was meant, which cannot be made of nothing.
            inner.setdefault(place, [] if [*above, last][number + 1].isdecimal() else {})
        inner = inner[place]
        if not isinstance(inner, dict | list):
            raise UsageError(f"--set {key}: {part} is a single value, not a table")
    inner[_place(inner, last, key, ".".join(above))] = value


def _place(inside: dict[str, Any] | list[Any], part: str, key: str, above: str) -> Any:
    """Return the key or position that a part of a dotted key stands for."""
    if isinstance(inside, dict):
        return part
    if not part.isdecimal() or int(part) >= len(inside):
        numbers = f"has entries 0 to {len(inside) - 1}" if inside else "has no entries"
        raise UsageError(f"--set {key}: {above} is a list and {numbers}; name one of them, or set the whole list")
    return int(part)


def _leave_out(table: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Remove what a recipe sets for a division of the images that the changes replace by another."""
    before = table.get("protocol", "cv")
    protocol, dropped = changes.get("protocol", before), list[str]()
    if protocol != before:
        dropped += [key for key, other in _OF_PROTOCOL.items() if other != protocol]
    if "folds_file" in changes:
        dropped += _OF_FOLDS_MADE_HERE
    if dropped and (protocol == "leakage" or table.get("holdout") == "image"):
        dropped.append("allow_leakage")
    for key in dropped:
        table.pop(key, None)


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
