"""Scores and reports of predictions from elsewhere: the same metrics, intervals and pages, without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cv_folds.errors import UsageError
from cv_folds.files import write_json
from ensemble.predictions import Predictions
from reports import evaluation as scoring
from reports.attributes import Attribute
from reports.document import Paragraph
from reports.given import Given, check_given
from reports.given_subgroups import given_attributes
from reports.given_table import read_columns
from reports.malignant import malignant_classes
from reports.measure_subgroups import measure_subgroups
from reports.origin import Origin, build_origin_document
from reports.results import Evaluation
from reports.settings import ReportSettings
from reports.subgroups import Subgroups
from reports.wording import count, listing, plural
from reports.write import refuse_other_content, write_document

METRICS_FILE = "metrics.json"

_NOT_KNOWN = Paragraph(
    title="Limits.",
    text="For research only. The predictions were taken as they are. Whether the models had seen the images, their "
    "lesions or near-duplicates of them in training, and whether anything was chosen on these images, is not known "
    "here; if so, every score is too good.",
)


def evaluate(
    labels: ArrayLike,
    probabilities: ArrayLike | Mapping[str, ArrayLike] | Mapping[str, Mapping[str, str]],
    groups: ArrayLike | None = None,
    *,
    table: str | Path | pd.DataFrame | None = None,
    classes: Sequence[str] | None = None,
    images: ArrayLike | None = None,
    subgroups: Mapping[str, ArrayLike] | pd.DataFrame | Sequence[str] | None = None,
    name: str = "model",
    out: str | Path | None = None,
    formats: Sequence[Literal["html", "pdf"]] = ("html", "pdf"),
    title: str = "Evaluation of given predictions",
    date: datetime | None = None,
    malignant: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Score predictions of any program, and write a report of them on request.

    Parameters
    ----------
    labels : (n,) array, or str
        True classes: names, or column numbers counted from 0. With `table`, the name of the column.
    probabilities : (n, c) array, mapping of model name to such arrays
        Rows that sum to 1. With two classes, (n,) probabilities of the second will do. Several models are compared,
        paired. With `table`: a mapping of class to column, of model name to such mappings, or a list of columns.
    groups : (n,) array, or str, optional
        What the intervals resample as a whole: the lesion, or the patient. Without, every row is on its own.
    table : str, Path or pandas.DataFrame, optional
        A CSV file of some other tool whose columns the arguments then name.
    classes : sequence of str, optional
        Names of the columns of `probabilities`, in their order. Without: the classes that a mapping of columns names,
        or the labels that occur, sorted, when there are as many as columns (scikit-learn's ``classes_``).
    images : (n,) array, or str, optional
        Unique names of the rows.
    subgroups : mapping of str to (n,) array, or pandas.DataFrame, optional
        What divides the rows into groups that are scored apart, as sex, age and body site do in the report of a run:
        name to values. ``age`` holds years and is divided into the bands of `reports.attributes.AGE_BANDS`; any other
        column is divided by value, the rarest taken together where there are more than 20. Nothing, NaN and
        ``unknown`` are a group of their own. With `table`: a mapping of name to column, or a list of columns.
    name : str
        What a single model is called.
    out : str or Path, optional
        Folder for ``metrics.json``, the report, its figures and tables: new, empty, or with an earlier evaluation.
    formats : sequence of {"html", "pdf"}
        Which reports are written to `out`.
    title : str
        Of the report.
    date : datetime, optional
        Of the report; now when not given. The same input with the same date gives the same bytes.
    malignant : sequence of str, optional
        Classes that are set against the others as malignant; those of `ReportSettings` when not given.
    resamples : int
        Resamples behind every interval, 100 or more.
    seed : int
        Of the resamples.

    Returns
    -------
    Evaluation
        Metrics, intervals and comparisons as of a run; `Evaluation.to_json` gives the content of ``metrics.json``.
        An undefined value is None and has a reason.

    Raises
    ------
    UsageError
        When the arguments do not fit together, or `out` holds something else. It is a `ValueError`.
    DataError
        When rows hold no label, no probabilities summing to 1, no group or no age: all such rows are named. It is a
        `ValueError`. Rows that miss 1 by up to 0.01, as printed decimals do, are divided by their sum.

    Examples
    --------
    >>> from reports import evaluate
    >>> scores = evaluate(["nv", "mel", "nv"], [[0.1, 0.9], [0.7, 0.3], [0.2, 0.8]], ["a", "b", "c"])
    >>> scores.classes, scores.models["model"].overall["accuracy"].value
    (('mel', 'nv'), 1.0)
    """
    if resamples < 100:
        raise UsageError(f"resamples={resamples}: an interval needs at least 100")
    if unknown := [form for form in formats if form not in ("html", "pdf")]:
        raise UsageError(f"formats: {', '.join(unknown)}: there are html and pdf")
    folder = None if out is None else Path(out)
    if folder is not None:
        refuse_other_content(folder, marker=METRICS_FILE)
    given, dividing = _given(labels, probabilities, groups, images, classes, subgroups, table=table, name=name)
    settings = ReportSettings(resamples=resamples)
    if malignant is not None:
        if absent := [name for name in malignant if name not in given.predictions.classes]:
            names = ", ".join(given.predictions.classes)
            raise UsageError(f"malignant: {', '.join(absent)}: the classes are {names}")
        settings = ReportSettings(resamples=resamples, malignant=tuple(malignant))
    generator = np.random.default_rng(seed)
    scores = scoring.evaluate(given.predictions, demo=False, settings=settings, generator=generator)
    scores = replace(
        scores,
        protocol="given",
        subgroups=_subgroups(given.predictions, dividing, settings, seed) if dividing else None,
    )
    if folder is not None:
        write_json(folder / METRICS_FILE, scores.to_json())
        # A PDF knows no fractions of a second.
        when = (date or datetime.now(UTC)).replace(microsecond=0)
        origin = _origin(given, title=title, date=when, resamples=resamples, seed=seed, table=table)
        write_document(folder, build_origin_document(origin, scores, given.predictions), formats)
    return scores


