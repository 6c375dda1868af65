"""The README of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ensemble.front_matter import Node, front_matter
from ensemble.manifest import Manifest

_TAGS = ("image-classification", "dermatoscopy", "skin-lesion", "ensemble", "calibrated")

_CROSS_FITTED = """\
Cross-fitted: every image was scored by models, and by a combiner, that had not seen it or its lesion. They
hold for images like the training data; the averaged ensemble in this folder was itself never tested on them."""

_HELD_OUT = """\
Of the ensemble in this folder, on the test part of a fixed division by lesion that neither its models nor its combiner
had seen. They hold for images like those of the test part."""

_COVERED = {
    "lac": "over all classes together; a single class\nmay fare worse",
    "class_conditional": "in each class",
}


@dataclass(frozen=True, kw_only=True)
class CardScore:
    """A score of the deployed ensemble."""

    name: str
    """As in ``metrics.json``."""
    title: str
    """What it is called."""
    value: float
    """Point estimate."""
    low: float | None
    """Lower end of its 95 % interval; None when undefined."""
    high: float | None
    """Upper end of its 95 % interval; None when undefined."""


def model_card(manifest: Manifest, scores: Sequence[CardScore], caution: str | None = None) -> str:
    """Return the model card in Markdown, with the front matter that Hugging Face reads.

    The front matter lists scores as a ``model-index``, but never those of the demo set, nor any that need a caution: it
    is read by programs, which do not read the text. It names no licence, since the program does not know it.

    Parameters
    ----------
    manifest : Manifest
        The bundle's manifest.
    scores : sequence of CardScore
        Those of the deployed ensemble, cross-fitted or on a test part.
    caution : str, optional
        What a reader of the scores must know first.

    Returns
    -------
    str
    """
    data, combiner = manifest.training_data, manifest.combiner
    demo = (
        "> **Demo data.** The members were trained on generated pictures. They know nothing about skin, and the\n"
        "> scores below say nothing about patients.\n\n"
        if data.demo
        else ""
    )
    warning = f"> **Caution.** {caution}\n\n" if caution is not None else ""
    # One fold only is that of a hold-out: a cross-validation has at least two.
    folds = manifest.n_folds
    members = (
        f", combined by `{combiner.name}`."
        if folds == 1
        else f" and each of {folds} cross-validation folds.\n"
        f"The models of a fold are combined by `{combiner.name}`, and the {folds} results are averaged."
    )
    scored = _HELD_OUT if folds == 1 else _CROSS_FITTED
    rows = "".join(f"| {score.title} | {score.value:.4f} | {_interval(score)} |\n" for score in scores)
    table = f"| score | value | 95 % interval |\n|---|---|---|\n{rows}" if scores else "None were stored.\n"
    index = {} if data.demo or caution is not None or not scores else _model_index(manifest, scores)
    size, sets = manifest.preprocessing.image_size, manifest.prediction_set
    covered = _COVERED[sets.method]
    own = any(member.normalisation is not None for member in manifest.members)
    normalised = " and normalised by the training images of each model" if own else ""
    warned = _warned(manifest)
    tags = [*_TAGS, *combiner.backbones, *(["demo-data"] if data.demo else [])]
    head: dict[str, Node] = {"library_name": "hamcv", "pipeline_tag": "image-classification", "tags": tags}
    return f"""{front_matter(head | index)}
# Skin-lesion classifier ensemble

{demo}{warning}An ensemble of {len(manifest.members)} image classifiers, made by hamcv {manifest.hamcv_version}:
one model for each backbone ({", ".join(combiner.backbones)}){members}

## Training data

{data.name}: {data.n_images} images of {data.n_lesions} lesions. Fingerprint `{data.fingerprint}`.

Classes, in column order: {", ".join(manifest.classes)}.

## Scores

{scored}

{table}
## Use

```python
from ensemble import EnsemblePredictor

predictor = EnsemblePredictor.load("this folder")
predictor.predict_proba(["image.jpg"])
```

Images of any size are squeezed to {size} x {size} pixels{normalised}. A prediction set is built to hold the true
class for {sets.coverage:.0%} of lesions like those of the training data, {covered}.
{warned}

## Limits

- For research only. This is not a medical device, and it must not guide the care of any person.
- It knows only the classes above and gives one of them for every picture, skin or not. A warning shows that a picture
  is unusual; without one it may still be of something else.
- Probabilities reflect the class frequencies, cameras and patients of the training data. Skin tones, ages, body
  sites and devices that are rare there are served worse, by an unknown amount.
- The weights inherit the licence of the training data and of the weights that training started from.

No file here is a pickle: the weights are safetensors, everything else is JSON or text, and `manifest.json` holds
the SHA-256 of every weights file.
"""


def _model_index(manifest: Manifest, scores: Sequence[CardScore]) -> dict[str, Node]:
    """Return the scores in the form that Hugging Face reads, to the last digit."""
    data, folds = manifest.training_data, manifest.n_folds
    how = "test part of a fixed division by lesion" if folds == 1 else f"cross-fitted over {folds} folds by lesion"
    metrics: list[Node] = [
        {
            "type": score.name,
            "name": f"{score.title} ({how}" + (f"; 95 % interval {span})" if (span := _interval(score)) else ")"),
            "value": score.value,
        }
        for score in scores
    ]
    result: dict[str, Node] = {
        "task": {"type": "image-classification", "name": "Skin-lesion classification"},
        "dataset": {"type": data.name, "name": f"{data.name} ({data.n_images} images, {data.n_lesions} lesions)"},
        "metrics": metrics,
    }
    return {"model-index": [{"name": f"hamcv {manifest.combiner.name} on {data.name}", "results": [result]}]}


def _interval(score: CardScore) -> str:
    return "" if score.low is None or score.high is None else f"{score.low:.4f} to {score.high:.4f}"


def _warned(manifest: Manifest) -> str:
    """Say what a warning means."""
    if (limits := manifest.outliers) is None or (limits.distance is None and limits.spread is None):
        return "No warning is ever given: this bundle does not know what is unusual."
    kinds = [
        *(["is farther from the training images"] if limits.distance is not None else []),
        *(["splits the members more"] if limits.spread is not None else []),
    ]
    return f"A warning says that an image {' or '.join(kinds)} than nearly all\nlesions that were held out in training."
