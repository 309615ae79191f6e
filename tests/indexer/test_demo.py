"""The demo's photos and the questions asked of them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from indexer import demo
from indexer.demo import gather_samples
from indexer.read import decode
from search.errors import SightlineError

QUERIES = json.loads((Path(__file__).parents[2] / "data" / "demo" / "queries.json").read_text("utf-8"))
installed = pytest.mark.skipif(importlib.util.find_spec("skimage") is None, reason="the extra `demo` is not installed")


@installed
def test_the_samples_are_colour_photographs_that_can_be_read(tmp_path: Path) -> None:
    found = gather_samples(tmp_path / "photos")
    assert len(found) >= 5 and len({path.stem for path in found}) == len(found)
    for path in found:
        assert path.parent == tmp_path / "photos"
        photo = decode(path.read_bytes())
        assert min(photo.width, photo.height) >= 300
        red, _, blue = photo.image.split()
        assert red.tobytes() != blue.tobytes()


@installed
def test_a_second_gathering_leaves_the_copies_alone(tmp_path: Path) -> None:
    before = {path: path.stat().st_ino for path in gather_samples(tmp_path)}
    (tmp_path / "rocket.jpg").write_bytes(b"cut off")
    after = {path: path.stat().st_ino for path in gather_samples(tmp_path)}
    assert before.keys() == after.keys()
    assert {path.name for path in before if before[path] != after[path]} <= {"rocket.jpg"}
    assert (tmp_path / "rocket.jpg").stat().st_size > 1000


def test_missing_packages_are_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_SAMPLES", (("no_such_package", "data", ("a.png",)),))
    with pytest.raises(SightlineError, match=r'Only 0 of .* `pip install "sightline\[demo\]"`'):
        gather_samples(tmp_path / "photos")
    assert not (tmp_path / "photos").exists()


def test_gathering_imports_none_of_the_packages(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from indexer.demo import gather_samples
        try:
            gather_samples(Path(sys.argv[1]))
        except Exception:
            pass
        sys.exit(any(name in sys.modules for name in ("skimage", "sklearn", "matplotlib")))
    """
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0


def test_each_example_query_expects_photos_of_the_demo() -> None:
    stems = {Path(name).stem for _, _, names in demo._SAMPLES for name in names}
    assert len(QUERIES) >= 5 and sum(entry["must"] for entry in QUERIES) >= 3
    for entry in QUERIES:
        assert set(entry) == {"query", "expects", "must"}
        assert entry["expects"] and set(entry["expects"]) <= stems
        # A question may not give its answer away: no file name, no odd word.
        assert entry["query"] == entry["query"].strip().lower()
