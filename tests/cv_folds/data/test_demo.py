from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cv_folds.arrays import FloatArray
from cv_folds.data.demo import DEMO_LESION_PREFIX, DEMO_VERSION, demo_folder, write_demo_set, writing
from cv_folds.data.demo.plan import LESION_SHARES, lesions_per_class, plan_lesions
from cv_folds.errors import UsageError

CLASSES = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
SMALL = {"n_lesions": 35, "n_images": 38}


@pytest.fixture(scope="module")
def whole_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "set"
    write_demo_set(folder)
    return folder


@pytest.fixture(scope="module")
def rows(whole_set: Path) -> list[dict[str, str]]:
    return read_rows(whole_set)


@pytest.fixture(scope="module")
def features(whole_set: Path, rows: list[dict[str, str]]) -> FloatArray:
    return np.array([simple_statistics(image_path(whole_set, row["image_id"])) for row in rows])


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "HAM10000_metadata.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def image_path(folder: Path, image_id: str) -> Path:
    (path,) = folder.glob(f"HAM10000_images_part_[12]/{image_id}.jpg")
    return path


def simple_statistics(path: Path) -> FloatArray:
    """Colour and texture figures that do not change with a turn or a flip, of the middle and of the whole."""
    with Image.open(path) as image:
        pixels = np.asarray(image.resize((64, 48)), dtype=np.float64) / 255
    middle = pixels[12:36, 16:48]
    steps = np.abs(np.diff(pixels, axis=1)).mean((0, 1)) + np.abs(np.diff(pixels, axis=0)).mean((0, 1))
    parts = [pixels.mean((0, 1)), pixels.std((0, 1)), middle.mean((0, 1)), middle.std((0, 1)), steps]
    parts.append(np.percentile(pixels, [5, 25, 75, 95], axis=(0, 1)).ravel())
    parts.extend(np.percentile(middle[..., a] - middle[..., b], [10, 50, 90]) for a, b in ((0, 1), (2, 1)))
    return np.concatenate(parts)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_demo_set(tmp_path / name, seed=seed, **SMALL)
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert first == again
    images = {name for name in first if name.endswith(".jpg")}
    assert len(images) == SMALL["n_images"]
    assert {name for name in images & set(other) if first[name] == other[name]} == set()
    assert first["HAM10000_metadata.csv"] != other["HAM10000_metadata.csv"]


def test_layout_is_that_of_ham10000(whole_set: Path, rows: list[dict[str, str]]) -> None:
    assert {path.name for path in whole_set.iterdir()} == {
        "HAM10000_metadata.csv",
        "HAM10000_images_part_1",
        "HAM10000_images_part_2",
        "README.txt",
    }
    assert list(rows[0]) == ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    assert len(rows) == len({row["image_id"] for row in rows}) == 420
    assert len({row["lesion_id"] for row in rows}) == 300
    parts = [sorted(path.stem for path in (whole_set / f"HAM10000_images_part_{n}").iterdir()) for n in (1, 2)]
    assert parts[0] + parts[1] == sorted(row["image_id"] for row in rows)
    assert len(parts[0]) == len(parts[1])
    for row in rows:
        assert row["image_id"].startswith("ISIC_9")
        assert len(row["image_id"]) == len("ISIC_0000000")
        assert row["lesion_id"].startswith(DEMO_LESION_PREFIX)
        assert len(row["lesion_id"]) == len("HAM_0000000")
    for path in whole_set.glob("*/*.jpg"):
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (200, 150))


def test_readme_says_that_nothing_is_real(whole_set: Path) -> None:
    text = (whole_set / "README.txt").read_text(encoding="utf-8")
    assert "generated" in text
    assert "nothing about patients" in text
    assert f"version {DEMO_VERSION}, seed 0" in text


def test_metadata_are_plausible_and_one_for_a_lesion(rows: list[dict[str, str]]) -> None:
    of_lesion = defaultdict(set)
    for row in rows:
        of_lesion[row["lesion_id"]].add(tuple(value for name, value in row.items() if name != "image_id"))
        assert row["sex"] in {"male", "female", "unknown"}
        assert row["dx_type"] in {"histo", "follow_up", "consensus", "confocal"}
        assert row["localization"]
        if row["dx"] in {"mel", "bcc", "akiec"}:
            assert row["dx_type"] == "histo"
        if row["age"]:
            assert float(row["age"]) in range(5, 90, 5)
    assert {len(versions) for versions in of_lesion.values()} == {1}
    assert 0 < sum(row["age"] == "" for row in rows) < 0.05 * len(rows)
    ages = {name: np.mean([float(row["age"]) for row in rows if row["dx"] == name and row["age"]]) for name in CLASSES}
    assert ages["bcc"] > ages["nv"] + 8


def test_classes_are_as_unequal_as_in_ham10000(rows: list[dict[str, str]]) -> None:
    images = Counter(row["dx"] for row in rows)
    lesions = Counter(dict({row["lesion_id"]: row["dx"] for row in rows}.items()).values())
    assert sorted(images) == CLASSES
    assert min(lesions.values()) == 5
    shares = {"nv": 0.67, "mel": 0.11, "bkl": 0.11, "bcc": 0.05, "akiec": 0.033}
    for name, share in shares.items():
        assert images[name] / len(rows) == pytest.approx(share, abs=0.03)
    several = Counter(Counter(row["lesion_id"] for row in rows).values())
    assert several[1] > 180
    assert several[2] > 30
    assert max(several) <= 6


