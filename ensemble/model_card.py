"""The README of a bundle."""

from __future__ import annotations

from ensemble.front_matter import Node, front_matter
from ensemble.manifest import Manifest
from ensemble.manifest_parts import StoredScore

_TAGS = ("image-classification", "dermatoscopy", "skin-lesion", "ensemble", "calibrated")

_CROSS_FITTED = """\
Cross-fitted: every image was scored by models, and by a combiner, that had not seen it{lesion}. They
hold for images like the training data; the averaged ensemble in this folder was itself never tested on them."""

_HELD_OUT = """\
Of the ensemble in this folder, on the test part of a fixed division{lesion} that neither its models nor its combiner
had seen. They hold for images like those of the test part."""

_CALIBRATED = {
    "none": "not calibrated",
    "temperature": "calibrated by one temperature",
    "vector": "calibrated by a factor and an offset for each class",
    "isotonic": "calibrated by an increasing function for each class",
}

_COVERED = {
    "lac": "over all classes together; a single class\nmay fare worse",
    "class_conditional": "in each class",
}


def model_card(manifest: Manifest) -> str:
    """Return the model card of a bundle in Markdown, with the front matter that Hugging Face reads.

    The front matter lists scores as a ``model-index``, but never those of the demo set, nor any that need a caution: it
    is read by programs, which do not read the text. It names no licence, since the program does not know it.
    """
    data = manifest.training_data
    demo = (
        "> **Demo data.** The members were trained on generated pictures. They know nothing about skin, and the\n"
        "> scores below say nothing about patients.\n\n"
        if data.demo
        else ""
    )
    warning = f"> **Caution.** {manifest.caution}\n\n" if manifest.caution is not None else ""
    # One fold only is that of a hold-out: a cross-validation has at least two.
    folds = manifest.n_folds
    # A caution says that lesions were divided.
    text, lesion = (_HELD_OUT, " by lesion") if folds == 1 else (_CROSS_FITTED, " or its lesion")
    scored = text.format(lesion=lesion if manifest.caution is None else "") + _spun(manifest)
    rows = "".join(f"| {score.title} | {score.value:.4f} | {_interval(score)} |\n" for score in manifest.scores)
    table = f"| score | value | 95 % interval |\n|---|---|---|\n{rows}" if manifest.scores else "None were stored.\n"
    size, sets = manifest.preprocessing.image_size, manifest.prediction_set
    covered = _COVERED[sets.method]
    own = any(member.normalisation is not None for member in manifest.members)
    normalised = " and normalised by the training images of each model" if own else ""
    warned = _warned(manifest)
    return f"""{_head(manifest)}
# Skin-lesion classifier ensemble

{demo}{warning}{_made_of(manifest)}

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

## Probabilities and decisions

{_probabilities(manifest)}

{_onnx(manifest)}## Limits

- For research only. This is not a medical device, and it must not guide the care of any person.
- It knows only the classes above and gives one of them for every picture, skin or not. A warning shows that a picture
  is unusual; without one it may still be of something else.
- Probabilities reflect the class frequencies, cameras and patients of the training data. Skin tones, ages, body
  sites and devices that are rare there are served worse, by an unknown amount.
- The weights inherit the licence of the training data and of the weights that training started from.

No file here is a pickle: there are safetensors, {"ONNX, " if manifest.onnx else ""}JSON and text. `manifest.json`
holds the SHA-256 of every other file; a folder with a changed, missing or additional file is refused.
"""


def _head(manifest: Manifest) -> str:
    """Return the front matter, with the scores to the last digit."""
    data, folds = manifest.training_data, manifest.n_folds
    tags = [*_TAGS, *manifest.combiner.backbones, *(["demo-data"] if data.demo else [])]
    head: dict[str, Node] = {"library_name": "hamcv", "pipeline_tag": "image-classification", "tags": tags}
    if data.demo or manifest.caution is not None or not manifest.scores:
        return front_matter(head)
    how = "test part of a fixed division by lesion" if folds == 1 else f"cross-fitted over {folds} folds by lesion"
    metrics: list[Node] = [
        {
            "type": score.name,
            "name": f"{score.title} ({how}" + (f"; 95 % interval {span})" if (span := _interval(score)) else ")"),
            "value": score.value,
        }
        for score in manifest.scores
    ]
    result: dict[str, Node] = {
        "task": {"type": "image-classification", "name": "Skin-lesion classification"},
        "dataset": {"type": data.name, "name": f"{data.name} ({data.n_images} images, {data.n_lesions} lesions)"},
        "metrics": metrics,
    }
    index: list[Node] = [{"name": f"hamcv {manifest.combiner.name} on {data.name}", "results": [result]}]
    return front_matter(head | {"model-index": index})


