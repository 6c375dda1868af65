"""No text says that validation images chose the epoch where the last one was kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cv_folds.splits import Folds
from cv_folds.training.settings import TrainingSettings
from reports.checklist_section import checklist_section
from reports.content import build_document
from reports.document import Excerpt, Group, Paragraph, Section, Table
from reports.method_notes import method_notes
from reports.methods_section import methods_section
from reports.run_folder import RunFolder, read_run_folder
from reports.study import Study
from reports.summary import what_was_done
from reports.validation_part import chooses_weights, purpose

CHOICE = re.compile(r"cho(ose|oses|se|sen|osing) [^.]{0,20}epoch|epoch [^.]{0,20}chosen", re.IGNORECASE)
KEPT = [
    ({"training.monitor": "last", "training.ema_decay": 0.0}, "to watch the training"),
    (
        {"training.monitor": "last", "training.ema_decay": 0.99},
        "to watch the training and to choose between the last and the averaged weights",
    ),
]


@pytest.fixture(scope="module")
def folder(run: Any) -> RunFolder:
    return read_run_folder(run.path, run.evaluation.classes)


@pytest.fixture
def study_of(run: Any, folder: RunFolder) -> Callable[..., Study]:
    """Return a function that makes a study of the run with other settings, in folds or in one division."""

    def make(settings: dict[str, Any], *, holdout: bool = False) -> Study:
        changed = replace(folder, settings={**folder.settings, **settings})
        if holdout:
            parts = np.minimum(folder.folds.folds, 2)
            names = ("image_ids", "lesion_ids", "groups", "labels", "classes")
            kept = {name: getattr(folder.folds, name) for name in names}
            changed = replace(changed, folds=Folds(**kept, folds=parts, n_folds=3, holdout=True))
        return Study.of(changed, run.evaluation)

    return make


def words(*sections: Section) -> str:
    parts = [
        part
        for section in sections
        for block in section.blocks
        for part in (block.blocks if isinstance(block, Group) else (block,))
    ]
    texts = [part.text for part in parts if isinstance(part, Paragraph | Excerpt)]
    tables = [part for part in parts if isinstance(part, Table)]
    heads = [text for table in tables for text in (table.caption, *(column.label for column in table.columns))]
    return "\n".join([*texts, *heads, *(cell.text for table in tables for row in table.rows for cell in row)])


@pytest.mark.parametrize("holdout", [False, True])
@pytest.mark.parametrize(("settings", "said"), KEPT)
def test_where_the_last_epoch_is_kept_none_is_said_to_be_chosen(
    study_of: Callable[..., Study], settings: dict[str, Any], said: str, holdout: bool
) -> None:
    study = study_of(settings, holdout=holdout)
    notes = Section(
        name="method", title="Method", blocks=method_notes("2000", study.settings.training, holdout=holdout)
    )
    for section in (methods_section(study), checklist_section(study, ()), notes):
        text = words(section)
        assert said in text, section.name
        assert not (found := CHOICE.search(text)), found
    assert ("their weights were chosen there" in words(notes)) == (holdout and "averaged" in said)


def test_the_summary_of_a_holdout_says_what_the_validation_part_was_for(
    study_of: Callable[..., Study], run: Any
) -> None:
    for monitor, said in (("last", "to watch the training and to fit"), ("macro_f1", "to choose the epoch and to fit")):
        study = study_of({"training.monitor": monitor, "training.ema_decay": 0.0}, holdout=True)
        text = what_was_done(run.evaluation, study.folder)
        assert f"{said} the ensembles" in text


@pytest.mark.parametrize("holdout", [False, True])
def test_elsewhere_the_epoch_is_said_to_be_chosen(study_of: Callable[..., Study], holdout: bool) -> None:
    study = study_of({"training.monitor": "macro_f1"}, holdout=holdout)
    notes = method_notes("2000", study.settings.training, holdout=holdout)
    for section in (methods_section(study), Section(name="method", title="Method", blocks=notes)):
        assert "to choose the epoch" in words(section)
    assert "images to fit weights, 30 to choose the epoch, 80 held out" in words(checklist_section(study, ()))


def test_the_whole_report_follows_the_settings(run: Any, folder: RunFolder) -> None:
    changed = replace(folder, settings={**folder.settings, "training.monitor": "last", "training.ema_decay": 0.0})
    text = words(*build_document(changed, run.evaluation, run.predictions).sections)
    assert "is set aside to watch the training" in text
    assert not (found := CHOICE.search(text)), found


@pytest.mark.parametrize(
    ("settings", "said", "chooses"),
    [
        (TrainingSettings(), "to choose the epoch", True),
        (TrainingSettings(ema_decay=0.9), "to choose the epoch", True),
        (TrainingSettings(monitor="last"), "to watch the training", False),
    ],
)
def test_what_the_validation_part_is_for(settings: TrainingSettings, said: str, *, chooses: bool) -> None:
    assert (purpose(settings), chooses_weights(settings)) == (said, chooses)
