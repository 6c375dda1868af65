"""The page on software, seeds, hardware and times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reports.document import Group, Section, Table
from reports.run_folder import RunFolder, read_run_folder
from reports.run_page import run_section
from reports.run_records import DeviceRecord, JobRecord


@pytest.fixture
def folder(run: Any) -> RunFolder:
    return read_run_folder(run.path, run.evaluation.classes)


def tables(section: Section) -> dict[str, Table]:
    parts = [part for block in section.blocks for part in (block.blocks if isinstance(block, Group) else (block,))]
    return {part.name: part for part in parts if isinstance(part, Table)}


def facts(folder: RunFolder) -> dict[str, str]:
    return {row[0].text: row[1].text for row in tables(run_section(folder))["run-facts"].rows}


def test_machine_seed_and_data_are_named(folder: RunFolder) -> None:
    shown = facts(folder)
    assert shown["Device"] == "Some CPU (cpu)"
    assert shown["Seed"].startswith("3; ")
    assert shown["Jobs side by side"] == "2 CPU threads each"
    assert shown["Code revision"].startswith("not recorded")
    assert "Memory of the GPU" not in shown
    device = DeviceRecord(
        kind="cuda", name="H100", threads=8, side_by_side=2, cores=16, memory_mib=131072.0, gpu_memory_mib=81559.0
    )
    record = folder.record.model_copy(update={"device": device, "git_revision": "abc123"})
    shown = facts(replace(folder, record=record))
    assert shown["Device"] == "H100 (cuda)"
    assert shown["Jobs side by side"] == "2, 8 CPU threads each"
    assert shown["Processor cores"] == "16"
    assert shown["Memory of the GPU"] == "81\N{NARROW NO-BREAK SPACE}559 MiB"
    assert shown["Memory of the machine"] == "131\N{NARROW NO-BREAK SPACE}072 MiB"
    assert shown["Code revision"] == "abc123"


def test_stages_add_up(folder: RunFolder) -> None:
    rows = tables(run_section(folder))["stages"].rows
    seconds = folder.record.seconds
    assert [row[0].text for row in rows] == [*seconds, "all"]
    assert [row[1].value for row in rows] == [*seconds.values(), sum(seconds.values())]
    shares = [row[2].value for row in rows]
    assert sum(share for share in shares[:-1] if share is not None) == pytest.approx(1)
    assert shares[-1] == 1
    idle = folder.record.model_copy(update={"seconds": {}})
    (row,) = tables(run_section(replace(folder, record=idle)))["stages"].rows
    assert row[2].note == "no time was taken"


def test_every_job_has_its_time_and_speed(folder: RunFolder) -> None:
    table = tables(run_section(folder))["jobs"]
    labels = [column.label for column in table.columns]
    for row, history, job in zip(table.rows, folder.histories, folder.record.jobs, strict=True):
        cells = dict(zip(labels, row, strict=True))
        assert cells["Backbone"].text == history.backbone
        assert cells["Backbone"].detail == "float32"
        assert cells["Time"].value == job.seconds
        assert cells["Images per second"].value == job.images_per_second
        assert cells["Memory, MiB"].note == "not recorded"
    assert "float32" in table.caption
    details = folder.histories[0].details.model_copy(update={"peak_memory_mib": 812.4})
    known = replace(folder, histories=(replace(folder.histories[0], details=details), *folder.histories[1:]))
    assert tables(run_section(known))["jobs"].rows[0][-1].text == "812"


def test_trainings_beside_those_of_the_ensemble_are_listed(folder: RunFolder) -> None:
    assert "further-jobs" not in tables(run_section(folder))
    pair = JobRecord(backbone="resnet50", fold=0, second=2, status="done", seconds=70.0, images_per_second=12.0)
    repeated = JobRecord(arm="repeats/1", backbone="resnet50", fold=1, status="done", best_epoch=3, epochs_run=6)
    record = folder.record.model_copy(update={"jobs": (*folder.record.jobs, pair, repeated)})
    first, second = tables(run_section(replace(folder, record=record)))["further-jobs"].rows
    assert first[0].text == "resnet50, folds 0 and 2"
    assert [cell.text for cell in first[1:]] == ["n/a", "n/a", "1 min 10 s", "12.0"]
    assert [cell.text for cell in second] == ["repeats/1, resnet50, fold 1", "3", "6", "n/a", "n/a"]


def test_versions_are_those_of_the_run(folder: RunFolder) -> None:
    rows = tables(run_section(folder))["versions"].rows
    assert {row[0].text: row[1].text for row in rows} == folder.record.versions
