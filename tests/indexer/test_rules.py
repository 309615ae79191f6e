"""What of a library is indexed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from indexer import amounts, rules
from indexer.rules import Rules, Sieve
from indexer.scan import scan
from search.catalog.connection import connect_to_write
from search.errors import SightlineError
from search.home import Home

FILES = (
    "a.jpg",
    "b.png",
    "Thumbs/t.jpg",
    "2021/a.jpg",
    "2021/raw/c.tif",
    "2021/raw/keep.tif",
    "2021/Thumbs/x.jpg",
    "2022/deep/er/d.jpg",
    "2022/deep/e.webp",
    ".hidden/h.jpg",
    ".h.jpg",
    "@eaDir/s.jpg",
)
TAKEN = {file for file in FILES if not file.startswith((".", "@"))}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for file in FILES:
        path = tmp_path / "photos" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (10 * len(file)))
    return tmp_path / "photos"


@pytest.fixture
def catalog(home: Home) -> Iterator[sqlite3.Connection]:
    with closing(connect_to_write(home)) as connection:
        yield connection


def taken(catalog: sqlite3.Connection, tree: Path, wanted: Rules, said: list[str] | None = None) -> set[str]:
    root = os.fsencode(tree)
    found = scan(catalog, root, sieve=Sieve(wanted, root, (said if said is not None else []).append), skip=b"/nowhere")
    return {os.fsdecode(file.path)[len(str(tree)) + 1 :] for file in found.to_read}


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        (Rules(), TAKEN),
        (Rules(hidden=True), {*TAKEN, ".hidden/h.jpg", ".h.jpg"}),
        (Rules(include=("*.jpg",)), {file for file in TAKEN if file.endswith(".jpg")}),
        (Rules(include=("2021/",)), {file for file in TAKEN if file.startswith("2021/")}),
        (Rules(exclude=("Thumbs/",)), {file for file in TAKEN if "Thumbs" not in file}),
        (Rules(exclude=("/Thumbs/",)), TAKEN - {"Thumbs/t.jpg"}),
        (Rules(exclude=("*.tif", "!keep.tif")), TAKEN - {"2021/raw/c.tif"}),
        (Rules(include=("*.tif", "*.jpg"), exclude=("2021/**",)), {"a.jpg", "Thumbs/t.jpg", "2022/deep/er/d.jpg"}),
        (Rules(min_bytes=60), {file for file in TAKEN if len(file) >= 6}),
    ],
    ids=lambda value: str(value) if isinstance(value, Rules) else "",  # sets have no order
)
def test_the_rules_of_the_home(catalog: sqlite3.Connection, tree: Path, wanted: Rules, left: set[str]) -> None:
    assert taken(catalog, tree, wanted) == left


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge")
@pytest.mark.parametrize(
    "files",
    [
        {".": "*.png\n"},
        {".": "Thumbs/\n# a comment\n\n\\#x\n"},
        {".": "/2021/*\n!/2021/raw\n"},
        {".": "*.tif", "2021/raw": "!keep.tif"},
        {".": "!keep.tif", "2021": "*.tif"},
        {"2022": "deep/**/d.jpg\n"},
        {".": "2022/\n", "2022/deep": "!e.webp"},  # what lies in a folder that is left out cannot be taken back
        {".": "**/a.jpg\n[bc].*\n"},
        {".": "*\n!*/\n!*.jpg\n"},
        {".": "d?ep \n\\!x\n", "2021": "/a.jpg"},
    ],
    ids=str,
)
def test_ignore_files_mean_what_they_mean_to_git(
    catalog: sqlite3.Connection, tree: Path, files: dict[str, str]
) -> None:
    for folder, text in files.items():
        (tree / folder / ".gitignore").write_text(text)
        (tree / folder / ".sightlineignore").write_text(text)
    git = ["git", "-C", str(tree), "-c", "core.excludesFile=/dev/null", "-c", "core.quotePath=off"]
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    listed = subprocess.run(
        [*git, "ls-files", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
    ).stdout
    expected = {line for line in listed.splitlines() if line in TAKEN}
    assert taken(catalog, tree, Rules()) == expected
    assert expected != TAKEN


def test_a_line_that_is_no_pattern_is_said_and_the_others_hold(catalog: sqlite3.Connection, tree: Path) -> None:
    (tree / ".sightlineignore").write_bytes(b"*.png\n\\\n*.webp\n\xff\n")
    said: list[str] = []
    assert taken(catalog, tree, Rules(), said) == TAKEN - {"b.png", "2022/deep/e.webp"}
    assert said == [f"Line 2 of {tree}/.sightlineignore is no pattern; it is passed over."]


@pytest.mark.parametrize("kind", ["folder", "fifo", "huge"])
def test_an_ignore_file_that_is_none_is_passed_over(catalog: sqlite3.Connection, tree: Path, kind: str) -> None:
    place = tree / ".sightlineignore"
    if kind == "folder":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.write_bytes(b"*\n" * 600_000)
    said: list[str] = []
    assert taken(catalog, tree, Rules(), said) == TAKEN
    assert said == [f"{place} is no list of patterns; it is passed over."]


def test_rules_are_remembered_until_they_are_changed(catalog: sqlite3.Connection) -> None:
    first = Rules().changed(["*.jpg"], ["a/", "b/"], True, 5)
    with catalog:
        rules.keep(catalog, first)
    assert rules.read(catalog) == first == Rules(("*.jpg",), ("a/", "b/"), True, 5)
    assert first.changed(None, None, None, None) == first
    assert first.changed(["off"], None, False, 0) == Rules((), ("a/", "b/"))


@pytest.mark.parametrize("patterns", [["\\"], ["*.jpg", "a\\"]])
def test_a_pattern_that_is_none_is_refused(patterns: Sequence[str]) -> None:
    with pytest.raises(SightlineError, match="is no pattern"):
        Rules().changed(None, patterns, None, None)


@pytest.mark.parametrize(
    ("text", "value"), [("20000", 20000), ("20kB", 20000), ("1.5 MB", 1_500_000), ("64KiB", 65536), ("0", 0)]
)
def test_sizes(text: str, value: int) -> None:
    assert amounts.size(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("90s", 90), ("30m", 1800), ("6h", 21600), ("1h30m", 5400), ("30d", 2_592_000), ("2 w", 1_209_600)],
)
def test_times(text: str, value: float) -> None:
    assert amounts.seconds(text) == value


@pytest.mark.parametrize("text", ["", "big", "-5", "20 bytes", "1ib", "6"])
def test_what_is_no_amount_is_said(text: str) -> None:
    with pytest.raises(SightlineError, match="write it as"):
        amounts.seconds(text)
    if text != "6":
        with pytest.raises(SightlineError, match="write it as"):
            amounts.size(text)
