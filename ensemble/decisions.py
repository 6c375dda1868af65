"""From probabilities to a decision: a rule of its own, apart from how good the probabilities are."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from cv_folds.arrays import FloatArray, IntArray, frozen
from cv_folds.errors import UsageError, list_rows

RuleName: TypeAlias = Literal["max_probability", "balanced", "costs"]
"""How a class is decided on."""

_MEND = "one table a true class holds the cost of each other decision, as in [mel] nv = 10; default = 1 serves the rest"


@dataclass(frozen=True, kw_only=True)
class DecisionRules:
    """What the rules need to know."""

    natural: FloatArray
    """(n_classes,) positive share of each class where decisions are made."""
    costs: FloatArray | None = None
    """(n_classes, n_classes) cost of each decision (column) for each true class (row); None without such a matrix."""

    @property
    def names(self) -> tuple[RuleName, ...]:
        """The rules that can be used."""
        return ("max_probability", "balanced") if self.costs is None else ("max_probability", "balanced", "costs")

    def decide(self, probabilities: FloatArray, rule: RuleName) -> IntArray:
        """Decide on a class for each row.

        Parameters
        ----------
        probabilities : (n, n_classes) float64
            Rows summing to 1, at the natural shares.
        rule : str
            ``max_probability``: the most probable class, for accuracy. ``balanced``: the class whose probability is
            the highest multiple of its share, which maximises the expected balanced accuracy. ``costs``: the class
            with the least expected cost (Elkan, "The foundations of cost-sensitive learning", IJCAI 2001).

        Returns
        -------
        (n,) int
            Column numbers; the first of equals.
        """
        decided: IntArray
        match rule:
            case "max_probability":
                decided = probabilities.argmax(axis=1)
            case "balanced":
                decided = (probabilities / self.natural).argmax(axis=1)
            case "costs":
                assert self.costs is not None
                decided = (probabilities @ self.costs).argmin(axis=1)
        return decided


def read_costs(path: Path, classes: Sequence[str]) -> FloatArray:
    """Read a cost matrix from TOML.

    Parameters
    ----------
    path : Path
        One table a true class, which maps decided classes to costs; ``default`` at the top is the cost of every
        mistake that is not named. Right decisions cost 0 unless named.
    classes : sequence of str
        Class names in column order.

    Returns
    -------
    (n_classes, n_classes) float64
        Rows true, columns decided.

    Raises
    ------
    UsageError
        When the file cannot be read, or naming everything that is wrong with it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); ensemble.costs names a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: is no valid TOML: {error}; {_MEND}") from error
    default = content.pop("default", None)
    wrong: list[str] = [] if default is None else _about_number("default", default)
    for true, row in content.items():
        if true not in classes:
            wrong.append(f"{true}: no such class; there are {', '.join(classes)}")
        elif not isinstance(row, Mapping):
            wrong.append(f"{true}: must be a table of decided class and cost")
        else:
            wrong += _about_row(true, row, classes)
    if default is None:
        wrong += _missing(content, classes)
    if wrong:
        raise UsageError(f"{path}: wrong costs; {_MEND}:\n{list_rows(wrong)}")
    costs = np.full((len(classes), len(classes)), 0.0 if default is None else float(default))
    np.fill_diagonal(costs, 0.0)
    for true, row in content.items():
        for decided, cost in row.items():
            costs[classes.index(true), classes.index(decided)] = float(cost)
    if not (costs != costs[:, :1]).any():
        raise UsageError(f"{path}: every decision costs the same, so that none can be chosen; {_MEND}")
    return frozen(costs)


def _about_row(true: str, row: Mapping[str, Any], classes: Sequence[str]) -> list[str]:
    wrong: list[str] = []
    for decided, cost in row.items():
        if decided not in classes:
            wrong.append(f"{true}.{decided}: no such class; there are {', '.join(classes)}")
        else:
            wrong += _about_number(f"{true}.{decided}", cost)
    return wrong


def _about_number(name: str, cost: object) -> list[str]:
    if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < np.inf:
        return []
    return [f"{name} = {cost!r}: must be a finite number, 0 or more"]


def _missing(content: Mapping[str, Any], classes: Sequence[str]) -> list[str]:
    wrong = []
    for true in classes:
        row = content.get(true, {})
        absent = [decided for decided in classes if decided != true and isinstance(row, Mapping) and decided not in row]
        if absent:
            wrong.append(f"{true}: no cost of deciding for {', '.join(absent)}, and no default")
    return wrong
