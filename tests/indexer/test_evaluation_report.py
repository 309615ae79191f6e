from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.evaluation import Evaluation
from indexer.evaluation_report import write_report

FIGURES = {"r1": 12.5, "r5": 40.0, "r10": 60.0, "mean_rank": 9.25, "median_rank": 6.0}
WAYS = {"text_to_image": FIGURES, "image_to_text": {**FIGURES, "r1": 20.0}}
CAPTIONS = {
    **{f"bleu{n}": 50.0 - n for n in range(1, 5)},
    "meteor": 35.7,
    "rouge_l": 41.55,
    "cider": 0.3819,
    "distinct": 890,
    "photos": 1000,
}
TAGS = {
    "photos": 3,
    "labels": 2,
    "unknown": ["zebu"],
    "precision": 60.0,
    "recall": None,
    "per_label": {"a|b": {"photos": 3, "tagged": 2, "precision": 60.0, "recall": None}},
}
FOUND = Evaluation(
    {
        "model": "starter",
        "mode": "hybrid",
        "captioner": "starter",
        "split": "val",
        "photos": 1000,
        "texts": 5000,
        **WAYS,
        "modes": {"meaning": WAYS, "hybrid": WAYS},
        "captions": CAPTIONS,
        "tags": TAGS,
    },
    {mode: {way: [10.0, 20.0, 50.0] for way in WAYS} for mode in ("meaning", "hybrid")},
)


def test_the_report_has_every_figure(tmp_path: Path) -> None:
    assert write_report(tmp_path / "new" / "report", FOUND)
    page = (tmp_path / "new" / "report" / "report.md").read_text(encoding="utf-8")
    assert "| meaning | text to image | 12.5 | 40.0 | 60.0 | 9.2 | 6 |" in page
    assert "| hybrid | image to text | 20.0 |" in page
    assert "| METEOR, without synonyms | 35.7 |" in page and "| CIDEr-D | 0.3819 |" in page
    assert "| all | 3 |  | 60.0 | – |" in page and "No tag of the vocabulary: zebu." in page
    assert "![Recall at 1, 2, …](recall.png)" in page
    document = json.loads((tmp_path / "new" / "report" / "report.json").read_text(encoding="utf-8"))
    assert document == {**FOUND.document, "curves": FOUND.curves}
    with Image.open(tmp_path / "new" / "report" / "recall.png") as drawn:
        assert min(drawn.size) > 300 and len(np.unique(np.asarray(drawn.convert("L")))) > 10


def test_the_same_figures_give_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(tmp_path / name, FOUND)
    for file in ("report.md", "report.json", "recall.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_without_matplotlib_the_rest_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not write_report(tmp_path, FOUND)
    assert not (tmp_path / "recall.png").exists()
    assert "recall.png" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_tags_alone_make_a_report_without_a_picture(tmp_path: Path) -> None:
    assert write_report(tmp_path, Evaluation({"model": "starter", "tags": TAGS}, {}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]
    assert "## Tags" in (tmp_path / "report.md").read_text(encoding="utf-8")
