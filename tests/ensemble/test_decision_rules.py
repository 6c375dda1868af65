from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from cv_folds.errors import UsageError
from ensemble.decisions import DecisionRules, read_costs

CLASSES = ("bkl", "mel", "nv")


def test_the_rules_decide_as_their_definitions_say():
    rows = np.array([[0.05, 0.25, 0.7], [0.3, 0.1, 0.6], [0.02, 0.02, 0.96]])
    costs = np.array([[0, 1, 1], [20, 0, 20], [1, 1, 0]], dtype=float)
    rules = DecisionRules(natural=np.array([0.2, 0.1, 0.7]), costs=costs)
    assert rules.names == ("max_probability", "balanced", "costs")
    assert rules.decide(rows, "max_probability").tolist() == [2, 2, 2]
    assert rules.decide(rows, "balanced").tolist() == [1, 0, 2]
    expected = [min(range(3), key=lambda d: sum(row[t] * costs[t, d] for t in range(3))) for row in rows]
    assert rules.decide(rows, "costs").tolist() == expected == [1, 1, 2]


def test_equal_costs_and_equal_shares_give_the_most_probable_class():
    rows = np.random.default_rng(0).dirichlet(np.ones(4), size=200)
    rules = DecisionRules(natural=np.full(4, 0.25), costs=1 - np.eye(4))
    plain = rules.decide(rows, "max_probability")
    np.testing.assert_array_equal(rules.decide(rows, "balanced"), plain)
    np.testing.assert_array_equal(rules.decide(rows, "costs"), plain)


@pytest.mark.parametrize("seed", range(5))
def test_balanced_has_the_best_expected_balanced_accuracy(seed):
    rng = np.random.default_rng(seed)
    shares = np.array([0.02, 0.18, 0.8])
    labels = rng.choice(3, size=6000, p=shares)
    likelihood = np.exp(rng.normal(size=(6000, 3)) + 1.2 * np.eye(3)[labels])
    # The posterior of unit normals around 1.2 times the corners of a simplex.
    rows = likelihood**1.2 * shares
    rows /= rows.sum(axis=1, keepdims=True)
    rules = DecisionRules(natural=shares)
    assert rules.names == ("max_probability", "balanced")
    scores = {rule: balanced_accuracy_score(labels, rules.decide(rows, rule)) for rule in rules.names}
    assert scores["balanced"] > scores["max_probability"] + 0.05


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_costs_come_by_class_name(tmp_path):
    path = write(tmp_path / "costs.toml", "default = 1\n[mel]\nnv = 20\nbkl = 15.5\n[nv]\nnv = -0.0\n")
    np.testing.assert_array_equal(read_costs(path, CLASSES), [[0, 1, 1], [15.5, 0, 20], [1, 1, 0]])
    whole = write(
        tmp_path / "whole.toml", "bkl = {mel = 1, nv = 2}\nmel = {bkl = 3, nv = 4}\nnv = {bkl = 5, mel = 6}\n"
    )
    np.testing.assert_array_equal(read_costs(whole, CLASSES), [[0, 1, 2], [3, 0, 4], [5, 6, 0]])


def test_all_mistakes_in_the_costs_are_listed_at_once(tmp_path):
    path = write(
        tmp_path / "costs.toml",
        '[mel]\nnv = -3\nbkl = "much"\ndf = 1\n[scc]\nnv = 1\n[bkl]\nmel = inf\n',
    )
    with pytest.raises(UsageError) as caught:
        read_costs(path, CLASSES)
    expected = ["mel.nv = -3", "mel.bkl = 'much'", "mel.df: no such class", "scc: no such class", "bkl.mel = inf"]
    expected += [str(path), "bkl: no cost of deciding for nv", "nv: no cost of deciding for bkl, mel"]
    for words in expected:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("default = true\n", "default = True"),
        ("default = 0\n", "every decision costs the same"),
        ("default = 1\nmel = 3\n", "mel: must be a table"),
        ("= 3", "no valid TOML"),
    ],
)
def test_other_broken_costs(tmp_path, text, words):
    with pytest.raises(UsageError, match=words):
        read_costs(write(tmp_path / "costs.toml", text), CLASSES)


def test_costs_that_are_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.toml: cannot be read"):
        read_costs(tmp_path / "gone.toml", CLASSES)
