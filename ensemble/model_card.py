"""The README of a bundle."""

from __future__ import annotations

from collections.abc import Mapping

from ensemble.manifest import Manifest

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


def model_card(manifest: Manifest, scores: Mapping[str, float], caution: str | None = None) -> str:
    """Return the model card in Markdown.

    Parameters
    ----------
    manifest : Manifest
        The bundle's manifest.
    scores : mapping of str to float
        Title to value of the cross-fitted scores of the deployed ensemble.
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
    rows = "".join(f"| {title} | {value:.4f} |\n" for title, value in scores.items())
    table = f"| score | value |\n|---|---|\n{rows}" if scores else "None were stored.\n"
    size, sets = manifest.preprocessing.image_size, manifest.prediction_set
    covered = _COVERED[sets.method]
    own = any(member.normalisation is not None for member in manifest.members)
    normalised = " and normalised by the training images of each model" if own else ""
    warned = _warned(manifest)
    return f"""# Skin-lesion classifier ensemble

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


def _warned(manifest: Manifest) -> str:
    """Say what a warning means."""
    if (limits := manifest.outliers) is None or (limits.distance is None and limits.spread is None):
        return "No warning is ever given: this bundle does not know what is unusual."
    kinds = [
        *(["is farther from the training images"] if limits.distance is not None else []),
        *(["splits the members more"] if limits.spread is not None else []),
    ]
    return f"A warning says that an image {' or '.join(kinds)} than nearly all\nlesions that were held out in training."
