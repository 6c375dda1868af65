"""The first page."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from reports import summary
from reports.summary import what_differs


def test_the_summary_leaves_the_many_other_ensembles_to_the_tables(run: Any) -> None:
    evaluation = run.evaluation
    plain = what_differs(evaluation)
    others = {
        name: replace(evaluation.models["soft_vote"], name=name) for name in ("log_vote", "greedy", "stack_trees")
    }
    more = [
        replace(comparison, against=name)
        for comparison in evaluation.comparisons
        if (comparison.model, comparison.against) == ("stack", "soft_vote")
        for name in others
    ]
    assert more
    crowded = replace(evaluation, models={**evaluation.models, **others}, comparisons=(*evaluation.comparisons, *more))
    assert what_differs(crowded) == plain
    assert any("soft_vote" in sentence for sentence in plain)


@pytest.mark.parametrize(("spins", "said"), [(0, False), (5, True)])
def test_spins_of_the_scored_images_are_told(spins, said):
    folder = SimpleNamespace(settings={"training.held_out_spins": spins})
    assert ("mean over 5 random flips and turns" in " ".join(summary._choice_of_images(folder))) is said
