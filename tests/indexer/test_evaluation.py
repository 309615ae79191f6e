from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import picture

from indexer.evaluation import MODES, Evaluation, evaluate, evaluate_tags, labelled_figures
from indexer.report import IndexOptions
from indexer.run import run_index
from search.catalog.connection import connect_to_read, connect_to_write
from search.errors import SightlineError
from search.home import Home

NAMES = ("beach", "dog", "motorcycle", "tower", "unread")


def captioned(folder: Path) -> tuple[Path, Path]:
    """Photos that are called what their captions say, one of them no picture, and their captions."""
    images = folder / "photos"
    images.mkdir()
    for seed, name in enumerate(NAMES):
        picture(images / f"{name}.jpg", seed)
    (images / "unread.jpg").write_bytes(b"no picture")
    picture(images / "other.jpg", 99)
    entries = [
        {
            "filename": f"{name}.jpg",
            "split": "test" if name == "tower" else "val",
            "sentences": [{"raw": f'A {name} "by" the sea: -no- after:2030'}, {"raw": f"{name} again ."}],
        }
        for name in NAMES
    ]
    file = folder / "captions.json"
    file.write_text(json.dumps({"images": entries}), encoding="utf-8")
    return file, images


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """All modes, with the built-in model and captioner."""
    file, images = captioned(tmp_path_factory.mktemp("evaluation"))
    return evaluate(file, images, model="starter", modes=MODES)


def test_every_mode_is_measured_both_ways(measured: Evaluation) -> None:
    document = measured.document
    # Of the five photos one cannot be read; the sixth in the folder is none of the set's.
    assert (document["photos"], document["texts"], document["model"]) == (4, 8, "starter")
    assert list(document["modes"]) == list(MODES)
    assert document["mode"] == "hybrid" and document["text_to_image"] == document["modes"]["hybrid"]["text_to_image"]
    for ways in document["modes"].values():
        for way in ("text_to_image", "image_to_text"):
            assert set(ways[way]) == {"r1", "r5", "r10", "mean_rank", "median_rank"}
            assert ways[way]["r5"] >= ways[way]["r1"] and 1 <= ways[way]["mean_rank"] <= 8
    assert document["modes"]["meaning"]["text_to_image"]["r5"] == 100.0  # of four photos


def test_captions_are_compared_with_peoples(measured: Evaluation) -> None:
    captions = measured.document["captions"]
    assert set(captions) == {
        *(f"bleu{n}" for n in range(1, 5)), "meteor", "rouge_l", "cider", "distinct", "photos"
    }  # fmt: skip
    assert captions["photos"] == 4 and 1 <= captions["distinct"] <= 4
    assert captions["bleu1"] >= captions["bleu4"] >= 0


def test_curves_end_with_the_photos_or_the_texts(measured: Evaluation) -> None:
    for mode, ways in measured.curves.items():
        assert (len(ways["text_to_image"]), len(ways["image_to_text"])) == (4, 8)
        for way, curve in ways.items():
            assert curve[0] == measured.document["modes"][mode][way]["r1"] and curve == sorted(curve)


def test_no_word_of_the_sets_captions_or_names_is_in_the_index(tmp_path: Path) -> None:
    file, images = captioned(tmp_path)
    document = evaluate(file, images, model="starter", modes=("words",), captions="off").document
    # Without a captioner there are no words at all: every photo comes last, though its file is called what is asked.
    assert document["text_to_image"] == {"r1": 0.0, "r5": 100.0, "r10": 100.0, "mean_rank": 4.0, "median_rank": 4.0}
    assert document["captions"] is None


def test_a_split_alone_is_indexed(tmp_path: Path) -> None:
    file, images = captioned(tmp_path)
    document = evaluate(file, images, model="starter", captions="off", split="test").document
    assert (document["split"], document["photos"], document["texts"]) == ("test", 1, 2)


def test_where_no_photo_can_be_read_one_sentence_says_so(tmp_path: Path) -> None:
    file, images = captioned(tmp_path)
    for name in NAMES:
        (images / f"{name}.jpg").write_bytes(b"no picture")
    with pytest.raises(SightlineError, match=r"None of the captioned photos in .* could be read"):
        evaluate(file, images, model="starter", captions="off")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two folders of photos, and a photo in neither."""
    seed = 0
    for label in ("dog", "Red_Car/deeper"):
        (tmp_path / "labelled" / label).mkdir(parents=True)
        for place in range(2):
            picture(tmp_path / "labelled" / label / f"{place}.jpg", seed := seed + 1)
    picture(tmp_path / "labelled" / "loose.jpg", 9)
    return tmp_path / "labelled"


def test_tags_are_compared_with_the_names_of_folders(labelled: Path, home: Home) -> None:
    run_index(home, [labelled], IndexOptions(model="starter", captions="off"))
    with closing(connect_to_write(home)) as connection, connection:
        connection.execute("DELETE FROM tags")
        keys: dict[Any, int] = {
            (folder.rsplit(b"/")[-1], name): key
            for key, folder, name in connection.execute("SELECT photo_key, folder, name FROM files")
        }
        connection.executemany(
            "INSERT INTO tags (photo_key, tag, score) VALUES (?, ?, 0.5)",
            [
                (keys[b"dog", b"0.jpg"], "dog"),
                (keys[b"dog", b"1.jpg"], "red car"),
                (keys[b"deeper", b"0.jpg"], "red car"),
                (keys[b"labelled", b"loose.jpg"], "dog"),
            ],
        )
    with closing(connect_to_read(home)) as connection:
        figures = labelled_figures(connection, labelled)
    assert (figures["photos"], figures["labels"], figures["unknown"]) == (4, 2, [])
    assert (figures["precision"], figures["recall"]) == (66.67, 50.0)
    assert figures["per_label"]["red car"] == {"photos": 2, "tagged": 2, "precision": 50.0, "recall": 50.0}


def test_a_folder_is_named_by_a_tag_or_else_by_its_plural_or_a_synonym(home: Home, tmp_path: Path) -> None:
    for seed, label in enumerate(("boy", "boys", "Bikes", "no_such_thing")):
        (tmp_path / "labelled" / label).mkdir(parents=True)
        picture(tmp_path / "labelled" / label / "0.jpg", seed)
    run_index(home, [tmp_path / "labelled"], IndexOptions(model="starter", captions="off"))
    with closing(connect_to_read(home)) as connection:
        figures = labelled_figures(connection, tmp_path / "labelled")
    assert set(figures["per_label"]) == {"boy", "boys", "bicycle", "no such thing"}
    assert figures["unknown"] == ["no such thing"]


def test_labelled_photos_are_measured_in_a_throw_away_home(labelled: Path) -> None:
    found = evaluate_tags(labelled, model="starter")
    assert found["model"] == "starter" and found["tags"]["photos"] == 4


def test_a_folder_without_labels_is_one_sentence(tmp_path: Path) -> None:
    picture(tmp_path / "loose.jpg", 1)
    with pytest.raises(SightlineError, match="has no folders with photos"):
        evaluate_tags(tmp_path, model="starter")
