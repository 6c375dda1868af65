"""The gallery of a report: the most confident errors and the greatest disagreements, with what the networks saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ensemble.predictions import Predictions
from ensemble.telling_cases import Case, TellingCases, choose_cases
from reports.document import Block, Exhibit, Gallery, Notice, Paragraph, Photo, Section
from reports.gallery_files import GalleryFiles, StoredCase, StoredMap
from reports.study import Study
from reports.wording import listing, number, percent, plural

HOW = "`hamcv report RUN --gallery 12` draws them where images and weights are at hand"

_ABOUT_MAPS = (
    "Beside each picture Grad-CAM (Selvaraju et al., ICCV 2017), scaled to its own maximum: bright where the last maps "
    "of a network speak for a class. Only networks that were trained without the {} of the image are asked."
)


@dataclass(frozen=True, kw_only=True)
class _Names:
    """How things are called in a gallery."""

    model: str
    """The ensemble."""
    classes: tuple[str, ...]
    """Classes in column order."""
    parts: tuple[str, ...]
    """Folds or parts by their number."""
    part: str
    """What one of them is called."""


def gallery_section(study: Study, predictions: Predictions) -> Section:
    """Return the pictures of a run, or why there are none.

    Parameters
    ----------
    study : Study
        The run.
    predictions : Predictions
        What choosing the images starts from; pictures of other choices are not shown.
    """
    return Section(name="gallery", title="Errors and disagreements", blocks=_blocks(study, predictions))


def _blocks(study: Study, predictions: Predictions) -> tuple[Block, ...]:
    files = study.folder.gallery
    if not study.settings.report.gallery:
        return (Paragraph(text="No pictures of images are shown, as the settings ask (report.gallery = 0)."),)
    if files is None:
        return (Paragraph(text=f"No pictures of images are shown: none have been drawn. {HOW}."),)
    deployed = study.settings.ensemble.deployed
    chosen = cases_of(files, predictions, deployed)
    if chosen is None:
        return (
            Notice(
                text=f"The pictures in the folder gallery are of other predictions and are not shown. {HOW}.",
                level="note",
            ),
        )
    parts = study.folder.folds.names
    word = "part" if study.holdout else "fold"
    names = _Names(
        model=deployed, classes=predictions.classes, parts=tuple(f"{word} {part}" for part in parts), part=word
    )
    return tuple(_shown(chosen, files, names))


def cases_of(files: GalleryFiles, predictions: Predictions, deployed: str) -> TellingCases | None:
    """Return the cases that a gallery shows; None when the predictions choose others, or explain other classes.

    Parameters
    ----------
    files : GalleryFiles
        What was drawn.
    predictions : Predictions
        As they are now.
    deployed : str
        The ensemble whose answers are shown.
    """
    chosen = choose_cases(predictions, deployed, most=files.record.most) if deployed in predictions.kinds else None
    return chosen if chosen is not None and _same(chosen, files, predictions.classes) else None


def _same(chosen: TellingCases, files: GalleryFiles, classes: Sequence[str]) -> bool:
    """Tell whether pictures and maps are those of the cases that are chosen now."""

    def fits(case: Case, stored: StoredCase) -> bool:
        explained = {(found.label, found.backbones) for found in stored.maps}
        claimed = {(classes[claim.label], name) for claim in case.claims for name in claim.backbones}
        return case.image_id == stored.image_id and all(
            (label, name) in claimed for label, names in explained for name in names
        )

    pairs = ((chosen.errors, files.record.errors), (chosen.disagreements, files.record.disagreements))
    return chosen.model == files.record.model and all(
        len(cases) == len(stored) and all(map(fits, cases, stored)) for cases, stored in pairs
    )


def _shown(chosen: TellingCases, files: GalleryFiles, names: _Names) -> list[Block]:
    record = files.record
    maps = _ABOUT_MAPS.format(names.part)
    blocks: list[Block] = [Paragraph(text=_introduction(chosen))]
    blocks += [Notice(text=f"{reason}.", level="note") for reason in record.unexplained.values()]
    if chosen.errors:
        caption = (
            f"The {plural(len(chosen.errors), 'wrong answer')} that {chosen.model} gave with the highest probability, "
            f"one image a lesion. {maps} The map is the mean of the networks’ for the class that was predicted."
        )
        pairs = zip(chosen.errors, record.errors, strict=True)
        blocks.append(_gallery("confident-errors", caption, pairs, files, names))
    if chosen.disagreements:
        caption = (
            f"The {plural(len(chosen.disagreements), 'image')} that divide the networks most, by the mutual "
            f"information between class and network, one image a lesion. {maps} The maps are of the two "
            "networks that are farthest apart, each for the class that it finds most probable."
        )
        pairs = zip(chosen.disagreements, record.disagreements, strict=True)
        blocks.append(_gallery("disagreements", caption, pairs, files, names))
    return blocks


def _introduction(chosen: TellingCases) -> str:
    if not chosen.errors:
        return f"{chosen.model} makes no error on these images."
    return (
        "Look at these images before trusting a score: a doubtful label, a picture that shows little, a habit of the "
        "networks. They are extremes, chosen by the numbers alone, and do not show how common such cases are. A map "
        "says where, not why, and is coarse."
    )


def _gallery(
    name: str, caption: str, pairs: Iterable[tuple[Case, StoredCase]], files: GalleryFiles, names: _Names
) -> Gallery:
    return Gallery(
        name=name,
        caption=caption,
        exhibits=tuple(_exhibit(case, stored, files, names) for case, stored in pairs),
    )


def _lines(case: Case, names: _Names) -> tuple[str, ...]:
    classes = names.classes
    answer = f"{names.model}: {classes[case.predicted]} with {percent(case.probability, 1)}"
    facts = f"Image {case.image_id}, lesion {case.lesion_id}, {names.parts[case.fold]}"
    if len(case.claims) == 1:
        return answer, facts
    claims = [
        f"{listing(claim.backbones)}: {classes[claim.label]} with {percent(claim.probability, 1)}"
        for claim in case.claims
    ]
    return *claims, f"{answer}; mutual information {number(case.disagreement)} nats", facts


def _exhibit(case: Case, stored: StoredCase, files: GalleryFiles, names: _Names) -> Exhibit:
    truth = names.classes[case.label]
    picture = Photo(
        name=_name(stored.file),
        jpeg=files.pictures[stored.file],
        alt=f"Image {case.image_id}, a lesion labelled {truth}.",
        label="image",
    )
    return Exhibit(
        title=f"Labelled {truth}",
        lines=_lines(case, names),
        photos=(picture, *(_map_photo(case, found, files) for found in stored.maps)),
    )


def _map_photo(case: Case, found: StoredMap, files: GalleryFiles) -> Photo:
    alone = len(found.backbones) == 1
    return Photo(
        name=_name(found.file),
        jpeg=files.pictures[found.file],
        alt=f"Grad-CAM of {listing(found.backbones)} for {found.label} in image {case.image_id}: {_where(found)}.",
        label=f"for {found.label}"
        + (f", {found.backbones[0]}" if alone else "")
        + (": nothing speaks for it" if found.peak is None else ""),
    )


def _where(found: StoredMap) -> str:
    if found.peak is None:
        return "nothing speaks for it"
    across, down = found.peak
    return f"strongest {percent(across)} of the width from the left and {percent(down)} of the height from the top"


def _name(file: str) -> str:
    return f"gallery-{file.removesuffix('.jpg')}"
