"""Sentences for a methods section: networks, weights and training."""

from __future__ import annotations

from cv_folds.training.backbone_names import is_timm
from cv_folds.training.settings import AugmentationSettings, TrainingSettings
from reports.citations import Citations
from reports.methods_course import choice_text, course_text
from reports.study import Study
from reports.wording import listing, percent

# The beginning of a torchvision name, and its paper.
SOURCES = {
    "alexnet": "krizhevsky2012",
    "convnext": "liu2022",
    "densenet": "huang2017",
    "efficientnet_b": "tan2019",
    "efficientnet_v2": "tan2021",
    "googlenet": "szegedy2015",
    "inception_v3": "szegedy2016",
    "maxvit": "tu2022",
    "mnasnet": "tanmnas2019",
    "mobilenet_v2": "sandler2018",
    "mobilenet_v3": "howard2019",
    "regnet": "radosavovic2020",
    "resnet": "he2016",
    "resnext": "xie2017",
    "shufflenet": "ma2018",
    "squeezenet": "iandola2016",
    "swin_": "liu2021",
    "vgg": "simonyan2015",
    "vit_": "dosovitskiy2021",
    "wide_resnet": "zagoruyko2016",
}


def networks_text(study: Study, cite: Citations) -> str:
    """Return which networks were trained, and what they started from."""
    names = [_backbone(name, cite) for name in study.backbones]
    size = study.settings.training.image_size
    what = "Network" if len(names) == 1 else "Networks"
    return (
        f"{what}: {listing(names)}, as implemented in {_libraries(study, cite)} for PyTorch {cite('paszke2019')}, "
        f"with a new last layer for the {len(study.evaluation.classes)} classes. "
        f"{_weights(study, cite)} Images were scaled to {size} × {size} pixels with antialiasing, without keeping "
        f"the aspect ratio, and normalised by the channel means and standard deviations of {_normalised_by(study)}."
    )


def _normalised_by(study: Study) -> str:
    own = study.settings.training.normalisation == "data"
    return "the images that the network was fitted on" if own else "ImageNet"


def _libraries(study: Study, cite: Citations) -> str:
    kinds = {is_timm(name) for name in study.backbones}
    named = [
        *([f"torchvision {cite('marcel2010')}"] if False in kinds else []),
        *([f"timm {cite('wightman2019')}"] if True in kinds else []),
    ]
    return listing(named)


def _backbone(name: str, cite: Citations) -> str:
    if is_timm(name):
        # Names of timm go on where those of the papers end: a beginning says little there.
        return name
    sources = [source for beginning, source in SOURCES.items() if name.startswith(beginning)]
    # One without a source here is one that torchvision gained later: the authors will know it.
    return f"{name} {cite(sources[0])}" if sources else name


def _weights(study: Study, cite: Citations) -> str:
    weights = study.folder.record.weights
    if weights == "imagenet":
        if any(map(is_timm, study.backbones)):
            return (
                "All other layers started from the weights that these libraries bring [what they were trained on is to "
                "be filled in by the authors]."
            )
        return f"All other layers started from torchvision’s ImageNet weights {cite('russakovsky2015')}."
    if weights == "none":
        return "All layers started from random weights; nothing was pretrained."
    return (
        f"All other layers started from weights in the {weights} [what they were trained on is to be filled in by the "
        "authors]."
    )


def training_text(study: Study, cite: Citations) -> str:
    """Return how the networks were trained."""
    settings = study.settings.training
    parts = [
        course_text(study, cite),
        resampling_words(settings, cite),
        augmentation_words(settings.augmentation, cite),
        _mixing(settings, cite),
        choice_text(study, cite),
    ]
    return " ".join(part for part in parts if part)


def resampling_words(settings: TrainingSettings, cite: Citations) -> str:
    """Return how often images of each class were shown."""
    match settings.resampling:
        case "weighted" if settings.resampling_exponent == 1:
            return "Images were drawn with replacement so that all classes are shown equally often."
        case "weighted":
            return (
                "Images were drawn with replacement, those of a class of n images with a weight of "
                f"n to the power of −{settings.resampling_exponent:g}."
            )
        case "over":
            return f"Classes were balanced by random over-sampling (imbalanced-learn {cite('lemaitre2017')})."
        case "under":
            return f"Classes were balanced by random under-sampling (imbalanced-learn {cite('lemaitre2017')})."
        case "none":
            return "Classes were shown as often as they are."


def augmentation_words(settings: AugmentationSettings, cite: Citations) -> str:
    """Return how training images were changed."""
    changes = [
        *_flips(settings),
        *([f"rotated by up to {settings.rotation:g}° either way"] if settings.rotation else []),
        *([f"scaled by a factor of 1/{1 + settings.zoom:g} to {1 + settings.zoom:g}"] if settings.zoom else []),
        *([f"shifted by up to {100 * settings.shift:g} % of their side"] if settings.shift else []),
        *_colours(settings),
        *([f"turned in hue by up to {360 * settings.hue:g}° either way"] if settings.hue else []),
        *_at_times(settings, cite),
    ]
    if not changes:
        return "Training images were not augmented."
    return f"Training images were changed at random each time they were shown: {listing(changes)}."


def _flips(settings: AugmentationSettings) -> list[str]:
    flips = {"left to right": settings.horizontal_flip, "upside down": settings.vertical_flip}
    return [f"mirrored {way} with probability {share:g}" for way, share in flips.items() if share]


def _colours(settings: AugmentationSettings) -> list[str]:
    ranges = {"brightness": settings.brightness, "contrast": settings.contrast, "saturation": settings.saturation}
    widths = sorted({width for width in ranges.values() if width})
    return [
        f"changed in {listing([name for name, own in ranges.items() if own == width])} by up to {100 * width:g} %"
        for width in widths
    ]


def _at_times(settings: AugmentationSettings, cite: Citations) -> list[str]:
    """Return changes that are made with a probability of their own."""
    changes = []
    if settings.blur:
        low, high = settings.blur_sigma
        changes.append(f"blurred with probability {settings.blur:g} (standard deviation of {low:g} to {high:g} pixels)")
    if settings.sharpness:
        low, high = settings.sharpness_factor
        changes.append(f"changed in sharpness with probability {settings.sharpness:g} (factor of {low:g} to {high:g})")
    if settings.erasing:
        low, high = settings.erasing_area
        changes.append(
            f"covered by a rectangle of {percent(low)} to {percent(high)} of their area with probability "
            f"{settings.erasing:g} {cite('zhong2020')}"
        )
    return changes


def _mixing(settings: TrainingSettings, cite: Citations) -> str:
    kinds = [
        *([f"mixup {cite('zhang2018')} (α = {settings.mixup:g})"] if settings.mixup else []),
        *([f"cutmix {cite('yun2019')} (α = {settings.cutmix:g})"] if settings.cutmix else []),
    ]
    return f"Batches were mixed by {' or '.join(kinds)}." if kinds else ""