@pytest.mark.parametrize("n_lesions", [35, 36, 60, 100, 299, 300, 2000])
def test_every_class_keeps_five_lesions_at_any_size(n_lesions: int) -> None:
    counts = lesions_per_class(n_lesions)
    assert list(counts) == CLASSES
    assert sum(counts.values()) == n_lesions
    assert min(counts.values()) >= 5
    assert max(counts, key=lambda name: counts[name]) == "nv" or n_lesions == 35
    for name, count in counts.items():
        assert count <= max(5, round(LESION_SHARES[name] * n_lesions) + 1)


def test_ids_and_order_do_not_tell_the_diagnosis() -> None:
    plans = plan_lesions(seed=0, n_lesions=300, n_images=420)
    is_nevus = [plan.diagnosis == "nv" for plan in plans]
    numbers = [int(plan.image_ids[0].removeprefix("ISIC_")) for plan in plans]
    assert abs(np.corrcoef(np.arange(300), is_nevus)[0, 1]) < 0.2
    assert abs(np.corrcoef(numbers, is_nevus)[0, 1]) < 0.2
    assert abs(np.corrcoef(numbers, np.arange(300))[0, 1]) < 0.2


def test_a_photograph_again_differs_but_is_more_alike_than_another_lesion(
    whole_set: Path, rows: list[dict[str, str]], features: FloatArray
) -> None:
    assert len(set(digests(whole_set).values())) == len(rows) + 2
    scaled = StandardScaler().fit_transform(features)
    for name in ("nv", "mel", "bkl"):
        same, different = [], []
        where = [index for index, row in enumerate(rows) if row["dx"] == name]
        for a, b in combinations(where, 2):
            pairs = same if rows[a]["lesion_id"] == rows[b]["lesion_id"] else different
            pairs.append(float(np.linalg.norm(scaled[a] - scaled[b])))
        assert len(same) >= 15
        assert np.mean(same) < 0.75 * np.mean(different)


def test_a_linear_model_does_well_but_not_perfectly(rows: list[dict[str, str]], features: FloatArray) -> None:
    labels = np.array([row["dx"] for row in rows])
    lesions = np.array([row["lesion_id"] for row in rows])
    probabilities = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000)),
        features,
        labels,
        groups=lesions,
        cv=StratifiedGroupKFold(5, shuffle=True, random_state=0),
        method="predict_proba",
    )
    macro_auc = roc_auc_score(labels, probabilities, multi_class="ovr")
    assert 0.85 < macro_auc < 0.975
    for column, name in enumerate(CLASSES):
        assert roc_auc_score(labels == name, probabilities[:, column]) > 0.7


@pytest.mark.parametrize(
    ("sizes", "mend"),
    [
        ({"n_lesions": 34, "n_images": 40}, "at least 35"),
        ({"n_lesions": 0, "n_images": 0}, "at least 35"),
        ({"n_lesions": 40, "n_images": 39}, "40 to 240 images"),
        ({"n_lesions": 40, "n_images": 241}, "40 to 240 images"),
        ({"seed": -1}, "0 or more"),
    ],
)
def test_impossible_sizes_are_refused_with_the_mend(tmp_path: Path, sizes: dict[str, int], mend: str) -> None:
    with pytest.raises(UsageError, match=mend):
        write_demo_set(tmp_path / "set", **sizes)
    assert list(tmp_path.iterdir()) == []


def test_the_largest_number_of_photographs_is_reachable() -> None:
    plans = plan_lesions(seed=1, n_lesions=35, n_images=210)
    assert {len(plan.image_ids) for plan in plans} == {6}


def test_a_folder_with_content_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"set: exists and is not an empty folder"):
        write_demo_set(tmp_path / "set", **SMALL)
    assert digests(tmp_path) == {"set/mine.txt": hashlib.sha256(b"mine").hexdigest()}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    write_demo_set(tmp_path / "set", **SMALL)
    assert len(read_rows(tmp_path / "set")) == SMALL["n_images"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    save, calls = Image.Image.save, []

    def fail_at_the_third(image: Image.Image, path: Path, **settings: object) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise failure
        save(image, path, **settings)

    monkeypatch.setattr(Image.Image, "save", fail_at_the_third)
    with pytest.raises(type(failure)):
        demo_folder(tmp_path / "cache", **SMALL)
    assert len(calls) == 3
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_cached_set_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = demo_folder(tmp_path / "cache", **SMALL)
    before = digests(folder)
    assert f"demo-{DEMO_VERSION}-" in folder.name
    monkeypatch.setattr(writing, "write_demo_set", lambda *_, **__: pytest.fail("written again"))
    assert demo_folder(tmp_path / "cache", **SMALL) == folder
    assert digests(folder) == before


def test_who_comes_second_takes_the_set_of_who_was_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_metadata = writing._write_metadata
    targets = []

    def let_another_finish_first(path: Path, plans: list[writing.LesionPlan]) -> None:
        write_metadata(path, plans)
        target = path.parent.with_name(path.parent.name.partition(".partial-")[0])
        target.mkdir()
        write_metadata(target / path.name, plans)
        targets.append(target)

    monkeypatch.setattr(writing, "_write_metadata", let_another_finish_first)
    folder = demo_folder(tmp_path, **SMALL)
    assert targets == [folder]
    assert list(tmp_path.iterdir()) == [folder]
    assert list(digests(folder)) == ["HAM10000_metadata.csv"]


def test_two_processes_at_once_get_the_same_whole_set(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from cv_folds.data.demo import demo_folder; "
        f"print(demo_folder(Path(sys.argv[1]), **{SMALL!r}))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [process.communicate()[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert answers[0] == answers[1]
    assert [str(path) for path in tmp_path.iterdir()] == [answers[0]]
    assert len(list(tmp_path.rglob("*.jpg"))) == SMALL["n_images"]
