"""The methods text says what the run did, and cites it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from cv_folds.leakage import Leakage
from cv_folds.splits import Folds
from cv_folds.training.backbones import backbone_names
from ensemble.settings import CalibratorName, CombinerName
from reports.citations import Citations, all_references
from reports.document import Excerpt, Group, Section
from reports.families import Family
from reports.methods_analysis import CALIBRATORS, COMBINERS
from reports.methods_section import methods_section
from reports.methods_training import SOURCES
from reports.results import Inflation, Nested, Repeats
from reports.run_folder import RunFolder, read_run_folder
from reports.study import Study


@pytest.fixture(scope="module")
def folder(run: Any) -> RunFolder:
    return read_run_folder(run.path, run.evaluation.classes)


@pytest.fixture
def section_of(run: Any, folder: RunFolder) -> Callable[..., Section]:
    """Return a function that writes the section for other settings, record or scores."""

    def write(settings: dict[str, Any] | None = None, *, weights: str = "imagenet", **changes: Any) -> Section:
        evaluation = replace(run.evaluation, **{key: changes.pop(key) for key in set(changes) & EVALUATED})
        record = changes.pop("record", folder.record).model_copy(update={"weights": weights})
        changed = replace(folder, settings={**folder.settings, **(settings or {})}, record=record, **changes)
        return methods_section(Study.of(changed, evaluation))

    return write


EVALUATED = {"repeats", "nested", "inflation", "tests", "comparisons", "demo"}


def excerpts(section: Section) -> dict[str, str]:
    parts = [part for block in section.blocks for part in (block.blocks if isinstance(block, Group) else (block,))]
    return {part.name: part.text for part in parts if isinstance(part, Excerpt)}


def words(section: Section) -> str:
    return excerpts(section)["methods-text"]


def test_every_citation_has_its_reference_in_the_order_of_the_text(section_of: Callable[..., Section]) -> None:
    parts = excerpts(section_of())
    cited = [int(n) for mark in re.findall(r"\[([\d, ]+)\]", parts["methods-text"]) for n in mark.split(", ")]
    listed = [int(line.partition(".")[0]) for line in parts["methods-references"].split("\n\n")]
    assert list(dict.fromkeys(cited)) == listed == list(range(1, len(listed) + 1))
    assert len(re.findall(r"^@", parts["methods-bibtex"], re.MULTILINE)) == len(listed)


def test_every_entry_of_the_list_can_be_written_out() -> None:
    references = all_references()
    for key, reference in references.items():
        assert re.fullmatch(r"[^{}]+ \d{4}(; \d+)?(: [\w–]+)?\.( doi:10\.\S+)?", reference.text), key
        assert reference.bibtex.count("{") == reference.bibtex.count("}")
    sources = {source for _, named in (*COMBINERS.values(), *CALIBRATORS.values()) for source in named}
    assert (sources | set(SOURCES.values())) <= references.keys()
    assert set(COMBINERS) == set(get_args(CombinerName))
    assert set(CALIBRATORS) == set(get_args(CalibratorName))


def test_authors_are_written_as_in_medical_journals() -> None:
    references = all_references()
    assert references["delong1988"].text.startswith("DeLong ER, DeLong DM, Clarke-Pearson DL. ")
    assert references["huang2017"].text.startswith("Huang G, Liu Z, van der Maaten L, Weinberger KQ. ")
    assert references["pedregosa2011"].text.startswith("Pedregosa F, Varoquaux G, Gramfort A, et al. ")
    assert "and others" in references["pedregosa2011"].bibtex


def test_a_source_keeps_its_number() -> None:
    cite = Citations()
    assert [cite("holm1979"), cite("guo2017"), cite("holm1979", "guo2017")] == ["[1]", "[2]", "[1, 2]"]
    assert [source.key for source in cite.cited] == ["holm1979", "guo2017"]
    with pytest.raises(KeyError):
        cite("nobody1900")


def test_the_usual_run_is_described(section_of: Callable[..., Section], folder: RunFolder) -> None:
    text = words(section_of())
    assert "The data are the HAM10000 collection of dermatoscopic images [1]" in text
    assert f"fingerprint of the data {folder.record.data.fingerprint[:12]}" in text
    assert "4-fold cross-validation, stratified by diagnosis, with all images of a lesion in the same fold" in text
    assert "1 pair of images under different lesion ids was taken to show one lesion" in text
    assert "one part in 8, stratified and grouped by lesion, was set aside to choose the epoch" in text
    assert "torchvision’s ImageNet weights" in text
    assert "at most 6 epochs in batches of 32 with AdamW" in text
    assert "cross-fitted" in text
    assert "2\N{NARROW NO-BREAK SPACE}000 bootstrap resamples of lesions" in text
    assert "adjusted by Holm’s method" in text
    assert "hamcv 0.1.0, Python 3.11.9 and PyTorch 2.15.0 on Some CPU; seed 3" in text


CHANGES = [
    ({"training.resampling": "none"}, "Classes were shown as often as they are", "adjusted to the natural"),
    ({"training.resampling": "over"}, "random over-sampling (imbalanced-learn", "with replacement"),
    ({"training.resampling_exponent": 0.5}, "to the power of −0.5", "equally often"),
    ({"training.schedule": "cosine"}, "cosine schedule", "one-cycle"),
    ({"training.label_smoothing": 0.0}, "minimising the cross-entropy, in", "label smoothing"),
    ({"training.ema_decay": 0.99}, "exponential moving average", "Nothing else"),
    ({"training.mixup": 0.2, "training.cutmix": 1.0}, "mixup [", "Training images were not"),
    ({"training.patience": 3}, "ended after 3 epochs without an improvement", "went through all epochs"),
    ({"training.patience": 9}, "went through all epochs", "without an improvement"),
    ({"training.schedule": "constant"}, "at a constant learning rate", "schedule"),
    ({"training.optimiser": "adam"}, "with Adam [", "AdamW"),
    ({"training.optimiser": "sgd", "training.nesterov": True}, "Nesterov’s momentum of 0.9", "AdamW"),
    ({"training.gradient_clip": 0.0}, "normalisation layers) on", "gradient norm"),
    ({"training.loss": "focal"}, "the focal loss [", "cross-entropy with"),
    ({"training.class_weights": "balanced"}, "weighted inversely to the size of its class, with label", "Nothing else"),
    (
        {"training.monitor": "macro_f1"},
        "the highest macro F1 on the inner validation part were kept",
        "temperature that",
    ),
    ({"training.monitor": "last"}, "The weights of the last epoch were kept", "an improvement"),
    ({"training.normalisation": "data"}, "deviations of the images that the network was fitted on", "of ImageNet"),
    ({"training.validation_spins": 4}, "averaged over 4 random flips and turns.", "Each scored image"),
    ({"training.held_out_spins": 8}, "predicted as the mean over 8 random flips", "of validation images were averaged"),
    ({"training.augmentation.hue": 0.05}, "turned in hue by up to 18° either way", "blurred"),
    ({"training.augmentation.blur": 0.3}, "blurred with probability 0.3 (standard deviation of 0.1 to 2", "hue"),
    ({"training.augmentation.sharpness": 0.2}, "in sharpness with probability 0.2 (factor of 1 to 2)", "rectangle"),
    ({"training.augmentation.erasing": 0.5}, "by a rectangle of 2 % to 40 % of their area with prob", "sharpness"),
    ({"unit": "lesion"}, "Of each lesion one image was used, the first by image id.", "Nothing else"),
    ({"training.image_size": 96}, "96 × 96 pixels", "224"),
    ({"ensemble.calibration": "none"}, "were not calibrated further", "temperature scaling"),
    ({"ensemble.calibration": "isotonic"}, "isotonic regression", "temperature scaling"),
    ({"audit.near_duplicates": False}, "Near-duplicates under different lesion ids were not searched", "SIFT"),
    ({"stratify": ["sex", "localization"]}, "stratified by diagnosis, sex and body site", "by diagnosis, with"),
    ({"folds_file": "/data/secret/folds.csv"}, "on folds that were made elsewhere; no lesion", "StratifiedGroupKFold"),
    ({"limit_lesions": 500}, "random subset of the lesions", "Nothing else"),
    ({"report.resamples": 500}, "from 500 bootstrap resamples", "2\N{NARROW NO-BREAK SPACE}000"),
]


@pytest.mark.parametrize(("settings", "said", "unsaid"), CHANGES, ids=[str(change[0]) for change in CHANGES])
def test_the_text_follows_the_settings(
    section_of: Callable[..., Section], settings: dict[str, Any], said: str, unsaid: str
) -> None:
    text = words(section_of(settings))
    assert said in text
    assert said not in words(section_of()) or said == "went through all epochs"
    assert unsaid not in text
    assert "secret" not in text


def test_augmentation_that_is_off_is_not_claimed(section_of: Callable[..., Section]) -> None:
    off = dict.fromkeys(
        ("horizontal_flip", "vertical_flip", "rotation", "zoom", "shift", "brightness", "contrast", "saturation"), 0.0
    )
    one = {**off, "rotation": 30.0, "contrast": 0.1, "saturation": 0.1, "brightness": 0.3}
    named = {f"training.augmentation.{name}": value for name, value in off.items()}
    assert "Training images were not augmented." in words(section_of(named))
    text = words(section_of({f"training.augmentation.{name}": value for name, value in one.items()}))
    assert (
        "each time they were shown: rotated by up to 30° either way, changed in contrast and saturation by up to 10 % "
        "and changed in brightness by up to 30 %." in text
    )


def test_phases_are_described_one_by_one(section_of: Callable[..., Section]) -> None:
    first = {"epochs": 2, "learning_rate": 0.001, "trained": "head", "batch_norm": "frozen"}
    second = {"epochs": 9, "learning_rate": 0.0002, "trained": 0.75}
    text = words(section_of({"training.phases": [first, second], "training.patience": 4}))
    assert "at most 11 epochs in batches of 32" in text
    assert (
        "Training had 2 phases: (1) at most 2 epochs at a peak learning rate of 0.001, only the last layer was "
        "trained, batch normalisation was frozen; (2) at most 9 epochs at a peak learning rate of 0.0002, only the "
        "last 75 % of the layers were trained." in text
    )
    assert "A phase ended after 4 epochs without an improvement" in text
    alone = words(section_of({"training.phases": [first]}))
    assert "peak learning rate 0.001, weight decay" in alone
    assert "Only the last layer was trained, batch normalisation was frozen." in alone
    assert "phases" not in alone


def test_weights_are_those_of_the_run(section_of: Callable[..., Section]) -> None:
    scratch = words(section_of(weights="none"))
    assert "All layers started from random weights" in scratch
    assert "peak learning rate 0.003" in scratch
    assert "torchvision’s ImageNet" not in scratch
    own = words(section_of(weights="folder my-weights"))
    assert "weights in the folder my-weights [what they were trained on is to be filled in by the authors]" in own
    assert "peak learning rate 0.0005" in own


def test_networks_of_timm_are_not_called_torchvisions(run: Any, folder: RunFolder) -> None:
    scores = run.evaluation.models
    models = {
        "timm:convnextv2_atto": replace(scores["resnet50"], name="timm:convnextv2_atto"),
        "stack": scores["stack"],
    }
    text = words(methods_section(Study.of(folder, replace(run.evaluation, models=models))))
    assert "Network: timm:convnextv2_atto, as implemented in timm [" in text
    assert "torchvision" not in text
    assert "the weights that these libraries bring" in text


def test_other_data_are_not_called_ham10000(section_of: Callable[..., Section], folder: RunFolder) -> None:
    data = folder.record.data.model_copy(update={"name": "hospital"})
    text = words(section_of(record=folder.record.model_copy(update={"data": data})))
    assert "The data set hospital [source to be cited by the authors] has" in text
    assert "HAM10000" not in text
    assert "hamcv drew them" in words(section_of(demo=True))
    assert "dermatoscopic" not in words(section_of(demo=True))


def test_a_fixed_division_is_described(section_of: Callable[..., Section], folder: RunFolder) -> None:
    parts = Folds(
        image_ids=folder.folds.image_ids,
        lesion_ids=folder.folds.lesion_ids,
        groups=folder.folds.groups,
        labels=folder.folds.labels,
        classes=folder.folds.classes,
        folds=np.minimum(folder.folds.folds, 2),
        n_folds=3,
        holdout=True,
    )
    settings = {"protocol": "holdout", "split": [50, 25, 25]}
    text = words(section_of(settings, folds=parts))
    single = words(section_of({**settings, "holdout": "single_image"}, folds=parts))
    assert "only lesions with a single image in validation and test part" in single
    by_image = words(section_of({**settings, "holdout": "image"}, folds=parts))
    assert ", image by image, whatever lesion they show." in by_image
    assert "same part" not in by_image
    assert "divided once (50/25/25 %, stratified by diagnosis, seed 3) into parts for training (" in text
    assert "test part was predicted once, after training" in text
    assert "fitted on the validation part" in text
    assert "computed on the test part" in text
    assert "fold" not in text.replace("folder", "").replace("CV folds", "")


def test_further_trainings_are_described(section_of: Callable[..., Section]) -> None:
    assert "carried out 3 times with other folds" in words(section_of(repeats=Repeats(n=3, models={})))
    assert "each of the 6 pairs of folds" in words(section_of(nested=Nested(n_folds=4, models={})))
    inflated = words(section_of(inflation=Inflation(n_images=9, n_shared=2, models={})))
    assert "also trained on stratified folds of images" in inflated
    plain = words(section_of())
    assert "times with other folds" not in plain
    assert "pairs of folds" not in plain
    assert "folds of images" not in plain


def test_allowed_leakage_is_admitted(section_of: Callable[..., Section], folder: RunFolder) -> None:
    leakage = Leakage(groups=2, images=40, n_groups=160, n_images=320)
    audit = folder.audit.model_copy(update={"allowed_leakage": leakage})
    text = words(section_of({"folds_file": "folds.csv"}, audit=audit))
    assert (
        "This division leaks: images of 2 lesions or merged groups (12.5 % of the images) stand in several folds, so "
        "that all scores are too good." in text
    )
    assert "no lesion has images in two" not in text


def test_only_tests_that_were_made_are_named(section_of: Callable[..., Section]) -> None:
    alone = words(section_of())
    assert "DeLong" not in alone
    assert "McNemar" not in alone
    families = tuple(
        Family(method=method, metric="accuracy", unit="lesion", pairs=()) for method in ("delong", "mcnemar")
    )
    both = words(section_of(tests=families))
    assert "DeLong’s test" in both
    assert "McNemar’s exact test" in both
    assert "t-test" not in both
    assert "compared in pairs" not in words(section_of(comparisons=()))


@pytest.mark.parametrize("name", backbone_names())
def test_every_network_has_one_source(name: str) -> None:
    assert len([prefix for prefix in SOURCES if name.startswith(prefix)]) == 1