def _spun(manifest: Manifest) -> str:
    """Say that scores and calibration are those of test-time augmentation; empty where they are not."""
    if not (spins := manifest.preprocessing.held_out_spins):
        return ""
    return (
        f"\n\nThese scores, calibration and prediction sets are of the mean over {spins} random flips and turns "
        "of every image.\nThe predictor averages over as many turns beside the image itself. `load(..., spins=0)` and "
        "`--spins 0` show each\nimage once, in a fraction of the time, and so does an ONNX file: scores and "
        "calibration are not those of such answers."
    )


def _interval(score: StoredScore) -> str:
    return "" if score.low is None or score.high is None else f"{score.low:.4f} to {score.high:.4f}"


def _made_of(manifest: Manifest) -> str:
    """Say what the ensemble consists of."""
    combiner, folds = manifest.combiner, manifest.n_folds
    first = f"An ensemble of {len(manifest.members)} image classifiers, made by hamcv {manifest.hamcv_version}:"
    if len(combiner.backbones) == 1:
        name = combiner.backbones[0]
        if folds == 1:
            return f"One image classifier ({name}), made by hamcv {manifest.hamcv_version}."
        return f"{first}\none {name} for each of {folds} cross-validation folds, whose results are averaged."
    each = f"{first}\none model for each backbone ({', '.join(combiner.backbones)})"
    if folds == 1:
        return f"{each}, combined by `{combiner.name}`."
    return (
        f"{each} and each of {folds} cross-validation folds.\n"
        f"The models of a fold are combined by `{combiner.name}`, and the {folds} results are averaged."
    )


def _probabilities(manifest: Manifest) -> str:
    """Say what the probabilities refer to and how a class may be decided on."""
    shares = ", ".join(
        f"{name} {share:.1%}" for name, share in zip(manifest.classes, manifest.decisions.natural, strict=True)
    )
    calibrated = _CALIBRATED[manifest.calibrator.name]
    costs = "; `costs`, the class with the least\nexpected cost" if manifest.decisions.costs is not None else ""
    text = (
        f"Probabilities hold where the classes are as frequent as in the training data ({shares}),\n"
        f"whatever shares training showed; they are {calibrated}.\n"
        "A class may be decided on by `max_probability`, the most probable class, which `predict` gives;\n"
        f"`balanced`, the highest multiple of its share, for balanced accuracy{costs}."
    )
    if (half := manifest.half) is None:
        return text
    return (
        f"{text}\n\nThe weights are stored with half their digits and computed with in float32. On {half.pictures} "
        "made-up pictures\nno probability differed from that with the full weights by more than "
        f"{half.largest_difference:.1e}."
    )


def _onnx(manifest: Manifest) -> str:
    """Describe the ONNX file; empty without one."""
    if (onnx := manifest.onnx) is None:
        return ""
    size, n_classes = manifest.preprocessing.image_size, len(manifest.classes)
    return f"""\
## ONNX

`{onnx.file}` holds normalisation, all members, prior, combiner, calibrator and the average over folds, but neither
decoding nor resizing, prediction sets and warnings.

- Input `images`: (n, 3, {size}, {size}) uint8, RGB, values 0 to 255 as decoded; any n.
- Output `probabilities`: (n, {n_classes}) float32, rows sum to 1. Columns: {", ".join(manifest.classes)}.

Resize as the members were trained, with Pillow's antialiased bilinear filter and without keeping the aspect ratio:

```python
import numpy, onnxruntime
from PIL import Image, ImageOps

image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGB")
pixels = numpy.asarray(image.resize(({size}, {size}), Image.Resampling.BILINEAR))
session = onnxruntime.InferenceSession("{onnx.file}")
session.run(["probabilities"], {{"images": pixels.transpose(2, 0, 1)[None]}})
```

On random images no probability differed from the predictor's by more than {onnx.largest_difference:.1e}.

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
