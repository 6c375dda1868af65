"""The reporting checklists: every item once, nothing claimed that the run does not know."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cv_folds.leakage import Leakage
from reports.checklist import AUTHORS, Item, Reported, checklist_table
from reports.checklist_answers import ANSWERS
from reports.checklist_section import checklist_section
from reports.checklists import checklist_items
from reports.content import build_document
from reports.document import Document, Group, Table
from reports.results import Nested
from reports.run_folder import RunFolder, read_run_folder
from reports.study import Study

PARTS_OF_TRIPOD = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab"}
PARTS_OF_TRIPOD |= {27: "abc"}
TRIPOD, CLAIM = checklist_items("tripod_ai"), checklist_items("claim")

# A word of the subject that the statement gives each number, and words of what it names beside that.
TRIPOD_SUBJECTS = """
1 title.*population.*outcome | 2 abstract | 3a context.*why.*exist already | 3b who would use | 3c inequalities
4 aims | 5a sources.*development.*evaluation.*represent | 5b dates.*follow-up | 6a centres | 6b eligible
6c treatments | 7 preparation.*quality | 8a outcome.*time horizon.*why.*groups of people
8b qualification.*outcome | 8c blinding.*outcome | 9a choice of predictors | 9b definition.*predictor.*blinding
9c qualification.*predictors | 10 sample size.*development.*evaluation | 11 missing.*leaving data out
12a use of the data.*partition | 12b predictors.*scaling | 12c kind of model.*tuning.*internal | 12d clusters
12e measures and plots.*compared | 12f updating | 12g computed | 13 imbalance.*recalibration | 14 fairness.*why
15 output.*thresholds | 16 differences.*eligibility | 17 ethical.*consent | 18a funding.*role | 18b conflicts
18c protocol | 18d registration | 18e the data | 18f code | 19 patients and the public | 20a flow
20b characteristics.*missing | 20c compared with development | 21 participants and outcomes
22 in full.*restricts | 23a intervals.*subgroups | 23b cluster | 24 updating | 25 interpretation.*fairness
26 limitations | 27a poor or missing input | 27b users | 27c next steps
"""
CLAIM_SUBJECTS = """
1 title | 2 abstract | 3 background.*intended use | 4 aims | 5 prospective | 6 goal | 7 sources
8 included and excluded | 9 preprocessing | 10 selection | 11 identifies | 12 missing | 13 acquired
14 reference standard | 15 why this reference | 16 annotated | 17 test data.*annotated.*software | 18 agreement
19 partitions | 20 no two partitions | 21 size | 22 layers | 23 software | 24 starting values
25 hyperparameters | 26 final model | 27 ensembles | 28 measures | 29 significance | 30 robustness
31 explanations.*checked | 32 internal | 33 external | 34 registration | 35 included and excluded
36 demographic.*partition | 37 uncertainty | 38 diagnostic | 39 failures | 40 limitations | 41 practice
42 protocol | 43 availability | 44 funding.*role
"""


@pytest.fixture(scope="module")
def folder(run: Any) -> RunFolder:
    return read_run_folder(run.path, run.evaluation.classes)


@pytest.fixture(scope="module")
def document(run: Any, folder: RunFolder) -> Document:
    return build_document(folder, run.evaluation, run.predictions)


@pytest.fixture
def answers(run: Any, folder: RunFolder) -> Callable[..., dict[str, dict[str, str]]]:
    """Return a function that fills both checklists in for another record, settings or scores."""

    def fill(settings: dict[str, Any] | None = None, weights: str = "imagenet", **changes: Any) -> Any:
        changed = replace(
            folder,
            settings={**folder.settings, **(settings or {})},
            record=folder.record.model_copy(update={"weights": weights}),
            **{key: changes.pop(key) for key in set(changes) & {"audit", "record"}},
        )
        section = checklist_section(Study.of(changed, replace(run.evaluation, **changes)), ())
        return {table.name: {row[0].text: row[2].text for row in table.rows} for table in tables(section.blocks)}

    return fill


def tables(blocks: Any) -> list[Table]:
    return [part for block in blocks if isinstance(block, Group) for part in block.blocks if isinstance(part, Table)]


def test_every_item_stands_once_and_in_order() -> None:
    expected = [f"{number}{part}" for number in range(1, 28) for part in (PARTS_OF_TRIPOD.get(number, "") or ("",))]
    assert [item.number for item in TRIPOD] == expected
    assert len(expected) == 52
    assert [item.number for item in CLAIM] == [str(number) for number in range(1, 45)]


@pytest.mark.parametrize(("items", "subjects"), [(TRIPOD, TRIPOD_SUBJECTS), (CLAIM, CLAIM_SUBJECTS)])
def test_every_number_has_the_subject_of_the_statement(items: tuple[Item, ...], subjects: str) -> None:
    expected = dict(part.strip().split(" ", 1) for line in subjects.split("\n") for part in line.split("|") if part)
    assert list(expected) == [item.number for item in items]
    wrong = {item.number: item.asks for item in items if not re.search(expected[item.number], item.asks.lower())}
    assert not wrong


def test_the_tables_name_what_there_is(run: Any, folder: RunFolder, document: Document) -> None:
    sections = {section.name: section.title for section in document.sections}
    asked: set[str] = set()

    class Asking(Reported):
        def see(self, *names: str) -> str:
            asked.update(names)
            return ""

    reported = Asking(study=Study.of(folder, run.evaluation), sections=sections)
    for item in (*TRIPOD, *CLAIM):
        item.reply(reported)
    # Sections that this run is too small for.
    assert asked - sections.keys() <= {"subgroups", "further", "decision-curves"}
    used = {answer for item in (*TRIPOD, *CLAIM) for answer in item.answers}
    assert set(ANSWERS.values()) <= used


def test_an_item_without_an_answer_is_left_to_the_authors(answers: Callable[..., Any]) -> None:
    filled = answers()
    silent = {item.number for item in TRIPOD if not item.answers}
    assert {"2", "5b", "17", "18a", "19", "25"} <= silent
    for number, reply in filled["tripod-ai"].items():
        assert reply.strip()
        if number in silent:
            assert reply == "To be filled in by the authors."
    assert filled["claim"]["44"] == "To be filled in by the authors."


def test_an_answer_says_what_is_left(run: Any, folder: RunFolder) -> None:
    reported = Reported(study=Study.of(folder, run.evaluation), sections={"data": "Data and folds"})
    items = (
        Item(number="1", asks="a", answers=(lambda _: "Known.",), authors="the rest"),
        Item(number="2", asks="b", answers=(lambda _: "", lambda seen: seen.see("data", "absent"))),
        Item(number="3", asks="c", answers=(lambda seen: seen.see("absent"),)),
    )
    rows = checklist_table("x", "caption", items, reported).rows
    assert [row[2].text for row in rows] == [
        f"Known. T{AUTHORS[1:]}: the rest.",
        "See “Data and folds”.",
        "To be filled in by the authors.",
    ]


def test_answers_point_to_sections_that_exist(document: Document) -> None:
    titles = {section.title for section in document.sections}
    texts = [cell.text for table in tables(document.sections[-1].blocks) for row in table.rows for cell in row]
    named = {title for text in texts for title in re.findall("“([^”]*)”", text)}
    assert {"Data and folds", "Method and limits", "Spread between folds"} <= named <= titles


def test_the_run_fills_in_what_it_knows(answers: Callable[..., Any], run: Any) -> None:
    filled = answers()
    tripod, claim = filled["tripod-ai"], filled["claim"]
    assert f"HAM10000 (Tschandl et al., Sci Data 2018;5:180161): {run.evaluation.n_images} images" in tripod["5a"]
    assert "4-fold cross-validation, stratified by diagnosis" in tripod["12a"]
    assert "(StratifiedGroupKFold of scikit-learn, seed 3)" in tripod["12a"]
    assert "adjusted to the natural class shares and calibrated by temperature scaling." in tripod["13"]
    assert "hamcv 0.1.0, python 3.11.9, torch 2.15.0; Some CPU" in claim["23"]
    assert claim["24"].startswith("The library’s ImageNet weights")
    assert claim["20"].startswith("Lesions")
    assert "soft_vote and stack" in claim["27"]
    assert "Each network: 210 images to fit weights, 30 to choose the epoch, 80 held out." in tripod["21"]
    assert not re.search(r"\[\d", " ".join([*tripod.values(), *claim.values()]))


def test_answers_follow_the_run(answers: Callable[..., Any], folder: RunFolder) -> None:
    assert answers(weights="none")["claim"]["24"] == "At random."
    assert "folder mine" in answers(weights="folder mine")["claim"]["24"]
    assert answers(demo=True)["tripod-ai"]["5a"].startswith("Pictures that hamcv drew")
    assert "CC BY-NC" not in answers(demo=True)["tripod-ai"]["18e"]
    plain = answers({"training.resampling": "none", "ensemble.calibration": "none"})["tripod-ai"]["13"]
    assert plain == "Classes were shown as often as they are."
    leakage = Leakage(groups=2, images=40, n_groups=160, n_images=320)
    leaking = answers(audit=folder.audit.model_copy(update={"allowed_leakage": leakage}))
    assert "scores are too good" in leaking["claim"]["20"]
    assert "nested estimate" in answers(nested=Nested(n_folds=4, models={}))["claim"]["30"].lower()
    assert answers()["claim"]["30"] == "To be filled in by the authors."
    assert "random subset of about 40 lesions" in answers({"limit_lesions": 40})["tripod-ai"]["6b"]
