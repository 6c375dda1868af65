from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ensemble_samples import BACKBONES, CLASSES, synthetic_oof, write_members

from cv_folds.arrays import frozen
from cv_folds.errors import DataError, UsageError
from cv_folds.files import sha256
from cv_folds.training_images import TrainingImages
from ensemble.bundle import read_bundle
from ensemble.bundle_writing import write_bundle
from ensemble.calibration.registry import CALIBRATORS
from ensemble.crossfit import cross_fit
from ensemble.deployed import fit_deployed
from ensemble.settings import EnsembleSettings

MEMBER = "tiny_wide-fold-1.safetensors"


def rewrite(folder, *path, to):
    """Replace one entry of the manifest."""
    content = json.loads((folder / "manifest.json").read_text())
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    (folder / "manifest.json").write_text(json.dumps(content))


def test_round_trip(bundle, deployed):
    back = read_bundle(bundle)
    assert back.manifest.classes == CLASSES
    assert back.manifest.combiner.backbones == BACKBONES
    assert back.manifest.n_folds == 2
    assert back.prediction_sets == deployed.prediction_sets
    logits = synthetic_oof(9).logits
    np.testing.assert_array_equal(back.model.probabilities(logits), deployed.model.probabilities(logits))
    np.testing.assert_array_equal(back.rules.natural, deployed.rules.natural)
    np.testing.assert_array_equal(back.rules.costs, deployed.rules.costs)
    assert sorted(path.name for path in bundle.iterdir()) == sorted(
        ["manifest.json", "README.md", *(f"{name}-fold-{fold}.safetensors" for name in BACKBONES for fold in (0, 1))]
    )


def test_manifest_has_the_documented_form(bundle):
    content = json.loads((bundle / "manifest.json").read_text())
    assert content["schema"] == 3
    assert {key: sorted(value) for key, value in content.items() if isinstance(value, dict)} == {
        "preprocessing": ["decoder", "held_out_spins", "image_size", "mean", "std"],
        "prior": ["natural", "shown"],
        "combiner": ["backbones", "name", "parameters"],
        "calibrator": ["name", "parameters"],
        "decisions": ["costs", "natural"],
        "prediction_set": ["coverage", "method", "thresholds"],
        "training_data": ["demo", "fingerprint", "n_images", "n_lesions", "name"],
        "files": sorted(["README.md", *(member["file"] for member in content["members"])]),
    }
    assert content["files"] == {name: sha256(bundle / name) for name in content["files"]}


def test_the_list_of_training_images_travels_and_is_verified(tmp_path, make_bundle):
    assert read_bundle(make_bundle(tmp_path / "without")).training_images() is None
    learned = TrainingImages(
        image_ids=frozen(["a", "b"], np.str_),
        lesion_ids=frozen(["l", ""], np.str_),
        digests=frozen(["0" * 64, "1" * 64], np.str_),
    )
    learned.write_csv(tmp_path / "list.csv")
    bundle = make_bundle(tmp_path / "with", training_images=tmp_path / "list.csv")
    back = read_bundle(bundle).training_images()
    for name, values in vars(learned).items():
        np.testing.assert_array_equal(getattr(back, name), values)
    file = bundle / "training_images.csv"
    file.write_text(file.read_text().replace("a,l", "c,l"))
    with pytest.raises(DataError, match=r"training_images\.csv is damaged: its SHA-256"):
        read_bundle(bundle)
    file.unlink()
    with pytest.raises(DataError, match=r"training_images\.csv is missing"):
        read_bundle(bundle)


def test_members_are_linked_and_copied_where_that_fails(tmp_path, make_bundle, monkeypatch):
    files = write_members(tmp_path / "weights")
    linked = make_bundle(tmp_path / "linked", member_files=files)
    assert (linked / MEMBER).samefile(files["tiny_wide", 1])

    def refuse(*_):
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    copied = make_bundle(tmp_path / "copied", member_files=files)
    assert not (copied / MEMBER).samefile(files["tiny_wide", 1])
    assert (copied / MEMBER).read_bytes() == (linked / MEMBER).read_bytes()


def test_the_order_of_the_files_given_plays_no_part(tmp_path, make_bundle):
    files = write_members(tmp_path / "weights")
    shuffled = make_bundle(tmp_path / "b", member_files=dict(sorted(files.items(), reverse=True)))
    assert read_bundle(shuffled).manifest.combiner.backbones == BACKBONES


