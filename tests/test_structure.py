from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cv_folds
import ensemble
import hamcv
import reports

ORDER = ("cv_folds", "ensemble", "reports", "hamcv")
HOMES = {module.__name__: Path(module.__file__).parent for module in (cv_folds, ensemble, reports, hamcv)}
MODULES = [(name, path) for name, home in HOMES.items() for path in sorted(home.rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize(("package", "path"), MODULES, ids=[f"{name}/{path.name}" for name, path in MODULES])
def test_imports_go_with_the_data(package: str, path: Path) -> None:
    above = set(ORDER[ORDER.index(package) + 1 :])
    assert not imported(path) & above


@pytest.mark.parametrize("package", ORDER)
def test_every_package_is_typed_and_described(package: str) -> None:
    assert (HOMES[package] / "py.typed").is_file()
    assert sys.modules[package].__doc__


@pytest.mark.parametrize("name", ["ensemble", "reports"])
def test_a_file_that_takes_a_name_of_ours_is_noticed_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("answer = 42\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import hamcv"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: hamcv needs its own package")
    assert f"{name}.py" in last


def test_importing_hamcv_does_not_import_torch() -> None:
    code = "import sys, hamcv; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
