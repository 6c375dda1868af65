from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from near_duplicate_samples import HEIGHT, WIDTH, dataset_of, skin, view, with_hair, with_ruler
from PIL import Image

from cv_folds.errors import DataError
from cv_folds.near_duplicates import alignment, features, motion, overlay, score
from cv_folds.near_duplicates import search as search_module
from cv_folds.near_duplicates.constants import constants
from cv_folds.near_duplicates.search import FoundPair, near_duplicates, search
from cv_folds.near_duplicates.settings import SearchSettings

VIEWS = {
    "brighter": {"brightness": 1.25, "noise": 1},
    "darker": {"brightness": 0.6, "noise": 2},
    "quarter": {"degrees": 90},
    "turned": {"degrees": 37, "noise": 3},
    "upside": {"degrees": 180},
    "mirrored": {"mirrored": True},
    "mirrored-turned": {"mirrored": True, "degrees": -70, "noise": 4},
    "nearer": {"zoom": 1.5},
    "much-nearer": {"zoom": 2.2, "degrees": 20},
    "farther": {"zoom": 0.7, "noise": 5},
    "cropped": {"zoom": 1.4, "shift": (0.1, -0.08)},
    "aside": {"shift": (0.2, 0.1), "brightness": 0.8},
}


def search_all(dataset, workers=2):
    return search(dataset, SearchSettings(), workers=workers, on_step=lambda *_: None)


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Each view is one of another lesion, so that no lesion has more than two pictures; twelve lesions have one."""
    pictures = {}
    for seed, (name, how) in enumerate(VIEWS.items()):
        pictures[f"{name}_original"] = view(skin(seed))
        pictures[f"{name}_view"] = view(skin(seed), **how)
    pictures |= {f"alone_{seed}": view(skin(seed)) for seed in range(100, 112)}
    return dataset_of(tmp_path_factory.mktemp("views"), pictures)


@pytest.fixture(scope="module")
def found(views):
    return search_all(views)


@pytest.mark.parametrize("name", VIEWS)
def test_views_of_one_lesion_are_confirmed(found, name):
    pairs = {(pair.image_a, pair.image_b): pair for pair in found}
    pair = pairs[f"{name}_original", f"{name}_view"]
    assert pair.verdict == "confirmed"
    how = VIEWS[name]
    assert pair.mirrored == how.get("mirrored", False)
    assert pair.scale == pytest.approx(1 / how.get("zoom", 1.0), rel=0.03)
    turned = -how.get("degrees", 0.0) if pair.mirrored else how.get("degrees", 0.0)
    assert np.cos(np.radians(pair.degrees - turned)) > 0.999 or np.cos(np.radians(pair.degrees + turned)) > 0.999


def test_nothing_else_is_found(found):
    assert {(pair.image_a, pair.image_b) for pair in found} == {(f"{name}_original", f"{name}_view") for name in VIEWS}


@pytest.mark.parametrize("name", VIEWS)
def test_the_motion_lays_the_second_image_on_the_first(found, views, name):
    """The middle of the original lies in the view where the view was told to put it."""
    pair = next(pair for pair in found if pair.image_b == f"{name}_view")
    how = VIEWS[name]
    shift_x, shift_y = how.get("shift", (0.0, 0.0))
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    expected = middle + np.array([shift_x * WIDTH, shift_y * HEIGHT])
    matrix = np.array(pair.matrix).reshape(2, 3)
    np.testing.assert_allclose(matrix[:, :2] @ middle + matrix[:, 2], expected, atol=1.5)


def test_pictures_of_one_lesion_id_are_not_compared(tmp_path):
    image = skin(1)
    pictures = {"a": view(image), "b": view(image, degrees=30), "c": view(skin(2))}
    assert search_all(dataset_of(tmp_path, pictures, lesions={"a": "L", "b": "L"})) == ()


@pytest.mark.parametrize("mark", ["ruler", "hair"])
def test_a_shared_ruler_or_hair_is_no_lesion(tmp_path, mark):
    draw = with_ruler if mark == "ruler" else lambda image: with_hair(image, 3)
    pictures = {f"{seed}": draw(view(skin(200 + seed))) for seed in range(8)}
    assert [pair for pair in search_all(dataset_of(tmp_path, pictures)) if pair.verdict == "confirmed"] == []


def test_under_a_ruler_and_hair_the_lesion_is_found(tmp_path):
    pictures = {f"alone_{seed}": view(skin(300 + seed)) for seed in range(8)}
    pictures["a"] = with_hair(view(skin(400)), 1)
    pictures["b"] = with_ruler(view(skin(400), degrees=50, zoom=1.2))
    assert [(pair.image_a, pair.image_b) for pair in search_all(dataset_of(tmp_path, pictures))] == [("a", "b")]


def test_the_result_does_not_depend_on_threads_or_repetition(views, found):
    assert search_all(views, workers=1) == found
    assert search_all(views, workers=5) == found


def test_originals_and_small_copies_of_them_pair_alike(tmp_path):
    pictures = {f"alone_{seed}": skin(500 + seed) for seed in range(6)}
    pictures |= {"a": skin(600), "b": np.ascontiguousarray(np.rot90(skin(600), 2))}
    small = {
        name: np.asarray(Image.fromarray(picture).resize((200, 150), Image.Resampling.LANCZOS))
        for name, picture in pictures.items()
    }
    large = search_all(dataset_of(tmp_path / "large", pictures))
    assert [(pair.image_a, pair.image_b) for pair in large] == [("a", "b")]
    assert search_all(dataset_of(tmp_path / "small", small)) == large


def test_grey_flat_and_tiny_images_do_no_harm(tmp_path):
    grey = view(skin(0)).mean(axis=2, keepdims=True).astype(np.uint8)
    turned = view(skin(0), degrees=60).mean(axis=2, keepdims=True).astype(np.uint8)
    pictures = {
        "flat": np.full((150, 200, 3), 128, np.uint8),
        "flat-too": np.full((150, 200, 3), 128, np.uint8),
        "tiny": skin(1)[:8, :8],
        "narrow": skin(2)[:, :3],
        "dot": np.zeros((1, 1, 3), np.uint8),
        "grey": np.repeat(grey, 3, axis=2),
        "grey-turned": np.repeat(turned, 3, axis=2),
    }
    found = search_all(dataset_of(tmp_path, pictures))
    assert {(pair.image_a, pair.image_b) for pair in found} <= {("grey", "grey-turned")}


@pytest.mark.parametrize("n", [1, 2])
def test_hardly_any_images(tmp_path, n):
    assert search_all(dataset_of(tmp_path, {f"{seed}": view(skin(seed)) for seed in range(n)})) == ()


def test_unreadable_images_are_all_named(tmp_path):
    dataset = dataset_of(tmp_path, {name: view(skin(0)) for name in "abc"})
    for name in "ac":
        (tmp_path / f"{name}.png").write_text("broken")
    with pytest.raises(DataError) as caught:
        search_all(dataset)
    assert "2 images cannot be used" in str(caught.value)
    assert "a.png" in str(caught.value)
    assert "c.png" in str(caught.value)


class TestCache:
    @pytest.fixture
    def dataset(self, tmp_path):
        pictures = {"a": view(skin(7)), "b": view(skin(7), degrees=25), "c": view(skin(8))}
        return dataset_of(tmp_path / "data", pictures)

    def test_a_second_search_reads_the_first(self, dataset, tmp_path, monkeypatch):
        steps = []
        first = near_duplicates(dataset, root=tmp_path, workers=1, on_step=lambda *step: steps.append(step))
        assert [(pair.image_a, pair.image_b) for pair in first] == [("a", "b")]
        assert {step[0] for step in steps} == {"finding points", "looking for similar images", "comparing pairs"}
        assert ("finding points", 3, 3) in steps
        monkeypatch.setattr(search_module, "search", None)
        assert near_duplicates(dataset, root=tmp_path, workers=4) == first

    def test_other_settings_lesions_or_files_are_searched_again(self, dataset, tmp_path, monkeypatch):
        near_duplicates(dataset, root=tmp_path, workers=1)
        searched = []
        monkeypatch.setattr(search_module, "search", lambda *_, **__: searched.append(1) or ())
        near_duplicates(dataset, root=tmp_path, workers=1, settings=SearchSettings(seed=1))
        others = replace(dataset, lesion_ids=np.array(["x", "x", "y"]))
        near_duplicates(others, root=tmp_path, workers=1)
        os.utime(dataset.paths[0], (1, 1))
        near_duplicates(dataset, root=tmp_path, workers=1)
        assert len(searched) == 3

    @pytest.mark.parametrize(
        ("module", "name", "value"),
        [
            (score, "INTERCEPT", -11.0),
            (score, "WEIGHTS", (4.1, -0.72, 1.67, 4.47, 4.3)),
            (score, "CONFIRMED", 3.5),
            (score, "FARTHEST_MIDDLES", 0.6),
            (overlay, "SCALES", (1.0, 2.0, 5.0)),
            (alignment, "RATIO", 0.9),
            (motion, "REACH", 5.0),
            (features, "TOO_FAR", 0.0),
        ],
    )
    def test_the_result_of_other_constants_is_not_taken(self, dataset, tmp_path, monkeypatch, module, name, value):
        near_duplicates(dataset, root=tmp_path, workers=1)
        searched = []
        monkeypatch.setattr(search_module, "search", lambda *_, **__: searched.append(1) or ())
        near_duplicates(dataset, root=tmp_path, workers=1)
        assert searched == []
        monkeypatch.setattr(module, name, value)
        near_duplicates(dataset, root=tmp_path, workers=1)
        assert searched == [1]

    def test_every_constant_of_the_modules_of_the_search_is_in_the_key(self):
        said = constants()
        home = Path(search_module.__file__).parent
        told_apart_otherwise = {"search", "across", "decisions", "settings", "constants", "__init__"}
        for file in sorted(home.glob("*.py")):
            if file.stem not in told_apart_otherwise:
                for name in re.findall(r"^([A-Z][A-Z_]*) = ", file.read_text(encoding="utf-8"), re.MULTILINE):
                    assert f"{file.stem}.{name} = " in said

    def test_a_damaged_file_is_written_again(self, dataset, tmp_path):
        first = near_duplicates(dataset, root=tmp_path, workers=1)
        (file,) = (tmp_path / "near-duplicates").iterdir()
        file.write_text('{"pairs": [{}]}')
        assert near_duplicates(dataset, root=tmp_path, workers=1) == first
        assert len(json.loads(file.read_text())["pairs"]) == 1


def found_pair(**changed):
    plain = {
        "image_a": "a", "image_b": "b", "verdict": "confirmed", "score": 0.9, "mirrored": False, "degrees": 0.0,
        "scale": 1.0, "inliers": 12, "possible": 40, "overlap": 0.5, "correlation": 0.9,
        "matrix": (1, 0, 0, 0, 1, 0),
    }  # fmt: skip
    return FoundPair(**(plain | changed))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "placed as the first"),
        ({"degrees": -90.0, "mirrored": True}, "turned by -90 degrees, mirrored"),
        ({"scale": 2.0}, "scaled by 2.00"),
        ({"verdict": "doubtful"}, "placed as the first"),
        (
            {"verdict": "doubtful", "score": 0.99},
            "placed as the first; their middles lie far apart: neighbouring lesions?",
        ),
    ],
)
def test_the_reason_is_put_into_words(changed, words):
    why = found_pair(**changed).why
    assert why.startswith("12 of 40 points agree")
    assert why.endswith(words)