def test_writing_again_replaces_the_bundle_and_leaves_nothing_beside(tmp_path, make_bundle):
    files = write_members(tmp_path / "weights")
    folder = make_bundle(tmp_path / "out" / "bundle", member_files=files)
    (folder / "old.txt").write_text("from before")
    make_bundle(folder, member_files=files, hamcv_version="0.2.0")
    assert read_bundle(folder).manifest.hamcv_version == "0.2.0"
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_an_empty_folder_is_filled_and_other_content_is_kept(tmp_path, make_bundle):
    (tmp_path / "empty").mkdir()
    assert read_bundle(make_bundle(tmp_path / "empty"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="mine exists and is no bundle"):
        make_bundle(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_a_failed_write_leaves_the_old_bundle(tmp_path, make_bundle):
    files = write_members(tmp_path / "weights")
    folder = make_bundle(tmp_path / "out" / "bundle", member_files=files)
    files["tiny_thin", 0].unlink()
    with pytest.raises(DataError, match=r"tiny_thin-0\.safetensors, the weights of tiny_thin, fold 0, is missing"):
        make_bundle(folder, member_files=files)
    assert read_bundle(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_a_bundle_that_cannot_be_put_in_its_place_leaves_the_old_one(tmp_path, make_bundle, monkeypatch):
    files = write_members(tmp_path / "weights")
    folder = make_bundle(tmp_path / "out" / "bundle", member_files=files)
    rename = Path.rename

    def fail(path, target):
        if path.name.startswith(".bundle.partial"):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space left"):
        make_bundle(folder, member_files=files, hamcv_version="0.2.0")
    assert read_bundle(folder).manifest.hamcv_version != "0.2.0"
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_an_incomplete_set_of_members_is_a_mistake_of_the_caller(tmp_path, make_bundle):
    files = write_members(tmp_path / "weights")
    del files["tiny_thin", 0]
    with pytest.raises(ValueError, match="one member for every fold"):
        make_bundle(tmp_path / "bundle", member_files=files)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("position", [0, 100, -1])
def test_a_flipped_bit_is_found(bundle, position):
    content = bytearray((bundle / MEMBER).read_bytes())
    content[position] ^= 1
    (bundle / MEMBER).write_bytes(content)
    with pytest.raises(DataError, match=rf"{MEMBER} is damaged.*copy the bundle again"):
        read_bundle(bundle)


def test_a_changed_model_card_is_found(bundle):
    (bundle / "README.md").write_text((bundle / "README.md").read_text().replace("0.5000", "0.9000"))
    with pytest.raises(DataError, match=r"README\.md is damaged"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["note.txt", "more/note.txt", ".hidden", "tiny_wide-fold-9.safetensors"])
def test_a_file_that_the_manifest_does_not_list_is_refused_by_name(bundle, name):
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_text("from elsewhere")
    with pytest.raises(DataError, match=rf"does not list; remove these:\n(.*\n)?.*{name.split('/')[-1]}"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    "name", [".gitattributes", ".git/HEAD", ".cache/huggingface/download/manifest.json.metadata", ".DS_Store"]
)
def test_what_a_hub_or_a_file_manager_leaves_beside_a_bundle_is_passed_over(bundle, name):
    (bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / name).write_text("from elsewhere")
    assert read_bundle(bundle).manifest.files


@pytest.mark.parametrize("name", ["more/.gitattributes", ".cache/w.pt", ".git/hooks/model.pkl"])
def test_what_a_hub_leaves_opens_no_back_door(bundle, name):
    (bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / name).write_text("from elsewhere")
    with pytest.raises(DataError, match=name.rpartition("/")[2]):
        read_bundle(bundle)


def test_a_missing_member_is_found(bundle):
    (bundle / MEMBER).unlink()
    with pytest.raises(DataError, match=rf"{MEMBER} is missing"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["model.pkl", "scaler.PICKLE", "w.pt", "w.pth", "m.joblib", "a.npz", "deep/er/w.bin"])
def test_files_that_may_run_code_are_refused(bundle, name):
    (bundle / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / name).write_bytes(b"")
    with pytest.raises(DataError, match=rf"remove these:\n.*{name.split('/')[-1]}"):
        read_bundle(bundle)


def test_a_newer_schema_names_the_version_to_install(bundle):
    rewrite(bundle, "schema", to=4)
    rewrite(bundle, "hamcv_version", to="3.4.5")
    rewrite(bundle, "invented", to="later")
    with pytest.raises(DataError, match=r"schema 4 is newer than this version reads \(3\); install hamcv 3\.4\.5"):
        read_bundle(bundle)


def test_an_older_schema_is_refused_with_the_mend(bundle):
    rewrite(bundle, "schema", to=2)
    with pytest.raises(DataError, match=r"schema 2 is older.*run `hamcv ensemble RUN` again"):
        read_bundle(bundle)


@pytest.mark.parametrize("calibration", CALIBRATORS)
def test_every_calibrator_travels_to_the_bit(tmp_path, make_bundle, calibration):
    oof = replace(synthetic_oof(1, n_lesions=120), backbones=BACKBONES)
    settings = EnsembleSettings(combiners=("soft_vote",), deployed="soft_vote", calibration=calibration)
    deployed = fit_deployed(oof, cross_fit(oof, settings, power=1.0), settings, power=1.0)
    back = read_bundle(make_bundle(tmp_path / "bundle", deployed=deployed))
    assert back.manifest.calibrator.name == calibration
    assert back.rules.costs is None
    np.testing.assert_array_equal(back.model.probabilities(oof.logits), deployed.model.probabilities(oof.logits))


def test_an_unknown_decoder_is_refused(bundle):
    rewrite(bundle, "preprocessing", "decoder", to="opencv-crop-9")
    with pytest.raises(DataError, match=r"'opencv-crop-9'.*install hamcv"):
        read_bundle(bundle)


@pytest.mark.parametrize("name", ["../{}", "sub/{}", "./{}"])
def test_paths_out_of_the_folder_are_refused(bundle, name):
    shutil.copy(bundle / MEMBER, bundle.parent / MEMBER)
    members = json.loads((bundle / "manifest.json").read_text())["members"]
    index = [member["file"] for member in members].index(MEMBER)
    rewrite(bundle, "members", index, "file", to=name.format(MEMBER))
    with pytest.raises(DataError, match="leads out of the folder"):
        read_bundle(bundle)


def test_a_link_out_of_the_folder_is_refused(bundle):
    shutil.move(bundle / MEMBER, bundle.parent / MEMBER)
    (bundle / MEMBER).symlink_to(bundle.parent / MEMBER)
    with pytest.raises(DataError, match="leads out of the folder"):
        read_bundle(bundle)


def test_a_bundle_may_itself_be_reached_by_a_link(bundle, tmp_path):
    (tmp_path / "link").symlink_to(bundle)
    assert read_bundle(tmp_path / "link").manifest == read_bundle(bundle).manifest


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema",), 0, "schema"),
        (("schema",), "1", "schema"),
        (("classes",), ["mel", "mel", "nv"], "class is named twice"),
        (("classes",), ["mel", "nv"], "prior.shown holds 3 values for 2 classes"),
        (("combiner", "parameters", "n_backbones"), 1, "parameters of stack"),
        (("prior", "natural"), [0.5, 0.5, 0.5], "sum to 1"),
        (("prior", "shown"), [0.5, 0.5, 0.0], "above 0"),
        (("calibrator", "name"), "platt", "calibrator.name"),
        (("calibrator", "parameters", "temperature"), -1.0, "calibrator temperature"),
        (("calibrator", "parameters", "offsets"), [0.0], "takes 1 classes, the bundle has 3"),
        (("decisions", "natural"), [1.0], "decisions.natural holds 1 values"),
        (("decisions", "costs"), [[0.0, 1.0, 1.0]], "decisions.costs holds 1 values"),
        (("decisions", "costs"), [[0.0, -1.0, 1.0]] * 3, "not be negative"),
        (("prediction_set", "thresholds"), [0.5], "prediction_set.thresholds holds 1 values"),
        (("members",), [], "members"),
        (("members", 0, "fold"), 7, "one member for every fold"),
        (("members", 0, "file"), MEMBER, "a file is named twice"),
        (("members", 0, "file"), "README.md", "no safetensors file"),
        (("members", 0, "file"), "other.safetensors", r"no checksum of other\.safetensors"),
        (("files", MEMBER), "0" * 64, "is damaged"),
        (("files", MEMBER), "short", r"files\.tiny_wide-fold-1"),
        (("files", "../x"), "0" * 64, "leads out of the folder"),
        (("files", "more.txt"), "0" * 64, r"more\.txt is missing"),
        (("onnx",), {"file": "e.onnx", "largest_difference": 0.0}, r"no checksum of e\.onnx"),
        (("members", 0, "backbone"), "../x", "backbone"),
        (("combiner", "name"), "boost", "combiner.name"),
        (("combiner", "backbones"), ["tiny_wide"], "one member for every fold"),
        (("combiner", "parameters", "penalty"), "strong", "penalty"),
        (("preprocessing", "std"), [1.0, 1.0], "preprocessing.std"),
        (("preprocessing", "std"), [0.2, 0.0, 0.2], "preprocessing.std.1"),
        (("preprocessing", "crop"), 3, "preprocessing.crop"),
        (("prediction_set", "method"), "raps", "prediction_set.method"),
        (("prediction_set", "thresholds"), [1.5] * 3, "prediction_set.thresholds.0"),
        (("training_data", "demo"), "no", "training_data.demo"),
    ],
)
def test_a_damaged_manifest_is_refused_by_the_entry(bundle, path, value, message):
    rewrite(bundle, *path, to=value)
    with pytest.raises(DataError, match=message):
        read_bundle(bundle)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"schema": 1}', "\x00", "[" * 100_000])
def test_a_manifest_that_is_none_is_refused(bundle, content):
    (bundle / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json"):
        read_bundle(bundle)


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    with pytest.raises(DataError, match="is no bundle"):
        read_bundle(tmp_path)


def test_write_bundle_gives_back_what_reading_gives(tmp_path, make_bundle, deployed):
    files = write_members(tmp_path / "weights")
    manifest = read_bundle(make_bundle(tmp_path / "one", member_files=files)).manifest
    written = write_bundle(
        tmp_path / "two",
        hamcv_version=manifest.hamcv_version,
        preprocessing=manifest.preprocessing,
        deployed=deployed,
        training_data=manifest.training_data,
        scores=manifest.scores,
        member_files=files,
    )
    assert written.manifest == read_bundle(tmp_path / "two").manifest == manifest
    assert written.folder == tmp_path / "two"
