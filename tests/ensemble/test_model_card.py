"""The model card: its front matter is YAML, says what the scores say to the digit, and claims nothing it should not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import yaml

from ensemble.bundle import read_bundle
from ensemble.front_matter import front_matter
from ensemble.manifest import Manifest
from ensemble.manifest_parts import StoredScore, TrainingData
from ensemble.model_card import model_card

ODD_TEXT = (
    "", "no", "1.5", "2026-01-01", "a: b", "- x", "# c", "it's", '"q"', "\\", "---", "...", "a\nb\n---\nc", "\t",
    "\x00\x07\x7f", "\x85\u2028\ufeff", "é 病変 😀", "{{x}}", "&a *b !c", "null", "~",
)  # fmt: skip
SCORES = (
    StoredScore(name="macro_f1", title="Macro F1", value=0.7123456789012345, low=0.6912345, high=0.7312345),
    StoredScore(name="log_loss", title="Log-loss", value=1e-05, low=None, high=None),
)


@pytest.fixture
def manifest(bundle: Any) -> Manifest:
    real = TrainingData(name='ham: "10000"', fingerprint="cd", n_images=10015, n_lesions=7470, demo=False)
    return read_bundle(bundle).manifest.model_copy(update={"training_data": real})


def card_of(manifest: Manifest, scores: Sequence[StoredScore] = SCORES, caution: str | None = None) -> str:
    return model_card(manifest.model_copy(update={"scores": tuple(scores), "caution": caution}))


def head_of(card: str) -> dict[str, Any]:
    start, head, text = card.split("---\n", 2)
    assert start == ""
    assert text.startswith("\n# Skin-lesion classifier ensemble\n")
    return yaml.safe_load(head)


@pytest.mark.parametrize("text", ODD_TEXT)
def test_any_text_comes_back(text: str) -> None:
    content = {"name": text, "tags": [text, "x"], "deep": {"rows": [{"first": text, "second": 1}]}}
    written = front_matter(content)
    assert written.split("---\n")[0] == ""
    assert yaml.safe_load(written.removeprefix("---\n").removesuffix("---\n")) == content


def test_any_number_comes_back_as_itself() -> None:
    random = np.random.default_rng(0)
    numbers = [
        0.0,
        -0.0,
        1.0,
        5e-324,
        1.7976931348623157e308,
        1e16,
        1e-05,
        0.1 + 0.2,
        *random.normal(size=200).tolist(),
    ]
    numbers += (10.0 ** random.uniform(-300, 300, 200)).tolist()
    found = yaml.safe_load(front_matter({"values": numbers}).removeprefix("---\n").removesuffix("---\n"))["values"]
    assert all(isinstance(number, float) for number in found)
    assert found == numbers


def test_the_index_has_the_scores_to_the_digit(manifest: Manifest) -> None:
    head = head_of(card_of(manifest))
    assert head["library_name"] == "hamcv"
    assert head["pipeline_tag"] == "image-classification"
    assert {"skin-lesion", "ensemble", "tiny_wide", "tiny_thin"} <= set(head["tags"])
    assert "license" not in head
    (model,) = head["model-index"]
    (result,) = model["results"]
    assert model["name"] == f'hamcv {manifest.combiner.name} on ham: "10000"'
    assert result["task"] == {"type": "image-classification", "name": "Skin-lesion classification"}
    assert result["dataset"] == {"type": 'ham: "10000"', "name": 'ham: "10000" (10015 images, 7470 lesions)'}
    assert [(metric["type"], metric["value"]) for metric in result["metrics"]] == [
        (score.name, score.value) for score in SCORES
    ]
    assert (
        result["metrics"][0]["name"] == "Macro F1 (cross-fitted over 2 folds by lesion; 95 % interval 0.6912 to 0.7312)"
    )
    assert result["metrics"][1]["name"] == "Log-loss (cross-fitted over 2 folds by lesion)"


def test_scores_of_a_test_part_are_called_so(manifest: Manifest) -> None:
    held_out = manifest.model_copy(update={"members": manifest.members[: len(manifest.combiner.backbones)]})
    (model,) = head_of(card_of(held_out))["model-index"]
    assert "test part of a fixed division by lesion" in model["results"][0]["metrics"][0]["name"]


def test_nothing_is_claimed_for_demo_data_for_leaking_folds_or_without_scores(manifest: Manifest) -> None:
    demo = manifest.model_copy(update={"training_data": manifest.training_data.model_copy(update={"demo": True})})
    for card in (card_of(demo), card_of(manifest, SCORES, "Folds leak."), card_of(manifest, ())):
        assert "model-index" not in head_of(card)
        assert "0.7123456789012345" not in card
    assert "demo-data" in head_of(card_of(demo))["tags"]
    assert "> **Caution.** Folds leak." in card_of(manifest, SCORES, "Folds leak.")


def test_the_text_tells_what_matters(bundle: Any, manifest: Manifest) -> None:
    text = (bundle / "README.md").read_text()
    for part in ("**Demo data.**", "9 images of 5 lesions", "ab" * 32, "akiec, mel, nv", "tiny_wide, tiny_thin", "90%"):
        assert part in text
    assert "| Macro F1 | 0.5000 | 0.4000 to 0.6000 |" in text
    assert "not a medical device" in text
    assert "Demo" not in card_of(manifest)
    assert "None were stored." in card_of(manifest, ())
    assert "| Macro F1 | 0.5000 |  |" in card_of(manifest, [SCORES[0].model_copy(update={"value": 0.5, "low": None})])


def test_where_lesions_were_divided_the_card_does_not_say_otherwise(manifest: Manifest) -> None:
    assert "had not seen it or its lesion. They" in card_of(manifest)
    assert "had not seen it. They" in card_of(manifest, caution="The folds leak.")
    alone = manifest.model_copy(update={"members": manifest.members[:2]})
    assert "a fixed division by lesion that neither" in card_of(alone)
    assert "a fixed division that neither" in card_of(alone, caution="The parts leak.")


def test_the_card_says_when_scores_and_calibration_are_those_of_spun_images(manifest: Manifest) -> None:
    assert "spins" not in card_of(manifest)
    spun = manifest.preprocessing.model_copy(update={"held_out_spins": 8})
    card = card_of(manifest.model_copy(update={"preprocessing": spun}))
    assert "mean over 8 random flips and turns of every image" in card
    assert "`--spins 0` show each\nimage once" in card
