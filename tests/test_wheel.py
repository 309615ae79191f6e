"""The wheel: it must hold all that a checkout runs on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def test_it_holds_every_module_page_and_weight(wheel: Path) -> None:
    tracked = [path for folder in ("search", "indexer", "web") for path in (ROOT / folder).rglob("*")]
    expected = {path.relative_to(ROOT).as_posix() for path in tracked if path.is_file() and path.suffix != ".pyc"}
    data = {path.relative_to(ROOT / "data").as_posix() for path in (ROOT / "data").rglob("*") if path.is_file()}
    names = set(ZipFile(wheel).namelist())
    assert expected | {"sightline.py"} <= names
    assert {f"sightline_data/{name}" for name in data} <= names


def test_the_built_in_model_is_found_outside_a_checkout(wheel: Path, tmp_path: Path) -> None:
    ZipFile(wheel).extractall(tmp_path)
    # Isolated from the checkout that an editable install puts on the path: the wheel's folder comes first.
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "from search.models.names import resolve; print(resolve('starter').folder)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == str(tmp_path / "sightline_data" / "models" / "starter")
