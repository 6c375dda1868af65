"""The first page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
