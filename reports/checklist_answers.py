"""What a run can say to the items of reporting checklists, each fact written once for all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reports.checklist import Answer, Reported
from reports.citations import Citations
from reports.methods_analysis import CALIBRATORS, MEASURES
from reports.methods_data import division_text
from reports.methods_training import augmentation_words, resampling_words
from reports.validation_part import purpose
from reports.wording import count, listing, percent, plural

_MARK = re.compile(r" \[[\d, ]+\]")


def say(words: str) -> Answer:
    """Return an answer that is the same for every run."""
    return lambda _: words


def see(*names: str) -> Answer:
    """Return an answer that points to sections."""
    return lambda reported: reported.see(*names)


def aim(reported: Reported) -> str:
    """Say what was developed and how it was checked."""
    study = reported.study
    how = "one held-out test part" if study.holdout else f"{study.folder.folds.n_folds}-fold cross-validation"
    return (
        f"{plural(len(study.backbones), 'network')} and {plural(len(study.ensembles), 'ensemble')} were developed and "
        f"validated internally by {how}."
    )


def source(reported: Reported) -> str:
    """Name the data."""
    study = reported.study
    data = study.folder.record.data
    if study.demo:
        return "Pictures that hamcv drew for a demonstration; no patients."
    name = "HAM10000 (Tschandl et al., Sci Data 2018;5:180161)" if study.ham10000 else data.name
    return f"{name}: {plural(data.n_images, 'image')} of {plural(data.n_lesions, 'lesion')}."


def inclusion(reported: Reported) -> str:
    """Say which part of the data was used."""
    settings = reported.study.settings
    if settings.limit_lesions is not None:
        return f"A random subset of about {count(settings.limit_lesions)} lesions of the data set, class by class."
    if settings.unit == "lesion":
        return "One image of every lesion, the first by image id."
    return "All images with a diagnosis; none was left out for how it looks."


def preprocessing(reported: Reported) -> str:
    """Say what was done to the images and how the data were checked."""
    size = reported.study.settings.training.image_size
    return (
        f"Images scaled to {size} × {size} pixels and normalised, the same for all. Every row of the metadata was "
        "checked before training: missing or unreadable files, repeated ids, lesions with two diagnoses."
    )


def augmentation(reported: Reported) -> str:
    """Say how training images were changed."""
    return _without_marks(augmentation_words(reported.study.settings.training.augmentation, Citations()))


def outcome(reported: Reported) -> str:
    """Name what is predicted."""
    return f"The diagnosis that the data give to a lesion: {listing(reported.study.evaluation.classes)}."


def predictors(reported: Reported) -> str:
    """Name what it is predicted from."""
    clinical = "stack_meta" in reported.study.ensembles
    return "The pixels of one image" + (
        "; stack_meta alone also uses age, sex and body site." if clinical else "; no other variable."
    )


def clinical_missing(reported: Reported) -> str:
    """Say what becomes of missing values."""
    if "stack_meta" in reported.study.ensembles:
        return "No image was left out for a missing age, sex or body site; stack_meta takes such a value as not known."
    return "No model uses a variable that can be missing; images without age, sex or body site were kept."


def sample_size(reported: Reported) -> str:
    """Give the size of the data and of the smallest class."""
    data = reported.study.folder.record.data
    rarest = min(data.images_per_class, key=lambda name: data.images_per_class[name])
    return (
        f"No calculation was made. The smallest class, {rarest}, has "
        f"{plural(data.images_per_class[rarest], 'image')} of {plural(data.lesions_per_class[rarest], 'lesion')}."
    )


def division(reported: Reported) -> str:
    """Say how the data were divided."""
    return _without_marks(division_text(reported.study, Citations()))


def level_of_division(reported: Reported) -> str:
    """Say what no two parts share."""
    if reported.study.leaks:
        return "Images: some lesions have images in several parts, so that the scores are too good."
    return "Lesions, those merged as showing one counted as one. Patients are not known to the run."


def model_building(reported: Reported) -> str:
    """Say how the model was chosen."""
    settings = reported.study.settings.training
    part = "the validation part" if reported.study.holdout else "an inner validation part of the training folds"
    kept = "the last was kept" if settings.monitor == "last" else f"the best was chosen on {part}"
    return (
        f"Networks with a new last layer, trained for at most {plural(settings.most_epochs, 'epoch')}, of which "
        f"{kept}; penalties of ensembles were chosen by inner cross-validation. All other settings were "
        f"the same for all {'networks' if reported.study.holdout else 'folds'}."
    )


def architecture(reported: Reported) -> str:
    """Name the networks."""
    return f"{listing(reported.study.backbones)}, with weights, classes and preprocessing in the bundle."


def starting_weights(reported: Reported) -> str:
    """Say what training started from."""
    weights = reported.study.folder.record.weights
    return {"imagenet": "The library’s ImageNet weights; the last layer at random.", "none": "At random."}.get(
        weights, f"Weights in the {weights}; the last layer at random."
    )


def ensembling(reported: Reported) -> str:
    """Say how networks are combined."""
    ensembles = reported.study.ensembles
    if not ensembles:
        return "None."
    where = "on the validation part" if reported.study.holdout else "on the other folds"
    return f"{listing(ensembles)}; whatever they learn was fitted {where}."


def imbalance(reported: Reported) -> str:
    """Say what was done about classes of different size."""
    settings = reported.study.settings
    adjusted = (
        " Probabilities were then adjusted to the natural class shares" if settings.training.balancing_power else ""
    )
    words, _ = CALIBRATORS[settings.ensemble.calibration]
    calibrated = f"{' and' if adjusted else ' Probabilities were'} calibrated by {words}" if words else ""
    ending = "." if adjusted or calibrated else ""
    weighted = " The loss weights each image inversely to the size of its class."
    shown = _without_marks(resampling_words(settings.training, Citations()))
    return f"{shown}{weighted if settings.training.class_weights == 'balanced' else ''}{adjusted}{calibrated}{ending}"


def output(reported: Reported) -> str:
    """Say what the model returns."""
    study = reported.study
    sets = (
        f" and a prediction set with a nominal coverage of {percent(study.settings.ensemble.coverage)}"
        if study.evaluation.prediction_sets is not None
        else ""
    )
    return (
        f"A probability for each of {plural(len(study.evaluation.classes), 'class', 'classes')}, the most probable "
        f"class{sets}. No threshold was chosen for use."
    )


def measures(reported: Reported) -> str:
    """Name scores and plots."""
    first = next(iter(reported.study.evaluation.models.values()))
    named = listing([words for metric, words in MEASURES.items() if metric in first.overall])
    return f"{named[0].upper()}{named[1:]}; ROC and precision-recall curves, reliability diagrams, confusion matrices."


def uncertainty(reported: Reported) -> str:
    """Name intervals and tests."""
    resamples = count(reported.study.settings.report.resamples)
    tests = "; differences are paired, with p-values adjusted by Holm’s method" if _compared(reported) else ""
    return f"95 % intervals from {resamples} bootstrap resamples of lesions{tests}."


def _compared(reported: Reported) -> bool:
    return bool(reported.study.evaluation.comparisons or reported.study.evaluation.tests)


def sensitivity(reported: Reported) -> str:
    """Name what was repeated in another way."""
    evaluation = reported.study.evaluation
    done = [
        *([f"{evaluation.repeats.n} repetitions on other folds"] if evaluation.repeats is not None else []),
        *(["a nested estimate of the ensembles"] if evaluation.nested is not None else []),
        *(["folds that ignore lesions, for comparison"] if evaluation.inflation is not None else []),
    ]
    if not done:
        return ""
    words = listing(done)
    return f"{words[0].upper()}{words[1:]}."


def clusters(reported: Reported) -> str:
    """Say what is known about differences between places."""
    if reported.study.holdout:
        return "Not examined: the run knows no centre or camera."
    return f"{reported.see('spread')} The run knows no centre or camera.".strip()


def software(reported: Reported) -> str:
    """Name program and machine."""
    record = reported.study.folder.record
    names = [name for name in ("hamcv", "python", "torch", "torchvision", "scikit-learn") if name in record.versions]
    versions = ", ".join(f"{name} {record.versions[name]}" for name in names)
    revision = f", revision {record.git_revision}" if record.git_revision else ""
    return f"{versions}{revision}; {record.device.name}. {reported.see('run')}".strip()


def data_available(reported: Reported) -> str:
    """Say where the data are to be had, where that is known."""
    if reported.study.demo:
        return "The pictures are made anew by `hamcv data demo`."
    if reported.study.ham10000:
        return "HAM10000 is public: doi:10.7910/DVN/DBW86T, CC BY-NC 4.0."
    return ""


def unusual_images(reported: Reported) -> str:
    """Say what becomes of images that are unlike those of the training."""
    refused = "Files that cannot be decoded are refused."
    if reported.study.evaluation.warnings is None:
        return refused
    return f"{refused} Images unlike those of the training, or that split the members, are given a warning."


def explanations(reported: Reported) -> str:
    """Point to the maps, or say that there are none."""
    if not reported.maps:
        return "None in this run’s report: it shows no maps of what the networks looked at."
    return f"Grad-CAM maps of errors and disagreements. {reported.see('gallery')}"


def counts_of_parts(reported: Reported) -> str:
    """Give the sizes of what was fitted, validated and scored on."""
    histories = reported.study.folder.histories
    if not histories:
        return ""
    ranges = [
        _range([getattr(history.details, name) for history in histories])
        for name in ("n_train", "n_validation", "n_held_out")
    ]
    training = reported.study.settings.training
    return (
        f"Each network: {ranges[0]} images to fit weights, {ranges[1]} {purpose(training)}, {ranges[2]} held out. "
        f"Scored: {plural(reported.study.evaluation.n_images, 'image')}."
    )


def _range(values: list[int]) -> str:
    least, most = min(values), max(values)
    return count(least) if least == most else f"{count(least)} to {count(most)}"


def _without_marks(text: str) -> str:
    """Leave out citations, whose list stands elsewhere."""
    return _MARK.sub("", text)


ANSWERS: Mapping[str, Answer] = {
    "technology": say(
        "Deep learning: convolutional or transformer networks for image classification, and ensembles of them."
    ),
    "internal": say("Evaluated on parts of the same data set only."),
    "research": say("Research software, no medical device, not for decisions about patients."),
    "code": say(
        "hamcv, Apache-2.0; `hamcv run --recipe config.toml` with the settings of this report repeats the run."
    ),
    "prediction": say(
        "`hamcv predict` with the bundle in the folder predictor: weights, preprocessing and combiner, with checksums."
    ),
    **{
        answer.__name__: answer
        for answer in (
            aim, source, inclusion, preprocessing, augmentation, outcome, predictors, clinical_missing, sample_size,
            division, level_of_division, model_building, architecture, starting_weights, ensembling, imbalance, output,
            measures, uncertainty, sensitivity, clusters, software, data_available, unusual_images, explanations,
            counts_of_parts,
        )
    },
}  # fmt: skip
"""Name to answer, for the tables of the checklists."""
