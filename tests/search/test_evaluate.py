from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.errors import SightlineError
from search.evaluate import ranks_by_similarity, read_karpathy, recall_curve, retrieval, summary

IMAGES = np.eye(3, dtype=np.float32)
OWNERS = np.array([0, 0, 1, 2])
# Nearest to its own image; to another one; to all alike; to its own.
TEXTS = np.array([[1, 0, 0], [0.2, 0.9, 0], [0.5, 0.5, 0.5], [0, 0.1, 0.9]], dtype=np.float32)


def test_ranks_both_ways_with_ties_against_the_answer() -> None:
    to_image, to_text = ranks_by_similarity(IMAGES, TEXTS, OWNERS)
    assert to_image.tolist() == [1, 2, 3, 1]
    # The second image's only text comes after the first image's second one.
    assert to_text.tolist() == [1, 2, 1]


def test_the_summary_is_recall_in_per_cent_and_ranks() -> None:
    assert summary([1, 2, 6, 11]) == {"r1": 25.0, "r5": 50.0, "r10": 75.0, "mean_rank": 5.0, "median_rank": 4.0}
    assert retrieval(IMAGES, TEXTS, OWNERS)["text_to_image"]["mean_rank"] == 1.75


def test_a_curve_holds_the_recalls_of_the_summary() -> None:
    ranks = np.array([1, 2, 6, 11])
    curve = recall_curve(ranks, 10)
    assert len(curve) == 10 and curve == sorted(curve)
    assert (curve[0], curve[4], curve[9]) == (25.0, 50.0, 75.0)
    assert recall_curve(ranks, 12)[10:] == [100.0, 100.0]


def karpathy(folder: Path, document: Any) -> Path:
    file = folder / "captions.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return file


def entry(name: str, split: str, *captions: str) -> dict[str, Any]:
    return {"filename": name, "split": split, "sentences": [{"raw": caption} for caption in captions]}


def test_only_photos_that_are_there_and_of_the_split_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    images = [entry("a.jpg", "val", "one", "two"), entry("b.jpg", "test", "three"), entry("gone.jpg", "val", "four")]
    file = karpathy(tmp_path, {"images": images})
    assert read_karpathy(file, tmp_path).names == ("a.jpg", "b.jpg")
    assert read_karpathy(file, tmp_path, "val").captions == (("one", "two"),)
    with pytest.raises(SightlineError, match="of the split “train” lies in"):
        read_karpathy(file, tmp_path, "train")


@pytest.mark.parametrize("content", ["", "[]", '{"images": [{"filename": "a.jpg"}]}', '{"images": [1]}'])
def test_another_format_is_one_sentence(tmp_path: Path, content: str) -> None:
    with pytest.raises(SightlineError, match="not in Karpathy's format"):
        read_karpathy(karpathy(tmp_path, content), tmp_path)
