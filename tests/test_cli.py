"""The command line's contracts: what stands on stdout, what on stderr, and how a command ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import picture
from typer.testing import CliRunner, Result

import sightline
from indexer.demo import gather_samples
from indexer.terminal import printable

pytestmark = pytest.mark.usefixtures("away_from_home", "loaded_once")
STAGES = {"scan", "load", "embed", "publish", "balance", "vocabulary", "tags", "captions"}
HIT = {"id", "path", "score", "relevant", "why", "caption", "taken_at", "width", "height", "others", "preview"} | {
    "offline"
}


@pytest.fixture
def away_from_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever a test forgets to say, the tester's own index stays as it is and no hub is asked."""
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A home over the sample photos and one file that is none."""
    folder = tmp_path_factory.mktemp("cli")
    gather_samples(folder / "photos")
    (folder / "photos" / "broken.jpg").write_bytes(b"no picture")
    home = str(folder / "home")
    assert run("index", str(folder / "photos"), "--model", "starter", home=home).exit_code == 0
    return home, folder / "photos"


def run(*arguments: str, home: str | None = None) -> Result:
    return CliRunner().invoke(sightline.app, [*arguments, *(["--home", home] if home else [])])


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_index_reports_in_the_fixed_fields(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    picture(tmp_path / "photos" / "one.jpg", 1)
    picture(tmp_path / "photos" / "two.jpg", 2)
    (tmp_path / "photos" / "three.jpg").write_bytes(b"")
    first = document(run("index", str(tmp_path / "photos"), "--model", "starter", "--json"))
    assert (first["added"], first["failed"], first["model"]) == (2, 1, "starter")
    assert {"updated", "moved", "removed", "unchanged", "seconds", "photos_per_second"} <= set(first)
    assert set(first["stages"]) == STAGES
    (tmp_path / "photos" / "one.jpg").rename(tmp_path / "photos" / "uno.jpg")
    (tmp_path / "photos" / "two.jpg").unlink()
    again = document(run("index", "--json"))
    assert (again["added"], again["moved"], again["removed"], again["embedded"]) == (0, 1, 1, 0)


def test_index_without_a_hub_says_which_model_it_takes_and_why(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    picture(tmp_path / "photos" / "one.jpg", 1)
    result = run("index", str(tmp_path / "photos"))
    assert result.exit_code == 0
    assert "Using the built-in model (starter): balanced is not on this machine" in result.stderr


def test_search_answers_in_the_fixed_fields(indexed: tuple[str, Path]) -> None:
    home, photos = indexed
    answer = document(run("search", "motorcycle", "-k", "3", "--all", "--json", home=home))
    assert set(answer) == {"query", "conditions", "model", "total", "collapsed", "left_out", "took_ms", "hits"}
    assert len(answer["hits"]) == 3
    assert set(answer["hits"][0]) == HIT
    assert answer["hits"][0]["path"] == str(photos / "motorcycle_left.png")
    assert {reason["signal"] for reason in answer["hits"][0]["why"]} == {"meaning", "words"}
    second = document(run("search", "motorcycle", "-k", "2", "--offset", "1", "--all", "--json", home=home))
    assert [hit["id"] for hit in second["hits"]] == [hit["id"] for hit in answer["hits"][1:]]


def test_search_collapses_moments_where_that_is_asked(
    indexed: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _ = indexed
    monkeypatch.setenv("SIGHTLINE_RANKING_COPY_DISTANCE", "100")  # by which all photos are copies of each other
    found = document(run("search", "a motorcycle", "--all", "--json", home=home))
    assert (found["total"], found["collapsed"]) == (11, 0)
    collapsed = document(run("search", "a motorcycle", "--all", "--collapse", "--json", home=home))
    assert (collapsed["total"], collapsed["collapsed"], len(collapsed["hits"][0]["others"])) == (1, 10, 10)
    plain = run("search", "a motorcycle", "--all", "--collapse", home=home)
    assert plain.stdout.endswith("  +10\n") and plain.stdout.count("\n") == 1


@pytest.mark.parametrize("command", [("search", "cat"), ("index",), ("serve", "--port", "0")])
def test_a_setting_that_cannot_be_is_one_sentence(
    indexed: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SIGHTLINE_RANKING_FLOOR", "low")
    result = run(*command, home=indexed[0])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("sightline: SIGHTLINE_RANKING_FLOOR cannot be “low”")
    assert result.stderr.count("\n") == 1


def test_search_by_a_picture_finds_it_first(indexed: tuple[str, Path]) -> None:
    home, photos = indexed
    result = run("search", "--image", str(photos / "rocket.jpg"), "-k", "1", home=home)
    assert result.exit_code == 0
    assert str(photos / "rocket.jpg") in result.stdout
    assert result.stdout.startswith("1.000")


def test_search_by_something_that_is_no_picture_is_one_sentence(indexed: tuple[str, Path]) -> None:
    home, photos = indexed
    result = run("search", "--image", str(photos / "broken.jpg"), home=home)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be used: it is not a picture in a known format." in result.stderr


def test_status_lists_failures_with_their_reasons(indexed: tuple[str, Path]) -> None:
    home, photos = indexed
    state = document(run("status", "--failures", "--json", home=home))
    assert (state["photos"], state["failures"], state["model"], state["captions"]) == (11, 1, "starter", "starter")
    assert state["described"]["captions"] == {"described": 11, "failed": 0, "waiting": 0}
    reason = "it is not a picture in a known format"
    assert state["failed"] == [{"path": str(photos / "broken.jpg"), "stage": "read", "reason": reason}]
    assert state["jobs"][0]["state"] == "done"
    assert "11 photos in 11 files, 1 could not be read" in run("status", home=home).stdout


def test_models_says_what_the_index_uses(indexed: tuple[str, Path]) -> None:
    presets = document(run("models", "--json", home=indexed[0]))
    assert presets["index"]["model"] == "starter"
    assert [preset["name"] for preset in presets["presets"]] == ["starter", "fast", "balanced", "best"]
    assert [preset["used"] for preset in presets["presets"]] == [True, False, False, False]
    assert document(run("models", "--json"))["index"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "cat"),
        ("status",),
        ("status", "--home", "~nobody-of-this-name/x"),
        ("index",),
        ("index", "/there/is/no/such/folder"),
        ("index", ".", "--model", "starter", "--concepts", "~nobody-of-this-name/x"),
        ("eval", "x", "--images", "y"),
    ],
)
def test_a_failure_is_one_sentence_and_status_1(arguments: tuple[str, ...]) -> None:
    plain = run(*arguments)
    assert (plain.exit_code, plain.stdout) == (1, "")
    assert plain.stderr.startswith("sightline: ")
    assert plain.stderr.count("\n") == 1
    failed = run(*arguments, "--json")
    assert failed.exit_code == 1
    assert f"sightline: {json.loads(failed.stdout)['error']}\n" == failed.stderr


def test_a_damaged_catalog_is_one_sentence(indexed: tuple[str, Path], tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "catalog.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 8192)
    for arguments in (("status",), ("search", "cat"), ("index", str(indexed[1]))):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("sightline: ")
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "-k", "0"),
        ("search", "--mode", "feeling"),
        ("index", "--workers", "none"),
        ("index", "--precision", "int8"),
        ("sreve",),
        ("eval",),
        ("eval", "captions.json"),
        ("eval", "--images", "photos"),
        ("eval", "captions.json", "--images", "photos", "--mode", "feeling"),
    ],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_the_demo_passes_on_its_own_questions() -> None:
    outcome = document(run("demo", "--no-serve", "--json"))
    assert outcome["passed"]
    assert outcome["index"]["added"] == 11
    assert all(one["right"] for one in outcome["queries"] if one["must"])
    assert sum(one["must"] for one in outcome["queries"]) >= 5


def test_the_demo_fails_where_a_question_finds_the_wrong_photo(tmp_path: Path, tiny_checkpoint: Any) -> None:
    result = run("demo", "--no-serve", "--model", tiny_checkpoint())
    assert result.exit_code == 1
    assert "✗ a motorcycle" in result.stdout or "✗ a flower" in result.stdout
    as_json = run("demo", "--model", tiny_checkpoint(), "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)["passed"]) == (1, False)


def test_the_demo_takes_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    picture(tmp_path / "mine" / "one.jpg", 1)
    outcome = document(run("demo", "--no-serve", "--photos", str(tmp_path / "mine"), "--json"))
    assert outcome["passed"]
    assert outcome["queries"][0]["query"] == "a motorcycle" and "right" not in outcome["queries"][0]
    assert {name for asked in outcome["queries"] for name in asked["found"]} <= {"one"}


def test_the_demos_own_photos_and_the_users_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    picture(tmp_path / "mine" / "one.jpg", 1)
    assert document(run("demo", "--photos", str(tmp_path / "mine"), "--json"))["passed"]
    assert document(run("demo", "--json"))["index"]["added"] == 11


@pytest.mark.parametrize("name", ["9.41\u202fAM.png", "写真\u3000一.jpg", "👨\u200d👩\u200d👧.jpg", "a\u00a0b.jpg"])
def test_ordinary_names_are_printed_as_they_are(name: str) -> None:
    assert printable(name) == name
    assert printable(f"{name}\x1b[2J\n\u202egpj") == f"{name}\ufffd[2J\ufffd\ufffdgpj"


@pytest.mark.skipif(os.name == "nt", reason="Windows' file names are not bytes")
def test_a_name_that_is_no_text_is_printed_all_the_same(tmp_path: Path) -> None:
    photos = os.path.join(os.fsencode(tmp_path), b"photos")
    os.mkdir(photos)
    picture(os.path.join(photos, b"caf\xe9\n\x1b[31m.jpg"), 1)
    command = [sys.executable, sightline.__file__]
    indexed = subprocess.run(
        [*command, "index", photos, "--model", "starter", "--captions", "off"], capture_output=True
    )
    assert indexed.returncode == 0, indexed.stderr
    shown = subprocess.run([*command, "search", "type:jpg"], capture_output=True, check=False).stdout
    assert b"caf" in shown and b"\x1b" not in shown and shown.count(b"\n") == 1  # nothing that a terminal obeys
    found = subprocess.run([*command, "search", "type:jpg", "--json"], capture_output=True, check=False)
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["hits"]) == 1


@pytest.fixture
def captioned(tmp_path: Path) -> list[str]:
    """The arguments of an evaluation of two photos, each in a folder that says what it shows."""
    entries = []
    for seed, name in enumerate(("dog", "cat")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        picture(tmp_path / "photos" / name / "one.jpg", seed)
        entries.append({"filename": f"{name}/one.jpg", "sentences": [{"raw": f"a {name}"}]})
    (tmp_path / "captions.json").write_text(json.dumps({"images": entries}))
    file, images = str(tmp_path / "captions.json"), str(tmp_path / "photos")
    return ["eval", file, "--images", images, "--model", "starter", "--captions", "off", "--labelled", images]


def test_eval_prints_one_document_and_writes_its_report(captioned: list[str], tmp_path: Path) -> None:
    measured = document(run(*captioned, "--mode", "all", "--report", str(tmp_path / "report"), "--json"))
    assert list(measured["modes"]) == ["meaning", "words", "hybrid"]
    assert measured["text_to_image"] == measured["modes"]["hybrid"]["text_to_image"]
    assert (measured["captions"], measured["tags"]["labels"], measured["photos"]) == (None, 2, 2)
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.md", "report.json", "recall.png"}
    for file in ("report.md", "report.json"):
        assert str(tmp_path) not in (tmp_path / "report" / file).read_text(encoding="utf-8")


def test_eval_without_matplotlib_says_how_to_get_the_picture(
    captioned: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run(*captioned, "--report", str(tmp_path / "report"))
    assert result.exit_code == 0 and 'pip install "sightline[eval]"' in result.stderr
    assert "meaning  text to image" in result.stdout and "tags of 2 photos with 2 labels" in result.stdout


def test_eval_of_an_unknown_captioner_is_one_sentence(captioned: list[str]) -> None:
    captioned[captioned.index("off")] = "nobody"
    result = run(*captioned)
    assert result.exit_code == 1 and "There is no captioner “nobody”" in result.stderr


def test_eval_agrees_with_open_clip_itself(flickr: Path) -> None:
    """Recall within half a point of the same checkpoint with open_clip's own loading, transform and fp32."""
    import open_clip
    import torch

    from search.evaluate import retrieval
    from search.resources import data_path

    measured = document(
        run(
            *("eval", str(flickr / "captions.json"), "--images", str(flickr / "photos")),
            *("--model", "starter", "--captions", "off", "--json"),
        )
    )
    entries = json.loads((flickr / "captions.json").read_text())["images"]
    name = f"local-dir:{data_path('models/starter')}"
    network, _, transform = open_clip.create_model_and_transforms(name)
    network.eval()
    photos = [Image.open(flickr / "photos" / entry["filename"]).convert("RGB") for entry in entries]
    texts = [sentence["raw"] for entry in entries for sentence in entry["sentences"]]
    owners = np.repeat(np.arange(len(entries)), [len(entry["sentences"]) for entry in entries])
    with torch.inference_mode():
        images = [
            network.encode_image(torch.stack([transform(photo) for photo in photos[at : at + 50]]), normalize=True)
            for at in range(0, len(photos), 50)
        ]
        tokens = open_clip.get_tokenizer(name)(texts)
        words = [network.encode_text(tokens[at : at + 500], normalize=True) for at in range(0, len(texts), 500)]
    expected = retrieval(torch.cat(images).numpy(), torch.cat(words).numpy(), owners)
    assert (measured["photos"], measured["texts"]) == (len(entries), len(texts))
    for way in ("text_to_image", "image_to_text"):
        for recall in ("r1", "r5", "r10"):
            assert abs(measured[way][recall] - expected[way][recall]) <= 0.5, (way, recall)


def test_own_caption_is_kept_by_the_path_of_the_file_or_by_the_id(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    picture(tmp_path / "photos" / "one.jpg", 1)
    run("index", str(tmp_path / "photos"), "--model", "starter", "--captions", "off")
    kept = document(run("caption", str(tmp_path / "photos" / "one.jpg"), "Grandma's garden", "--json"))
    assert kept["caption"] == "Grandma's garden"
    (hit,) = document(run("search", "grandma", "--mode", "words", "--json"))["hits"]
    assert hit["id"] == kept["id"] and hit["caption"] == "Grandma's garden"
    assert document(run("caption", kept["id"], "", "--json"))["caption"] is None
    lost = run("caption", "nothing.jpg", "?")
    assert lost.exit_code == 1 and "There is no photo nothing.jpg" in lost.stderr


def test_captioner_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    result = run("index", str(tmp_path / "photos"), "--captions", "nobody")
    assert result.exit_code == 1 and "There is no captioner “nobody”: use starter, coca" in result.stderr
