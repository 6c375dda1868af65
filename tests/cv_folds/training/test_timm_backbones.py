from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cv_folds_samples import job_spec
from safetensors.torch import save_file

from cv_folds.errors import UsageError
from cv_folds.files import sha256
from cv_folds.training.backbone_names import check_backbone_name
from cv_folds.training.backbones import build_backbone, check_backbone, classifier_layer
from cv_folds.training.features import tapped
from cv_folds.training.freezing import choose_trained
from cv_folds.training.jobs import run_job
from cv_folds.training.pixels import Normalisation
from cv_folds.training.preflight import try_backbone
from cv_folds.training.settings import PhaseSettings, TrainingSettings
from cv_folds.training.weights import WeightsFile, find_weights, load_weights

SMALL = "timm:test_efficientnet"
"""A network of 0.1 million parameters that timm keeps for tests."""

with_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="the extra hamcv[timm] is not there")


def test_without_the_package_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    # What reads a run needs the name only.
    check_backbone_name("timm:tf_efficientnetv2_b0")
    for call in (check_backbone, lambda name: find_weights("none", name, download=False)):
        with pytest.raises(UsageError, match=r"pip install 'hamcv\[timm\]'") as caught:
            call("timm:tf_efficientnetv2_b0")
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize("wrong", ["timm:", "timm:../x", "timm:a/b", "timm:hf_hub:x", "timm:a.b.c", "timm:resnet-18"])
def test_a_name_that_could_be_a_path_is_refused(wrong):
    with pytest.raises(UsageError, match="write timm:NAME"):
        check_backbone_name(wrong)


@with_timm
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("timm:tf_efficientnetv2_b9", ["no such model", "timm:tf_efficientnetv2_b0"]),
        ("timm:resnet18.none", ["no weights of that tag", "timm:resnet18.a1_in1k"]),
        ("timm:zzzz", ["no such model", "none"]),
    ],
)
def test_an_unknown_name_is_refused_with_near_ones(wrong, words):
    check_backbone_name(wrong)
    with pytest.raises(UsageError) as caught:
        check_backbone(wrong)
    assert all(word in str(caught.value) for word in words)


@with_timm
@pytest.mark.parametrize("name", [SMALL, "timm:test_resnet.r160_in1k", "timm:test_vit", "timm:test_byobnet"])
def test_logits_head_and_features(name):
    torch.manual_seed(0)
    model = build_backbone(name, 3, image_size=64).eval()
    head = model.get_submodule(classifier_layer(model))
    assert head.out_features == 3
    with torch.inference_mode(), tapped(model) as tap:
        logits = model(torch.randn(2, 3, 64, 64))
        features = tap.take()
        torch.testing.assert_close(head(features), logits)
    assert features.shape == (2, tap.n_features)
    choose_trained(model, PhaseSettings(epochs=1, learning_rate=0.1, trained="head"))
    assert [parameter.shape[0] for parameter in model.parameters() if parameter.requires_grad] == [3, 3]


@with_timm
def test_a_model_of_two_heads_is_refused():
    with pytest.raises(UsageError, match="more than one layer"):
        build_backbone("timm:deit_tiny_distilled_patch16_224", 3, image_size=224)


@with_timm
def test_an_image_size_that_a_model_cannot_take():
    with pytest.raises(UsageError, match=r"timm:test_vit cannot .* 71 px .*--image-size"):
        try_backbone("timm:test_vit", 3, image_size=71, weights=None)


@with_timm
def test_a_network_that_no_file_can_hold_is_found_before_it_trains():
    with pytest.raises(UsageError, match=r"timm:coat_tiny has weights under several names .*--backbones"):
        try_backbone("timm:coat_tiny", 3, image_size=224, weights=None)


@with_timm
def test_a_file_of_another_network_is_told_from_one_of_older_names(tmp_path):
    save_file(dict(build_backbone(SMALL, 11, image_size=32).state_dict()), tmp_path / "timm-convnext_atto.safetensors")
    found = find_weights(str(tmp_path), "timm:convnext_atto", download=True)
    with pytest.raises(UsageError, match="does not fit timm:convnext_atto:\n  extra entry "):
        try_backbone("timm:convnext_atto", 3, image_size=32, weights=found)


