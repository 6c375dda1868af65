"""What `hamcv evaluate` leaves beside the scores: what was scored with what, and what was left out."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import hamcv
from cv_folds.files import sha256
from ensemble.bundle import MANIFEST, Bundle
from hamcv.external_set import ExternalSet
from hamcv.journal import versions
from reports.external import ExternalFacts
from reports.results import Evaluation
from reports.wording import plural

EVALUATION_FILE = "evaluation.json"
EXCLUDED_FILE = "excluded.csv"
ANSWERS_FILE = "answers.csv"


def evaluation_record(
    facts: ExternalFacts,
    bundle: Bundle,
    chosen: ExternalSet,
    evaluation: Evaluation,
) -> dict[str, Any]:
    """Return the content of ``evaluation.json``.

    Parameters
    ----------
    facts : ExternalFacts
        What the report says.
    bundle : Bundle
        What was scored.
    chosen : ExternalSet
        The set.
    evaluation : Evaluation
        The scores.
    """
    training, dataset = bundle.manifest.training_data, chosen.whole
    return {
        "schema": 1,
        "hamcv_version": hamcv.__version__,
        "versions": versions(),
        "started": facts.started.isoformat(),
        "model": {
            "name": facts.model,
            "manifest_sha256": sha256(bundle.folder / MANIFEST),
            "hamcv_version": bundle.manifest.hamcv_version,
            "ensemble": facts.ensemble,
            "n_members": len(bundle.manifest.members),
            "classes": list(bundle.manifest.classes),
            "trained_on": training.name,
            "training_fingerprint": training.fingerprint,
            "n_training_images": facts.n_training_images,
            "demo": training.demo,
            "views": facts.views,
            "spins": facts.spins,
            "device": facts.device,
        },
        "data": {
            "name": facts.data,
            "layout": facts.layout,
            "fingerprint": dataset.fingerprint,
            "demo": dataset.demo,
            "n_images": facts.n_images,
            "n_lesions": dataset.n_lesions,
            "notes": list(dataset.notes),
        },
        "classes": [
            {
                "theirs": match.theirs,
                "ours": match.ours,
                "how": match.how,
                "images": facts.images_of_class[match.theirs],
            }
            for match in facts.matches
        ],
        "excluded": dict(facts.excluded),
        "ids_compared": facts.ids,
        "near_duplicates": {
            "looked_for": facts.compared is not None,
            "training_images_compared": facts.compared,
            "why_not_all": facts.absent,
            "doubtful": [pair.model_dump(mode="json", exclude={"matrix"}) for pair in facts.doubtful],
        },
        "merged_pairs": [pair.model_dump(mode="json") for pair in chosen.merged],
        "n_warned_images": facts.n_warned,
        "n_scored_images": evaluation.n_images,
        "n_scored_lesions": evaluation.n_lesions,
    }


def excluded_csv(chosen: ExternalSet) -> str:
    """Return the content of ``excluded.csv``: one row an image that is not scored."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image_id", "reason", "training_image", "detail"))
    writer.writerows((entry.image_id, entry.reason, entry.training_image, entry.detail) for entry in chosen.excluded)
    return text.getvalue()


def screen_notes(facts: ExternalFacts, chosen: ExternalSet, classes: Sequence[str]) -> tuple[str, ...]:
    """Return what a person at the terminal should be told, a line each."""
    notes = [
        f"class {match.theirs} is taken for {match.ours} ({match.how})"
        for match in chosen.matches
        if match.ours is not None and match.how not in ("same name", "same name but for case")
    ]
    notes += [f"left out: {plural(number, 'image')} ({reason})" for reason, number in facts.excluded.items()]
    if absent := [name for index, name in enumerate(classes) if index not in set(chosen.labels.tolist())]:
        notes.append(f"no scored image is of {', '.join(absent)}")
    notes.append(facts.near_duplicates)
    if facts.other_views is not None:
        notes.append(facts.other_views)
    if facts.doubtful:
        notes.append(f"{plural(len(facts.doubtful), 'doubtful pair')} with training images; see {EVALUATION_FILE}")
    return tuple(notes)
