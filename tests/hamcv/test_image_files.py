from __future__ import annotations

from pathlib import Path

import pytest

from cv_folds.errors import DataError
from hamcv.image_files import image_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "x/c.tiff", "x/y/d.jpeg", "x/notes.txt", ".hidden/e.jpg", "x/._b.jpg", "[1].bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def found(tree: Path, *given: str) -> list[str]:
    paths = [path for path in image_files([str(tree / text) for text in given]) if isinstance(path, Path)]
    return [str(path.relative_to(tree)) for path in paths]


def test_folders_are_searched_to_the_bottom_for_names_of_images(tree: Path) -> None:
    assert found(tree, ".") == ["[1].bmp", "a.PNG", "b.jpg", "x/c.tiff", "x/y/d.jpeg"]
    assert found(tree, "x/y") == ["x/y/d.jpeg"]


def test_patterns(tree: Path) -> None:
    assert found(tree, "*.*") == ["[1].bmp", "a.PNG", "b.jpg"]
    assert found(tree, "**/*") == ["[1].bmp", "a.PNG", "b.jpg", "x/c.tiff", "x/y/d.jpeg"]
    assert found(tree, "x/*/?.jpeg") == ["x/y/d.jpeg"]


def test_what_is_named_is_taken_as_it_is_and_in_that_order(tree: Path) -> None:
    assert found(tree, "x/notes.txt", "b.jpg", "b.jpg", "absent.gif") == ["x/notes.txt", "b.jpg", "b.jpg", "absent.gif"]
    assert found(tree, "[1].bmp") == ["[1].bmp"]


def test_what_gives_no_image_is_named_and_the_rest_goes_on(tree: Path) -> None:
    answers = list(image_files([str(tree / text) for text in ("empty", "*.webp", "b.jpg")]))
    assert [isinstance(answer, DataError) for answer in answers] == [True, True, False]
    assert str(answers[0]).startswith(f"{tree / 'empty'}: no image below")
    assert str(answers[1]).startswith(f"{tree / '*.webp'}: the pattern matches no image")
