from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from isic2019_like import write_isic2019_like

from cv_folds.data.readers import read_dataset

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_class_folders.py"


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_isic2019_like(tmp_path_factory.mktemp("eight"))


def make(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], check=False, capture_output=True, text=True)


def test_eight_classes_and_their_lesions_are_those_of_the_source(eight: Path, tmp_path: Path) -> None:
    done = make(eight, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    source, folders = read_dataset(eight), read_dataset(tmp_path / "out")
    assert (source.layout, folders.layout) == ("isic2019", "folders")
    assert folders.classes == ("AK", "BCC", "BKL", "DF", "MEL", "NV", "SCC", "VASC")
    assert folders.class_counts() == source.class_counts()
    assert min(folders.lesion_counts().values()) >= 5
    for name in ("image_ids", "lesion_ids", "labels", "lesion_given"):
        np.testing.assert_array_equal(getattr(folders, name), getattr(source, name))
    assert f"{tmp_path / 'out' / 'SCC'}: {source.class_counts()['SCC']} images" in done.stdout
    one = folders.paths[0]
    assert one.samefile(source.paths[0])


def test_images_can_be_copied_and_lesions_be_few(eight: Path, tmp_path: Path) -> None:
    done = make(eight, tmp_path / "out", "--copy", "--limit-lesions", "20", "--format", "isic2019")
    assert done.returncode == 0, done.stderr
    folders, source = read_dataset(tmp_path / "out"), read_dataset(eight)
    assert len(folders) < len(source)
    paths = dict(zip(source.image_ids.tolist(), source.paths, strict=True))
    for image, path in zip(folders.image_ids.tolist(), folders.paths, strict=True):
        assert not path.samefile(paths[image])
        assert path.read_bytes() == paths[image].read_bytes()


def test_without_lesions_there_is_no_table(eight: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for name in ("SCC", "VASC"):
        (plain / name).mkdir(parents=True)
        for number, path in enumerate(sorted((eight / "ISIC_2019_Training_Input").iterdir())[:3]):
            shutil.copyfile(path, plain / name / f"{name}{number}.jpg")
    done = make(plain, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "out").glob("*.csv"))
    assert not read_dataset(tmp_path / "out").lesion_given.any()


def test_a_folder_with_content_is_left_alone(eight: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    done = make(eight, tmp_path)
    assert done.returncode == 2
    assert "exists and is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
