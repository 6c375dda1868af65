"""The gallery: pictures are stored without anything else, shown with their words, and never those of other answers."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cv_folds.errors import DataError
from ensemble.telling_cases import choose_cases
from reports.checklist_section import checklist_section
from reports.content import build_document
from reports.document import Gallery, Group, Notice, Paragraph, Section, Table
from reports.figures.heat import overlay
from reports.gallery_files import (
    LONGEST_SIDE,
    DrawnCase,
    DrawnMap,
    picture_size,
    read_gallery,
    remove_gallery,
    write_gallery,
)
from reports.gallery_section import gallery_section
from reports.html import render_html
from reports.pdf import render_pdf
from reports.run_folder import read_run_folder
from reports.study import Study

HOSTILE = '"><img src=x onerror=alert(1)>'


@pytest.fixture
def shown(run: Any, tmp_path: Path) -> Path:
    """Return a copy of the run folder with a gallery of two images of either kind."""
    copy = Path(shutil.copytree(run.path, tmp_path / "made-up"))
    draw(copy, run.predictions)
    return copy


def draw(run: Path, predictions: Any, *, most: int = 2, unexplained: dict[str, str] | None = None) -> None:
    chosen = choose_cases(predictions, "stack", most=most)
    random = np.random.default_rng(1)

    def drawn(case: Any) -> DrawnCase:
        heat = np.zeros((48, 64))
        heat[12, 48] = 1.0
        maps = tuple(
            DrawnMap(backbones=names, label=predictions.classes[claim.label], heat=heat)
            for claim in case.claims
            if (names := tuple(name for name in claim.backbones if name not in (unexplained or {})))
        )
        picture = random.integers(0, 256, (48, 64, 3)).astype(np.uint8)
        return DrawnCase(case=case, picture=picture, maps=maps)

    write_gallery(
        run,
        model="stack",
        most=most,
        errors=[drawn(case) for case in chosen.errors],
        disagreements=[drawn(case) for case in chosen.disagreements],
        unexplained=unexplained or {},
    )


def section_of(path: Path, run: Any, **settings: Any) -> Section:
    folder = read_run_folder(path, run.evaluation.classes)
    folder = replace(folder, settings={**folder.settings, **settings})
    return gallery_section(Study.of(folder, run.evaluation), run.predictions)


def galleries(section: Section) -> dict[str, Gallery]:
    return {block.name: block for block in section.blocks if isinstance(block, Gallery)}


def test_pictures_come_with_label_answer_and_ids(shown: Path, run: Any) -> None:
    section = section_of(shown, run)
    chosen = choose_cases(run.predictions, "stack", most=2)
    found = galleries(section)
    classes = run.evaluation.classes
    for case, exhibit in zip(chosen.errors, found["confident-errors"].exhibits, strict=True):
        assert exhibit.title == f"Labelled {classes[case.label]}"
        assert exhibit.lines[0] == f"stack: {classes[case.predicted]} with {100 * case.probability:.1f} %"
        assert exhibit.lines[1] == f"Image {case.image_id}, lesion {case.lesion_id}, fold {case.fold}"
        picture, explained = exhibit.photos
        assert case.image_id in picture.alt
        assert classes[case.predicted] in explained.alt
        assert "strongest 76 % of the width from the left and 26 % of the height from the top" in explained.alt
    for case, exhibit in zip(chosen.disagreements, found["disagreements"].exhibits, strict=True):
        assert len(exhibit.photos) == 3
        for claim, line in zip(case.claims, exhibit.lines, strict=False):
            assert line == f"{claim.backbones[0]}: {classes[claim.label]} with {100 * claim.probability:.1f} %"


def test_pictures_carry_nothing_but_pixels(shown: Path) -> None:
    files = read_gallery(shown)
    assert files is not None
    for content in files.pictures.values():
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (64, 48)
            assert not image.getexif()
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    names = {path.name for path in (shown / "gallery").iterdir()}
    assert names == {*files.pictures, "gallery.json"}


def test_the_page_holds_the_pictures_and_loads_nothing(shown: Path, run: Any) -> None:
    folder = read_run_folder(shown, run.evaluation.classes)
    text = render_html(build_document(folder, run.evaluation, run.predictions))
    assert text.count('<img src="data:image/jpeg;base64,') == text.count("<img ") == 2 * 2 + 2 * 3
    assert "img-src data:" in text
    assert "default-src 'none'" in text


def test_the_pdf_holds_the_pictures_and_stays_accessible(shown: Path, run: Any) -> None:
    folder = read_run_folder(shown, run.evaluation.classes)
    document = build_document(folder, run.evaluation, run.predictions)
    content = render_pdf(document)
    assert b"pdfuaid" in content
    # Pictures that are the same to the byte are stored once.
    assert content.count(b"/DCTDecode") == len(set(folder.gallery.pictures.values())) >= 8
    assert content == render_pdf(document)


def test_hostile_ids_stay_text(run: Any, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run.path, tmp_path / "copy"))
    draw(copy, run.predictions)
    first = choose_cases(run.predictions, "stack", most=2).errors[0].image_id
    for path in (copy / "gallery" / "gallery.json", copy / "folds.csv"):
        replaced = HOSTILE if path.suffix == ".csv" else json.dumps(HOSTILE)[1:-1]
        if path.suffix == ".csv":
            replaced = '"' + HOSTILE.replace('"', '""') + '"'
        path.write_text(path.read_text().replace(first, replaced))
    ids = np.where(run.predictions.image_ids == first, HOSTILE, run.predictions.image_ids)
    predictions = replace(run.predictions, image_ids=ids)
    folder = read_run_folder(copy, run.evaluation.classes)
    text = render_html(build_document(folder, run.evaluation, predictions))
    assert "<img src=x" not in text
    assert text.count("<img ") == text.count('<img src="data:image/jpeg;base64,') == 10
    assert "onerror=alert(1)&gt;" in text


def test_pictures_of_other_answers_are_not_shown(shown: Path, run: Any) -> None:
    changed = {**run.predictions.probabilities}
    order = np.roll(np.arange(len(run.predictions.labels)), 7)
    changed["stack"] = changed["stack"][order]
    folder = read_run_folder(shown, run.evaluation.classes)
    section = gallery_section(Study.of(folder, run.evaluation), replace(run.predictions, probabilities=changed))
    (note,) = section.blocks
    assert isinstance(note, Notice)
    assert "are of other predictions" in note.text
    assert "--gallery" in note.text
    (other,) = section_of(shown, run, **{"ensemble.deployed": "soft_vote"}).blocks
    assert isinstance(other, Notice)


def test_a_run_without_pictures_says_why(shown: Path, run: Any) -> None:
    (off,) = section_of(shown, run, **{"report.gallery": 0}).blocks
    assert isinstance(off, Paragraph)
    assert "report.gallery = 0" in off.text
    remove_gallery(shown)
    assert not (shown / "gallery").exists()
    (none,) = section_of(shown, run).blocks
    assert isinstance(none, Paragraph)
    assert "none have been drawn" in none.text


def test_the_checklist_points_to_pictures_only_where_there_are_some(shown: Path, run: Any) -> None:
    def claim(**settings: Any) -> dict[str, str]:
        folder = read_run_folder(shown, run.evaluation.classes)
        study = Study.of(replace(folder, settings={**folder.settings, **settings}), run.evaluation)
        checklists = checklist_section(study, [section_of(shown, run, **settings)])
        (table,) = (
            table
            for group in checklists.blocks
            if isinstance(group, Group)
            for table in group.blocks
            if isinstance(table, Table) and table.name == "claim"
        )
        return {row[0].text: row[2].text for row in table.rows}

    drawn = claim()
    assert drawn["31"].startswith("Grad-CAM maps of errors and disagreements. See “Errors and disagreements”.")
    assert "“Errors and disagreements”" in drawn["39"]
    draw(shown, run.predictions, unexplained=dict.fromkeys(("mobilenet_v3_large", "resnet50", "efficientnet_b0"), "no"))
    without_maps = claim()
    assert without_maps["31"].startswith("None in this run’s report")
    assert "“Errors and disagreements”" in without_maps["39"]
    # Switched off, of another ensemble, and never drawn.
    silent = [claim(**{"report.gallery": 0}), claim(**{"ensemble.deployed": "soft_vote"})]
    remove_gallery(shown)
    for answers in (*silent, claim()):
        assert answers["31"].startswith("None in this run’s report")
        assert "Errors and disagreements" not in answers["31"] + answers["39"]


def test_networks_without_maps_are_named(shown: Path, run: Any) -> None:
    draw(shown, run.predictions, unexplained={"resnet50": "resnet50 has no maps"})
    section = section_of(shown, run)
    assert [block.text for block in section.blocks if isinstance(block, Notice)] == ["resnet50 has no maps."]
    for exhibit in galleries(section)["confident-errors"].exhibits:
        assert "resnet50" not in exhibit.photos[1].alt
    draw(shown, run.predictions, unexplained=dict.fromkeys(("mobilenet_v3_large", "resnet50", "efficientnet_b0"), "no"))
    for gallery in galleries(section_of(shown, run)).values():
        assert all(len(exhibit.photos) == 1 for exhibit in gallery.exhibits)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gallery.json", b"{", "gallery.json is damaged"),
        ("gallery.json", b'{"model": "stack"}', "gallery.json is damaged"),
        ("error-01.jpg", b"<svg onload=alert(1)>", "error-01.jpg is no JPEG"),
        ("error-01.jpg", None, "error-01.jpg cannot be read"),
    ],
)
def test_a_damaged_gallery_is_named(shown: Path, name: str, content: bytes | None, words: str) -> None:
    path = shown / "gallery" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_gallery(shown)


def test_no_file_outside_the_gallery_is_read(shown: Path) -> None:
    path = shown / "gallery" / "gallery.json"
    path.write_text(path.read_text().replace("error-01.jpg", "../../secret.jpg"))
    with pytest.raises(DataError, match=r"gallery\.json is damaged"):
        read_gallery(shown)


def test_a_new_gallery_replaces_the_old_one(shown: Path, run: Any) -> None:
    draw(shown, run.predictions, most=1)
    files = read_gallery(shown)
    assert files is not None
    assert len(files.record.errors) == len(files.record.disagreements) == 1
    assert len(list((shown / "gallery").iterdir())) == 2 + 3 + 1


def test_a_map_lies_on_its_picture() -> None:
    picture = np.full((4, 6, 3), (200, 100, 50), dtype=np.uint8)
    heat = np.zeros((4, 6))
    heat[1, 2] = 1.0
    mixed = overlay(picture, heat)
    cold = mixed[heat == 0]
    assert (cold == cold[0]).all()
    assert len(set(cold[0].tolist())) == 1
    assert cold[0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    red, green, blue = mixed[1, 2].tolist()
    assert red > 200 > blue
    assert green > cold[0, 0]


@pytest.mark.parametrize(
    ("size", "expected"),
    [((600, 450), (256, 192)), ((450, 600), (192, 256)), ((60, 45), (60, 45)), ((5000, 4), (256, 1))],
)
def test_pictures_shrink_and_keep_their_shape(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert picture_size(*size) == expected
    assert max(expected) <= LONGEST_SIDE


def test_a_run_of_an_earlier_version_has_no_gallery(make_run: Callable[..., Any]) -> None:
    made = make_run(classes=("df", "nv"), backbones=("resnet18",), n_folds=2, n_epochs=1)
    assert read_run_folder(made.path, made.evaluation.classes).gallery is None