@with_timm
def test_a_folder_of_weights(tmp_path):
    torch.manual_seed(1)
    stored = dict(build_backbone(SMALL, 11, image_size=32).state_dict())
    with pytest.raises(UsageError, match=r"no timm-test_efficientnet\.safetensors in it"):
        find_weights(str(tmp_path), SMALL, download=True)
    save_file(stored, tmp_path / "timm-test_efficientnet.safetensors")
    found = find_weights(str(tmp_path), SMALL, download=True)
    model = build_backbone(SMALL, 3, image_size=32)
    load_weights(model, found)
    for key, value in model.state_dict().items():
        assert key.startswith("classifier.") or torch.equal(value, stored[key])
    del stored["conv_stem.weight"]
    save_file(stored, tmp_path / "timm-test_efficientnet.safetensors")
    with pytest.raises(UsageError, match=r"does not fit timm:test_efficientnet:\n  missing entry conv_stem\.weight"):
        load_weights(model, found)


@with_timm
def test_position_tables_are_resized_to_the_image(tmp_path):
    name = "timm:test_vit"
    path = tmp_path / "timm-test_vit.safetensors"
    save_file(dict(build_backbone(name, 5, image_size=160).state_dict()), path)
    model = build_backbone(name, 3, image_size=96)
    load_weights(model, WeightsFile(backbone=name, path=path, sha256=sha256(path)))
    assert model.pos_embed.shape[1] < build_backbone(name, 3, image_size=160).pos_embed.shape[1]


@with_timm
def test_weights_that_timm_keeps_are_taken(tmp_path, monkeypatch):
    import huggingface_hub

    kept = tmp_path / "model.safetensors"
    kept.write_bytes(b"x")
    asked = []

    def look(repository: str, name: str) -> str:
        asked.append((repository, name))
        return str(kept)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", look)
    found = find_weights("imagenet", SMALL, download=False)
    assert found == WeightsFile(backbone=SMALL, path=kept, sha256=sha256(kept))
    assert asked == [("timm/test_efficientnet.r160_in1k", "model.safetensors")]


@with_timm
@pytest.mark.parametrize(
    "error", [None, FileNotFoundError("no connection\nand more"), ValueError("no connection"), TimeoutError()]
)
def test_weights_that_cannot_be_had_name_the_mend(monkeypatch, error):
    import huggingface_hub

    def fail(*_: object) -> Path:
        raise error

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(UsageError) as caught:
        find_weights("imagenet", SMALL, download=error is not None)
    words = [
        "timm-test_efficientnet.safetensors",
        "--weights FOLDER",
        "--weights none",
        "timm/test_efficientnet.r160_in1k",
    ]
    words.append("not downloaded yet" if error is None else f"download failed: {str(error)[:13] or 'TimeoutError'})")
    assert all(word in str(caught.value) for word in words), str(caught.value)


@with_timm
def test_a_model_without_weights_says_so():
    import timm

    pretrained = {name.partition(".")[0] for name in timm.list_pretrained()}
    name = f"timm:{min(set(timm.list_models()) - pretrained)}"
    with pytest.raises(UsageError, match=f"timm has no weights of {name}; .*--weights none"):
        find_weights("imagenet", name, download=True)


@with_timm
def test_efficientnetv2_b0_trains_for_an_epoch(tmp_path):
    settings = TrainingSettings(image_size=32, epochs=1, batch_size=16)
    spec = job_spec(tmp_path, backbone="timm:tf_efficientnetv2_b0", settings=settings)
    record = run_job(spec)
    assert spec.folder == spec.run / "jobs" / "timm-tf_efficientnetv2_b0" / "fold-1"
    assert json.loads((spec.folder / "job.json").read_text())["backbone"] == "timm:tf_efficientnetv2_b0"
    assert record.parameters == 5_862_547


@with_timm
@pytest.mark.parametrize(("pretrained", "kind"), [(True, "imagenet"), (False, "imagenet"), (True, "data")])
def test_pixels_are_normalised_as_the_weights_expect(tmp_path, pretrained, kind):
    name = "timm:test_resnet"
    save_file(dict(build_backbone(name, 3, image_size=32).state_dict()), tmp_path / "timm-test_resnet.safetensors")
    spec = job_spec(
        tmp_path,
        backbone=name,
        weights=find_weights(str(tmp_path), name, download=False) if pretrained else None,
        settings=TrainingSettings(image_size=32, epochs=1, batch_size=16, normalisation=kind),
    )
    record = run_job(spec)
    if kind == "data":
        assert record.normalisation not in (None, Normalisation(mean=(0.5,) * 3, std=(0.5,) * 3))
    else:
        assert record.normalisation == (Normalisation(mean=(0.5,) * 3, std=(0.5,) * 3) if pretrained else None)


@with_timm
def test_the_same_job_gives_the_same_bytes(tmp_path):
    spec = job_spec(tmp_path, backbone=SMALL, settings=TrainingSettings(image_size=32, epochs=1, batch_size=16))
    first, second = run_job(spec), run_job(replace(spec, run=tmp_path / "again"))
    assert first.files["model.safetensors"] == second.files["model.safetensors"]
