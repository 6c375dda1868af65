"""What the report of an external set says about model, images, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cv_folds.class_names import ClassMatch
from cv_folds.near_duplicates.search import FoundPair
from reports.document import Block, Cell, Column, Group, Paragraph, Table
from reports.origin import Origin
from reports.results import Estimate, Evaluation
from reports.run_tables import MOST_PAIRS
from reports.score_tables import DECISION_METRICS, PROBABILITY_METRICS, estimate_cell, plain, whole
from reports.summary import DEMO_BANNER
from reports.wording import count, listing, metric_label, plural


@dataclass(frozen=True, kw_only=True)
class ExternalFacts:
    """What was scored with what."""

    model: str
    """Name of the folder of the run or bundle."""
    ensemble: str
    """Name of the combiner."""
    members: str
    """Number and kind of the networks, in words."""
    trained_on: str
    """Name of the training data."""
    n_training_images: int
    """How many images were learned from."""
    data: str
    """Name of the external set."""
    layout: str
    """How its folder was read."""
    n_images: int
    """Images in it, scored or not."""
    matches: tuple[ClassMatch, ...]
    """What each of its classes was taken for."""
    images_of_class: Mapping[str, int]
    """Its classes to their number of images, scored or not."""
    excluded: Mapping[str, int]
    """Reason to number of images left out."""
    n_merged: int
    """Pairs of scored images under different lesion ids that were taken for one lesion."""
    compared: int | None
    """Training images among which near-duplicates were looked for; None when they were not looked for."""
    absent: str | None
    """Why that was none or not all of them, in words; None when it was all."""
    doubtful: tuple[FoundPair, ...]
    """Scored images that may show the lesion of a training image."""
    ids: bool
    """Whether equal ids were taken for the same image or lesion."""
    n_warned: int
    """Scored images that the predictor calls unlike its training images, or that its networks disagree about."""
    views: int
    """Turned and mirrored views of every image that were averaged."""
    spins: int
    """Views turned by random angles that were averaged, too."""
    held_out_spins: int
    """How many such views stand behind the scores and the calibration of the model's own run."""
    device: str
    """What the networks ran on."""
    settings: tuple[tuple[str, str], ...]
    """Further facts: names and values."""
    started: datetime
    """When."""
    resamples: int
    """How many lesion resamples the intervals took."""
    own_scores: Mapping[str, Estimate] | None
    """Overall scores of the same ensemble on the data of its run; None where they are not at hand."""

    @property
    def near_duplicates(self) -> str:
        """Say what was looked for, in one sentence."""
        if self.compared is None:
            return f"Near-duplicates of training images could not be looked for: {self.absent}."
        if self.absent is not None:
            return f"Near-duplicates were looked for among {count(self.compared)} training images only: {self.absent}."
        return f"Near-duplicates were looked for among all {count(self.compared)} training images."

    @property
    def other_views(self) -> str | None:
        """Say that the model was calibrated on images seen in another way, in one sentence; None when it was not."""
        if self.spins == self.held_out_spins and self.views == 1:
            return None
        own, here = (
            f"under {plural(spins, 'spin')}" if spins else "as they are" for spins in (self.held_out_spins, self.spins)
        )
        if self.views > 1:
            turned = f"in {self.views} quarter turns and mirror images"
            here = f"{turned} and {here}" if self.spins else turned
        return (
            f"The ensemble was scored and calibrated in its run on images {own}, here it saw them {here}; "
            f"--tta 1 --spins {self.held_out_spins} does about as its run did."
        )


def external_origin(facts: ExternalFacts, evaluation: Evaluation) -> Origin:
    """Return what the report says beside the scores.

    Parameters
    ----------
    facts : ExternalFacts
        What was scored with what.
    evaluation : Evaluation
        The scores.
    """
    warnings = [DEMO_BANNER] if evaluation.demo else []
    if facts.absent is not None:
        warnings.append(f"{facts.near_duplicates} Scores are too good if lesions of the training are among the images.")
    return Origin(
        title="External evaluation",
        subtitle=f"{facts.model} on {facts.data}",
        date=facts.started,
        warnings=tuple(warnings),
        notes=_notes(facts),
        account=_account(facts, evaluation),
        data=_data(facts, evaluation),
        facts=(
            ("Model", f"{facts.model}: {facts.members}, combined by {facts.ensemble}"),
            ("Trained on", f"{facts.trained_on}: {plural(facts.n_training_images, 'image')}"),
            ("External set", f"{facts.data}: {plural(facts.n_images, 'image')}, read as {facts.layout}"),
            ("Views of an image", f"{facts.views}" + (f", and {facts.spins} spins" if facts.spins else "")),
            ("Device", facts.device),
            *facts.settings,
        ),
        method=_method(facts),
        resamples=facts.resamples,
    )


def _notes(facts: ExternalFacts) -> tuple[str, ...]:
    notes = []
    if facts.doubtful:
        images = len({pair.image_a for pair in facts.doubtful})
        notes.append(
            f"{plural(images, 'scored image')} may show a lesion that was trained on; a person should look at the "
            "pairs under “Data”."
        )
    if lacking := [match.theirs for match in facts.matches if match.ours is None]:
        images = sum(facts.images_of_class[name] for name in lacking)
        notes.append(
            f"The model lacks {listing(lacking)}: {plural(images, 'image')} of the set cannot be given the right class "
            "and were left out. In use they would be given a wrong one."
        )
    if facts.other_views is not None:
        notes.append(facts.other_views)
    if facts.ensemble == "stack_meta":
        notes.append(
            "The ensemble was fitted with age, sex and body site; here, as in `hamcv predict`, they were taken as "
            "unknown."
        )
    return tuple(notes)


