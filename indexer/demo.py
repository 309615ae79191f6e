"""The demo: real colour photographs that well-known Python packages carry in their wheels, and questions about them.

Nothing is downloaded, and nothing of theirs is kept in this repository.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

from search.answer import Request
from search.engine import Engine
from search.errors import SightlineError
from search.home import Home
from search.resources import data_path

# Photographs in colour only: the packages' grey textures, drawings and test patterns would not be in an
# album. Of the stereo pair of the motorcycle one view is enough.
_SAMPLES = (
    (
        "skimage",
        "data",
        (
            "astronaut.png",
            "chelsea.png",
            "coffee.png",
            "hubble_deep_field.jpg",
            "ihc.png",
            "motorcycle_left.png",
            "retina.jpg",
            "rocket.jpg",
        ),
    ),
    ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")),
    ("matplotlib", "mpl-data/sample_data", ("grace_hopper.jpg",)),
)
_ENOUGH = 5


def gather_samples(folder: Path) -> list[Path]:
    """Copy the sample photos that are installed into `folder`, under their own names; return where they lie.

    Copies that are there already are left as they are, so that a second demo finds its index up to date.
    Raises `SightlineError` when the packages are not installed, or carry too few photos for a demo.
    """
    found = [path for package, inside, names in _SAMPLES for path in _installed(package, inside, names)]
    if len(found) < _ENOUGH:
        raise SightlineError(
            f"Only {len(found)} of the demo's photos are installed. They come with scikit-image, "
            'scikit-learn and matplotlib: install these with `pip install "sightline[demo]"`, '
            "or give a folder of your own photos."
        )
    folder.mkdir(parents=True, exist_ok=True)
    return [_copy(path, folder / path.name) for path in found]


def ask(home: Home, *, judged: bool) -> dict[str, Any]:
    """Ask the demo's questions by meaning alone, since the samples' file names would give the answers away.

    Returns `queries`, each with what was `found`, and `passed`. Where the photos are the samples the answers are
    `judged`: whether the first one was `right`, and whether it `must` be.
    """
    asked = []
    with Engine.open(home) as engine:
        for example in json.loads(data_path("demo/queries.json").read_text(encoding="utf-8")):
            hits = engine.search(Request(example["query"], mode="meaning", limit=3)).hits
            found = [Path(hit.path).stem for hit in hits]
            right = bool(found) and found[0] in example["expects"]
            asked.append({"query": example["query"], "found": found, "right": right, "must": example["must"]})
    if not judged:
        return {"queries": [{"query": one["query"], "found": one["found"]} for one in asked], "passed": True}
    return {"queries": asked, "passed": all(one["right"] for one in asked if one["must"])}


def _installed(package: str, inside: str, names: tuple[str, ...]) -> list[Path]:
    """Those of the files that the package carries. It is located, not imported: that would take seconds."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    roots = (spec.submodule_search_locations or ()) if spec else ()
    paths = (Path(root, inside, name) for root in roots for name in names)
    return [path for path in paths if path.is_file()]


def _copy(source: Path, target: Path) -> Path:
    if not target.is_file() or target.stat().st_size != source.stat().st_size:
        beside = target.with_name(target.name + ".part")
        shutil.copy2(source, beside)
        os.replace(beside, target)
    return target
