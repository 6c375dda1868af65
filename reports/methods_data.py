"""Sentences for a methods section: the data, and how they were divided."""

from __future__ import annotations

from reports.citations import Citations
from reports.study import Study
from reports.validation_part import purpose
from reports.wording import count, listing, percent, plural

_TOGETHER = {
    "lesion": ", with all images of a lesion in the same part",
    "single_image": ", with all images of a lesion in the same part and only lesions with a single image in validation "
    "and test part",
    "image": ", image by image, whatever lesion they show",
}
"""By `RunSettings.holdout`."""

_COLUMNS = {"dx_type": "the kind of confirmation", "sex": "sex", "localization": "body site"}


def data_text(study: Study, cite: Citations) -> str:
    """Return what was learned from."""
    data, settings = study.folder.record.data, study.settings
    counts = listing([f"{name} {count(n)}" for name, n in data.images_per_class.items()])
    amount = (
        f"{plural(data.n_images, 'image')} of {plural(data.n_lesions, 'lesion')} in "
        f"{plural(len(data.images_per_class), 'class', 'classes')} ({counts} images; "
        f"fingerprint of the data {data.fingerprint[:12]})"
    )
    if study.demo:
        source = f"The images are no photographs: hamcv drew them for a demonstration, {amount}."
    elif study.ham10000:
        source = f"The data are the HAM10000 collection of dermatoscopic images {cite('tschandl2018')}: {amount}."
    else:
        source = f"The data set {data.name} [source to be cited by the authors] has {amount}."
    if settings.limit_lesions is not None:
        source += " They are a random subset of the lesions of the data set, drawn class by class."
    if settings.unit == "lesion":
        source += " Of each lesion one image was used, the first by image id."
    return f"{source} {_lesions(study, cite)}"


def _lesions(study: Study, cite: Citations) -> str:
    merged = study.folder.audit.merged_pairs
    found = (
        f"{plural(len(merged), 'pair')} of images under different lesion ids "
        f"{'was' if len(merged) == 1 else 'were'} taken to show one lesion, which left "
        f"{plural(study.n_groups, 'group')} of images"
        if merged
        else "no such pair was found"
    )
    if study.settings.near_duplicates:
        search = (
            "Different lesion ids whose images are identical files, or near-duplicates, count as one lesion; "
            f"near-duplicates were searched for with SIFT features {cite('lowe2004')}, voting for a common motion, and "
            f"confirmed by comparing the aligned pixels: {found}."
        )
    else:
        search = (
            f"Different lesion ids whose images are identical files count as one lesion: {found}. Near-duplicates "
            "under different lesion ids were not searched for."
        )
    doubtful = study.folder.audit.doubtful_pairs
    if doubtful:
        search += f" {plural(len(doubtful), 'doubtful pair')} {'was' if len(doubtful) == 1 else 'were'} left apart."
    return search


def division_text(study: Study, cite: Citations) -> str:
    """Return how the images were divided, and what the validation part was for."""
    if study.holdout:
        return " ".join([_holdout(study), _leaking(study)]).strip()
    sentences = [
        _folds(study, cite),
        _leaking(study),
        _inner(study),
        _repeats(study, cite),
        _nested(study, cite),
        _inflation(study),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _stratified(study: Study) -> str:
    columns = ["diagnosis", *(_COLUMNS.get(name, name) for name in study.settings.stratify)]
    return f"stratified by {listing(columns)}"


def _folds(study: Study, cite: Citations) -> str:
    n = study.folder.folds.n_folds
    if study.settings.folds_from_file:
        together = "" if study.leaks else "; no lesion has images in two of them"
        return f"Models were evaluated by {n}-fold cross-validation on folds that were made elsewhere{together}."
    return (
        f"Models were evaluated by {n}-fold cross-validation, {_stratified(study)}, with all images of a lesion in the "
        f"same fold (StratifiedGroupKFold of scikit-learn {cite('pedregosa2011')}, seed {study.settings.seed})."
    )


def _holdout(study: Study) -> str:
    rows = dict(zip(study.folder.folds.names, study.folder.folds.table(), strict=True))
    words = {"train": "training", "validation": "validation", "test": "test"}
    parts = [
        f"{word} ({plural(rows[name]['images'], 'image')} of {plural(rows[name]['lesions'], 'lesion')})"
        for name, word in words.items()
    ]
    if study.settings.folds_from_file:
        how = "The images were divided by others, once, into parts for"
        together = "" if study.leaks else "; no lesion has images in two parts"
    else:
        aim = "/".join(map(str, study.settings.split))
        how = f"The images were divided once ({aim} %, {_stratified(study)}, seed {study.settings.seed}) into parts for"
        together = _TOGETHER[study.settings.holdout]
    return (
        f"{how} {listing(parts)}{together}. The validation part served {purpose(study.settings.training)} of every "
        "network, and all that the ensembles and the calibration learn was fitted on it; the test part was predicted "
        "once, after training."
    )


def _leaking(study: Study) -> str:
    leakage = study.folder.audit.allowed_leakage
    if leakage is None:
        return ""
    what = "parts" if study.holdout else "folds"
    return (
        f"This division leaks: images of "
        f"{plural(leakage.groups, 'lesion or merged group', 'lesions or merged groups')} "
        f"({percent(leakage.images / leakage.n_images, 1)} of the images) stand in several {what}, so that all scores "
        "are too good."
    )


def _inner(study: Study) -> str:
    training = study.settings.training
    return (
        f"Of the images outside the held-out fold, one part in {training.validation_parts}, stratified and grouped by "
        f"lesion, was set aside {purpose(training)}. The held-out fold had no part in training or in any choice and "
        "was predicted once, when training had ended."
    )


def _repeats(study: Study, cite: Citations) -> str:
    if (repeats := study.evaluation.repeats) is None:
        return ""
    return (
        f"The cross-validation was carried out {repeats.n} times with other folds and random numbers; scores, "
        "intervals and tests are those of the first, and mean and standard deviation over the repetitions describe the "
        f"variation of folds and training {cite('bengio2004')}."
    )


def _nested(study: Study, cite: Citations) -> str:
    if (nested := study.evaluation.nested) is None:
        return ""
    return (
        f"Each backbone was also trained without each of the {nested.n_pairs} pairs of folds, so that whatever an "
        "ensemble learns can be fitted on outputs of networks that had not seen the scored fold (nested estimate "
        f"{cite('varma2006')})."
    )


def _inflation(study: Study) -> str:
    if study.evaluation.inflation is None:
        return ""
    return (
        "To measure how much of the scores folds that ignore lesions would have added, the same networks were also "
        "trained on stratified folds of images; those scores are reported as a comparison only."
    )