def _account(facts: ExternalFacts, evaluation: Evaluation) -> tuple[str, ...]:
    scored = (
        f"The ensemble {facts.ensemble} of {facts.model} ({facts.members}), trained on {facts.trained_on}, was scored "
        f"on {plural(evaluation.n_images, 'image')} of {plural(evaluation.n_lesions, 'lesion')} of {facts.data}. "
        "Nothing was fitted or chosen on them."
    )
    left_out = sum(facts.excluded.values())
    reasons = listing([f"{count(number)} ({reason})" for reason, number in facts.excluded.items()] or ["none"])
    matched = "by the content of their files" + (" and by image and lesion id" if facts.ids else "")
    chosen = (
        f"Of the {plural(facts.n_images, 'image')} of the set, {count(left_out)} "
        + ("was left out" if left_out == 1 else "were left out")
        + (f": {reasons}. " if left_out else ". ")
        + f"Images that were in training are found {matched}; the other images of their lesions go with them. "
        + facts.near_duplicates
    )
    warned = (
        f"The predictor warns of {count(facts.n_warned)} of the {plural(evaluation.n_images, 'scored image')}: farther "
        "from its training images, or more disputed among its networks, than nearly all of those; see answers.csv."
    )
    return scored, chosen, warned


def _data(facts: ExternalFacts, evaluation: Evaluation) -> tuple[Block, ...]:
    blocks: list[Block] = [_class_table(facts)]
    if facts.own_scores is not None:
        blocks.append(_own_scores_table(facts, facts.own_scores, evaluation))
    if facts.excluded:
        blocks.append(_excluded_table(facts))
    if facts.doubtful:
        blocks.append(Group(title="Images that may show a training lesion", blocks=(_doubtful_table(facts),)))
    return tuple(blocks)


def _class_table(facts: ExternalFacts) -> Table:
    return Table(
        name="class-matches",
        caption="What each class of the external set was taken for.",
        columns=(
            Column(label="Class of the set", numeric=False),
            Column(label="Class of the model", numeric=False),
            Column(label="Why", numeric=False),
            Column(label="Images in the set"),
        ),
        rows=tuple(
            (
                Cell(text=match.theirs),
                Cell(text="none: left out" if match.ours is None else match.ours),
                Cell(text="the model has no such class" if match.how == "none" else match.how),
                whole(facts.images_of_class[match.theirs]),
            )
            for match in facts.matches
        ),
    )


def _own_scores_table(facts: ExternalFacts, own: Mapping[str, Estimate], evaluation: Evaluation) -> Table:
    """Put the scores on the data of the run beside those on the external set, without a test: all else differs too."""
    external = evaluation.models[facts.ensemble].overall
    return Table(
        name="beside-own-data",
        caption=f"Scores of {facts.ensemble} on the data of its run, where each image was held out of training, beside "
        "those on the external set. Images and mix of classes differ, so the two are not compared by a test.",
        columns=(
            Column(label="Score", numeric=False),
            Column(label=f"Data of the run ({facts.trained_on})"),
            Column(label=f"External set ({facts.data})"),
        ),
        rows=tuple(
            (Cell(text=metric_label(metric)), estimate_cell(own[metric]), estimate_cell(external[metric]))
            for metric in (*DECISION_METRICS, *PROBABILITY_METRICS)
            if metric in own
        ),
    )


def _excluded_table(facts: ExternalFacts) -> Table:
    return Table(
        name="left-out",
        caption="Images that were left out, by the first reason that holds; excluded.csv names them.",
        columns=(Column(label="Reason", numeric=False), Column(label="Images")),
        rows=tuple((Cell(text=reason), whole(number)) for reason, number in facts.excluded.items()),
    )


def _doubtful_table(facts: ExternalFacts) -> Table:
    rest = len(facts.doubtful) - MOST_PAIRS
    more = f" The first {MOST_PAIRS}; {count(rest)} more are in evaluation.json." if rest > 0 else ""
    return Table(
        name="doubtful-training-pairs",
        caption="Scored images that may show the lesion of a training image. They were scored; a person should look at "
        f"them.{more}",
        columns=(
            Column(label="Image", numeric=False),
            Column(label="Training image", numeric=False),
            Column(label="Score", explain="Probability that both show one lesion."),
            Column(label="What speaks for it", numeric=False),
        ),
        rows=tuple(
            (Cell(text=pair.image_a), Cell(text=pair.image_b), plain(pair.score, 2), Cell(text=pair.why))
            for pair in facts.doubtful[:MOST_PAIRS]
        ),
    )


def _method(facts: ExternalFacts) -> tuple[Paragraph, ...]:
    merged = (
        f" {plural(facts.n_merged, 'pair')} of scored images under different lesion ids, identical or near-duplicates, "
        f"{'was' if facts.n_merged == 1 else 'were'} taken for one lesion."
        if facts.n_merged
        else ""
    )
    return (
        Paragraph(
            title="Networks.",
            text="Every image was predicted by all networks of the ensemble that the predictor uses; none of them was "
            "trained on the set. In a cross-validation each image is scored by the networks of one fold only, so that "
            "the two scores are not of quite the same ensemble.",
        ),
        Paragraph(
            title="Lesions.",
            text=f"The lesions of the set are the groups that the intervals resample.{merged} Where the set names no "
            "lesion, an image is its own group.",
        ),
        Paragraph(
            title="Limits.",
            text="For research only. A set from elsewhere differs in cameras, patients, mix of classes and in how "
            "diagnoses were made; the scores mix all of these. Accuracy, log-loss and calibration depend on the mix "
            "of classes, the recall and AUC of a class much less.",
        ),
    )
