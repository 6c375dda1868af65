from __future__ import annotations

import json
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from ensemble_samples import BACKBONES, CLASSES, SIZE, tiny_backbone
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from scipy.stats import entropy

import ensemble
import ensemble.inputs
import ensemble.members
import ensemble.passes
import ensemble.views
from cv_folds.errors import DataError, UsageError
from cv_folds.images import to_pixels
from cv_folds.training.pixels import IMAGENET, normalise
from ensemble.bundle import read_bundle
from ensemble.device import resolve_device
from ensemble.predictor import EnsemblePredictor
from ensemble.views import Views


def random_images(seed: int, n: int, *, height: int = 30, width: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(n, height, width, 3), dtype=np.uint8)


def network(bundle: Path, backbone: str, fold: int) -> torch.nn.Module:
    module = tiny_backbone(backbone, len(CLASSES), image_size=SIZE)
    module.load_state_dict(load_file(bundle / f"{backbone}-fold-{fold}.safetensors"))
    return module.eval()


def by_hand(bundle: Path, images: np.ndarray, turn=lambda pixels: pixels) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and member logits, all images in one batch."""
    pixels = turn(torch.from_numpy(np.stack([to_pixels(Image.fromarray(image), SIZE) for image in images])))
    with torch.inference_mode():
        logits = np.stack(
            [
                np.stack([network(bundle, name, fold)(normalise(pixels, IMAGENET)).numpy() for name in BACKBONES], 1)
                for fold in range(2)
            ],
            axis=1,
        ).astype(np.float64)
    model = read_bundle(bundle).model
    return (model.probabilities(logits[:, 0]) + model.probabilities(logits[:, 1])) / 2, logits


@pytest.fixture
def predictor(bundle) -> EnsemblePredictor:
    return EnsemblePredictor.load(bundle, device="cpu")


def test_members_of_a_fold_are_combined_and_folds_averaged(bundle, predictor):
    images = random_images(0, 7)
    expected, logits = by_hand(bundle, images)
    rows = predictor.predict_proba(images)
    assert rows.dtype == np.float64
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(predictor.member_logits(images), logits, rtol=0, atol=1e-4)
    assert len(np.unique(rows.round(6), axis=0)) == 7
    names = predictor.predict(images)
    assert names.tolist() == [CLASSES[index] for index in expected.argmax(axis=1)]
    assert predictor.classes_.tolist() == list(CLASSES)


def test_every_kind_of_image_gives_the_same_answer(predictor, tmp_path):
    array = random_images(1, 1)[0]
    image = Image.fromarray(array)
    path = tmp_path / "lesion.png"
    image.save(path)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    single = [path, str(path), np.str_(path), image, array, tensor, array[:, ::-1][:, ::-1]]
    many = [[source] for source in single] + [array[None], tensor[None], (image,), iter([image]), np.array([str(path)])]
    expected = predictor.predict_proba(array)
    assert expected.shape == (1, 3)
    for images in single + many:
        np.testing.assert_array_equal(predictor.predict_proba(images), expected)


def test_many_images_of_several_sizes_and_kinds_keep_their_order(predictor, tmp_path):
    sizes = [(30, 40), (12, 12), (8, 90), (64, 64)]
    images = [random_images(seed, 1, height=h, width=w)[0] for seed, (h, w) in enumerate(sizes)]
    Image.fromarray(images[1]).save(tmp_path / "one.png")
    mixed = [images[0], tmp_path / "one.png", Image.fromarray(images[2]), torch.from_numpy(images[3]).permute(2, 0, 1)]
    one_by_one = np.concatenate([predictor.predict_proba(image) for image in images])
    np.testing.assert_array_equal(predictor.predict_proba(mixed), one_by_one)
    assert len(np.unique(one_by_one, axis=0)) == 4


@pytest.mark.parametrize("batch", [1, 4])
def test_the_company_of_an_image_changes_nothing(predictor, monkeypatch, batch):
    monkeypatch.setitem(ensemble.passes.BATCH, "cpu", batch)
    images = random_images(2, 9)
    together = predictor.predict_proba(images)
    order = np.random.default_rng(0).permutation(9)
    alone = np.concatenate([predictor.predict_proba(image) for image in images])
    # With one image a pass the shapes are the same and so is every bit; in a larger one its place may matter.
    tolerance = 0 if batch == 1 else 1e-6
    for other in (alone, predictor.predict_proba(images[order])[np.argsort(order)], predictor.predict_proba(images)):
        np.testing.assert_allclose(other, together, rtol=0, atol=tolerance)


@pytest.mark.parametrize("batch", [1, 4])
def test_the_combiner_always_sees_one_shape(bundle, monkeypatch, batch):
    monkeypatch.setitem(ensemble.passes.BATCH, "cpu", batch)
    predictor = EnsemblePredictor.load(bundle, device="cpu", views=2)
    seen = set()
    combine = type(predictor.bundle.model.combiner).combine

    def watched(self, logits, clinical=None):
        seen.add(logits.shape)
        return combine(self, logits, clinical)

    monkeypatch.setattr(type(predictor.bundle.model.combiner), "combine", watched)
    images = random_images(3, 6)
    assert predictor.predict_proba(images).shape == (6, 3)
    assert len(list(predictor.explain_each(images))) == 6
    assert seen == {(batch * 2 * 2, 2, 3)}


def test_images_are_read_in_pieces(predictor):
    """Of a stream without end, only a few images are held: the first answer comes, and memory stays bounded."""
    taken = 0
    refs = []

    def stream():
        nonlocal taken
        while True:
            image = random_images(taken, 1)[0]
            refs.append(weakref.ref(image))
            taken += 1
            yield image
            del image

    answers = predictor.explain_each(stream())
    for given in range(1, 4):
        next(answers)
        assert taken <= given + ensemble.inputs._AHEAD + 2
    assert sum(ref() is not None for ref in refs) <= 2
    answers.close()


def test_a_caller_may_fill_one_array_again_and_again(predictor):
    images = random_images(5, 6)
    buffer = np.empty_like(images[0])

    def stream():
        for image in images:
            buffer[:] = image
            yield buffer

    np.testing.assert_array_equal(predictor.predict_proba(stream()), predictor.predict_proba(images))


def test_the_number_of_threads_changes_nothing(bundle, predictor, monkeypatch):
    images = random_images(5, 6)
    alone = predictor.predict_proba(images)
    own = torch.get_num_threads()
    seen = set()
    outputs = ensemble.members.Members.outputs

    def watched(self, *arguments):
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        return outputs(self, *arguments)

    monkeypatch.setattr(ensemble.members.Members, "outputs", watched)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr("ensemble.passes.cpu_cores", lambda: 3)
    np.testing.assert_array_equal(EnsemblePredictor.load(bundle, device="cpu").predict_proba(images), alone)
    assert len(seen) > 1
    monkeypatch.undo()
    assert torch.get_num_threads() == own


def test_an_abandoned_stream_leaves_no_thread(predictor):
    before = threading.active_count()
    answers = predictor.explain_each(random_images(0, 50))
    next(answers)
    answers.close()
    assert threading.active_count() == before


def test_no_image_gives_no_row(predictor):
    for nothing in ([], iter(()), random_images(0, 0), torch.zeros((0, 3, 8, 8), dtype=torch.uint8)):
        assert predictor.predict_proba(nothing).shape == (0, 3)
    assert predictor.predict([]).shape == (0,)
    assert predictor.member_logits([]).shape == (0, 2, 2, 3)
    assert list(predictor.explain_each([])) == []


def test_threads_load_each_member_once_and_agree(bundle, monkeypatch):
    built = []
    barrier = threading.Barrier(4)

    def counted(name, n_classes, *, image_size):
        built.append(name)
        return tiny_backbone(name, n_classes, image_size=image_size)

    monkeypatch.setattr("ensemble.networks.build_backbone", counted)
    shared = EnsemblePredictor.load(bundle, device="cpu")
    assert built == []
    images = random_images(4, 12)

    def predict(index: int) -> np.ndarray:
        barrier.wait()
        return shared.predict_proba(images[index::4])

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(predict, range(4)))
    assert sorted(built) == sorted(BACKBONES * 2)
    alone = EnsemblePredictor.load(bundle, device="cpu")
    for index, part in enumerate(parts):
        np.testing.assert_array_equal(part, alone.predict_proba(images[index::4]))


def test_loading_leaves_the_callers_random_numbers_and_gradients_alone(predictor):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    predictor.predict_proba(random_images(0, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.is_grad_enabled()


def test_explain_tells_all_about_one_image(bundle, predictor):
    image = random_images(6, 1)[0]
    probabilities, logits = by_hand(bundle, image[None])
    told = predictor.explain(image)
    np.testing.assert_array_equal(told.probabilities, predictor.predict_proba(image)[0])
    assert not told.probabilities.flags.writeable
    assert (told.label, told.classes) == (CLASSES[probabilities[0].argmax()], CLASSES)
    members = softmax(logits[0], axis=-1).reshape(-1, 3)
    assert told.spread == pytest.approx(entropy(members.mean(axis=0)) - entropy(members, axis=1).mean(), abs=1e-5)
    threshold = predictor.bundle.prediction_sets.thresholds[0]
    expected = [name for name, p in zip(CLASSES, told.probabilities, strict=True) if 1 - p <= threshold]
    assert list(told.prediction_set) == (expected or [told.label])
    with pytest.raises(UsageError, match="one image"):
        predictor.explain([image, image])
    with pytest.raises(UsageError, match="one image"):
        predictor.explain([])
    assert [each.label for each in predictor.explain_each([image, image])] == [told.label] * 2


def test_views_are_averaged(bundle):
    images = random_images(7, 3)
    turns = [lambda x: x, lambda x: x.flip(2), lambda x: x.flip(1).flip(2), lambda x: x.flip(1)]
    expected = np.mean([by_hand(bundle, images, turn)[0] for turn in turns], axis=0)
    rows = EnsemblePredictor.load(bundle, device="cpu", views=4).predict_proba(images)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6)


def test_all_eight_views_make_the_answer_blind_to_turns(bundle):
    predictor = EnsemblePredictor.load(bundle, device="cpu", views=8)
    image = random_images(8, 1, height=SIZE, width=SIZE)[0]
    rows = predictor.predict_proba([image, np.rot90(image), image[::-1], image.transpose(1, 0, 2)])
    np.testing.assert_allclose(rows, rows[:1].repeat(4, axis=0), rtol=0, atol=1e-6)
    plain = EnsemblePredictor.load(bundle, device="cpu").predict_proba([image, np.rot90(image)])
    assert abs(plain[0] - plain[1]).max() > 1e-4


def test_spins_are_averaged_with_the_views(bundle):
    images = random_images(7, 3)
    with torch.inference_mode():
        turns = [lambda x, k=k: list(Views(turns=2, spins=3, seed=5).of(x))[k] for k in range(5)]
        expected = np.mean([by_hand(bundle, images, turn)[0] for turn in turns], axis=0)
    predictor = EnsemblePredictor.load(bundle, device="cpu", views=2, spins=3, seed=5)
    np.testing.assert_allclose(predictor.predict_proba(images), expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(predictor.predict_proba(images[1]), predictor.predict_proba(images)[1:2])


def test_images_are_spun_as_those_behind_the_scores_unless_told_otherwise(bundle, tmp_path):
    copy = Path(shutil.copytree(bundle, tmp_path / "spun"))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["preprocessing"]["held_out_spins"] = 3
    (copy / "manifest.json").write_text(json.dumps(manifest))
    images = random_images(7, 2)
    rows = {spins: EnsemblePredictor.load(copy, "cpu", spins=spins).predict_proba(images) for spins in (None, 3, 0)}
    np.testing.assert_array_equal(rows[None], rows[3])
    assert abs(rows[None] - rows[0]).max() > 1e-6
    np.testing.assert_array_equal(EnsemblePredictor.load(bundle, "cpu").predict_proba(images), rows[0])


@pytest.mark.parametrize("views", [0, 9])
def test_other_numbers_of_views_are_refused(bundle, views):
    with pytest.raises(UsageError, match="1 to 8"):
        EnsemblePredictor.load(bundle, device="cpu", views=views)


def test_unreadable_images_are_named(predictor, tmp_path):
    good = random_images(0, 1)[0]
    (tmp_path / "text.jpg").write_text("not a picture")
    Image.fromarray(random_images(0, 1, height=90, width=90)[0]).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:3000])
    for name in ("text.jpg", "half.jpg", "absent.jpg"):
        with pytest.raises(DataError, match=name):
            predictor.predict_proba([good, tmp_path / name])
    with pytest.raises(DataError, match=r"image 1 .*float64"):
        predictor.predict_proba([good, good / 255])
    with pytest.raises(DataError, match=r"image 0 .*\(4, 30, 40\)"):
        predictor.predict_proba(torch.zeros((1, 4, 30, 40), dtype=torch.uint8))
    with Image.open(tmp_path / "half.jpg") as lazy, pytest.raises(DataError, match=r"image 1 .*truncated"):
        predictor.predict_proba([good, lazy])
    small = random_images(0, 1, height=7, width=90)[0]
    Image.fromarray(small).save(tmp_path / "small.png")
    for image, name in ((small, "image 1 "), (tmp_path / "small.png", "small.png")):
        with pytest.raises(DataError, match=rf"{name}.*90 x 7 pixels.*8 or more"):
            predictor.predict_proba([good, image])


def test_the_others_get_their_answer(predictor, tmp_path):
    good = random_images(0, 3)
    (tmp_path / "text.jpg").write_text("not a picture")
    mixed = [tmp_path / "text.jpg", good[0], good[1] / 255, good[1], good[2], tmp_path / "absent.jpg"]
    answers = list(predictor.try_each(mixed))
    assert [isinstance(answer, DataError) for answer in answers] == [True, False, True, False, False, True]
    expected = predictor.predict_proba(good)
    for answer, row in zip([answers[1], answers[3], answers[4]], expected, strict=True):
        np.testing.assert_array_equal(answer.probabilities, row)
    assert [name in str(answers[k]) for k, name in ((0, "text.jpg"), (2, "image 2 "), (5, "absent.jpg"))] == [True] * 3
    assert all(isinstance(answer, DataError) for answer in predictor.try_each([tmp_path / "text.jpg"] * 3))


def test_a_run_folder_leads_to_its_bundle(bundle, tmp_path, predictor):
    (tmp_path / "run").mkdir()
    shutil.copytree(bundle, tmp_path / "run" / "predictor")
    image = random_images(0, 1)
    rows = EnsemblePredictor.load(tmp_path / "run", device="cpu").predict_proba(image)
    np.testing.assert_array_equal(rows, predictor.predict_proba(image))
    assert isinstance(ensemble.EnsemblePredictor.load(str(tmp_path / "run"), device="cpu"), EnsemblePredictor)


def test_what_is_no_bundle_is_refused(tmp_path, bundle):
    with pytest.raises(DataError, match="no such folder"):
        EnsemblePredictor.load(tmp_path / "nowhere", device="cpu")
    (tmp_path / "unfinished").mkdir()
    with pytest.raises(DataError, match="finish the run"):
        EnsemblePredictor.load(tmp_path / "unfinished", device="cpu")
    (bundle / "tiny_wide-fold-0.safetensors").write_bytes(b"damage")
    with pytest.raises(DataError, match="is damaged"):
        EnsemblePredictor.load(bundle, device="cpu")


def test_weights_that_change_or_vanish_before_they_are_read(predictor, bundle):
    path = bundle / "tiny_wide-fold-0.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match="was changed after"):
        predictor.predict_proba(random_images(0, 1))
    path.write_bytes(content + b" ")
    with pytest.raises(DataError, match=path.name):
        predictor.predict_proba(random_images(0, 1))
    path.unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        predictor.predict_proba(random_images(0, 1))
    path.write_bytes(content)
    assert predictor.predict_proba(random_images(0, 1)).shape == (1, 3)


def test_weights_of_another_network_are_refused(tmp_path, make_bundle, monkeypatch):
    monkeypatch.setattr("ensemble.networks.build_backbone", tiny_backbone)
    files = {(name, fold): tmp_path / "swapped.safetensors" for name in BACKBONES for fold in range(2)}
    save_file(tiny_backbone("tiny_thin", 3, image_size=SIZE).state_dict(), tmp_path / "swapped.safetensors")
    swapped = EnsemblePredictor.load(make_bundle(tmp_path / "swapped", member_files=files), device="cpu")
    with pytest.raises(DataError, match=r"tiny_wide-fold-0.safetensors does not hold the weights of tiny_wide"):
        swapped.predict_proba(random_images(0, 1))


def test_devices_are_named_auto_cpu_or_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    for wrong in ("gpu", "cuda:x", "mps", "", "cuda:-1"):
        with pytest.raises(UsageError, match="auto, cpu, cuda or cuda:N"):
            resolve_device(wrong)
    with pytest.raises(UsageError, match="use cpu or auto"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match="use cuda:1 or auto"):
        resolve_device("cuda:2")


def test_real_backbones_are_built_by_the_registry(tmp_path, make_bundle, deployed):
    from cv_folds.training.backbones import build_backbone
    from ensemble.deployed import Deployed

    names = ("mobilenet_v3_small", "squeezenet1_1")
    files = {}
    for name in names:
        for fold in range(2):
            files[name, fold] = tmp_path / f"{name}-{fold}.safetensors"
            save_file(build_backbone(name, 3, image_size=64).state_dict(), files[name, fold])
    preprocessing = read_bundle(make_bundle(tmp_path / "tiny")).manifest.preprocessing
    folder = make_bundle(
        tmp_path / "real",
        member_files=files,
        deployed=Deployed(**{**vars(deployed), "backbones": names}),
        preprocessing=preprocessing.model_copy(update={"image_size": 64}),
    )
    rows = EnsemblePredictor.load(folder, device="cpu").predict_proba(random_images(0, 2))
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)


def test_public_names_are_found_lazily():
    assert set(dir(ensemble)) >= {"EnsemblePredictor", "Prediction", "Predictions", "COMBINERS"}
    for name in dir(ensemble):
        assert getattr(ensemble, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ensemble.nothing


def test_views_are_made_where_a_gpu_may_not_round(bundle, monkeypatch):
    exact = []

    @contextmanager
    def noted(device):
        exact.append(device)
        yield
        exact.pop()

    def watched(pixels, angle):
        assert exact
        turned.append(angle)
        return pixels.float()

    turned: list[float] = []
    monkeypatch.setattr(ensemble.members, "exact_float32", noted)
    monkeypatch.setattr(ensemble.views, "_spun", watched)
    EnsemblePredictor.load(bundle, device="cpu", spins=2).predict_proba(random_images(0, 1))
    assert len(turned) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_turned_images_are_not_rounded_where_the_application_rounds(bundle):
    images = random_images(9, 8)
    expected = EnsemblePredictor.load(bundle, device="cpu", spins=3).predict_proba(images)
    torch.set_float32_matmul_precision("high")
    try:
        rows = EnsemblePredictor.load(bundle, device="cuda", spins=3).predict_proba(images)
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu_and_with_itself(bundle, predictor):
    images = random_images(9, 40)
    on_gpu = EnsemblePredictor.load(bundle, device="cuda")
    rows = on_gpu.predict_proba(images)
    np.testing.assert_allclose(rows, predictor.predict_proba(images), rtol=0, atol=1e-5)
    alone = np.concatenate([on_gpu.predict_proba(image) for image in images])
    np.testing.assert_allclose(rows, alone, rtol=0, atol=1e-6)