def _given(
    labels: ArrayLike,
    probabilities: ArrayLike | Mapping[str, ArrayLike] | Mapping[str, Mapping[str, str]],
    groups: ArrayLike | None,
    images: ArrayLike | None,
    classes: Sequence[str] | None,
    subgroups: Mapping[str, ArrayLike] | pd.DataFrame | Sequence[str] | None,
    *,
    table: str | Path | pd.DataFrame | None,
    name: str,
) -> tuple[Given, tuple[Attribute, ...]]:
    if table is not None:
        columns = read_columns(
            table,
            labels=labels,
            probabilities=probabilities,
            groups=groups,
            images=images,
            name=name,
            subgroups=subgroups,
        )
        if classes is not None and isinstance(probabilities, Mapping) and tuple(classes) != columns.classes:
            raise UsageError("the mapping of columns names the classes already; leave `classes` out")
        named = columns.classes if classes is None else classes
        given = check_given(columns.labels, columns.models, columns.groups, columns.images, named, where=columns.where)
        return given, given_attributes(columns.subgroups, given.predictions.lesion_ids, where=columns.where)
    if isinstance(labels, str):
        raise UsageError(f"labels={labels!r}: columns are named together with table=FILE")
    models = cast(
        "Mapping[str, ArrayLike]", probabilities if isinstance(probabilities, Mapping) else {name: probabilities}
    )
    if subgroups is not None and not isinstance(subgroups, Mapping | pd.DataFrame):
        raise UsageError("subgroups must map each name to its values; columns are named together with table=FILE")

    def where(row: int) -> str:
        return f"row {row} (counted from 0)"

    given = check_given(labels, models, groups, images, classes, where=where)
    dividing = {} if subgroups is None else {str(title): values for title, values in subgroups.items()}
    return given, given_attributes(dividing, given.predictions.lesion_ids, where=where)


def _subgroups(
    predictions: Predictions, attributes: Sequence[Attribute], settings: ReportSettings, seed: int
) -> Subgroups:
    return measure_subgroups(
        predictions,
        attributes,
        tuple(predictions.probabilities),
        malignant_classes(predictions.classes, settings.malignant),
        resamples=settings.resamples,
        # A generator of its own in the same state: the resamples are those of the scores.
        generator=np.random.default_rng(seed),
    )


def _origin(
    given: Given,
    *,
    title: str,
    date: datetime,
    resamples: int,
    seed: int,
    table: str | Path | pd.DataFrame | None,
) -> Origin:
    predictions = given.predictions
    models, n_images = list(predictions.probabilities), len(predictions.image_ids)
    source = "arrays" if table is None else "a data frame" if isinstance(table, pd.DataFrame) else Path(table).name
    n_groups = len(np.unique(predictions.groups))
    return Origin(
        title=title,
        subtitle=f"{source}: {listing(models)}" if table is not None else listing(models),
        date=date,
        warnings=(),
        notes=given.notes,
        account=(
            (
                f"The predictions of {plural(len(models), 'model')} ({listing(models)}) were given, for "
                f"{plural(n_images, 'image')} in {plural(len(predictions.classes), 'class', 'classes')} and "
                f"{plural(n_groups, 'group')}. What is called a lesion in this report is a group as it was given."
            ),
        ),
        data=(),
        facts=(
            ("Predictions", source),
            ("Models", listing(models)),
            ("Resamples of the intervals", count(resamples)),
            ("Seed of the resamples", str(seed)),
        ),
        method=(_NOT_KNOWN,),
        resamples=resamples,
    )
