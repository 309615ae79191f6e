"""A home with all that one may hold, over small pictures; what it answers, and what its catalog says."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from indexer.decoding.decoders import Decoders
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.thumbnails import Thumbnails
from search.answer import Request
from search.catalog import descriptions, editing, saved_searches, soundness
from search.catalog.connection import connect_to_read, connect_to_write
from search.catalog.descriptions import CAPTIONS, TEXT, TextLine
from search.engine import Engine
from search.errors import SightlineError
from search.home import Home

OPTIONS = IndexOptions(model="starter", captions="off")
_WORDS = ["harbour", "lantern", "meadow", "violin", "copper", "thunder", "orchard", "pebble"]
_PRECIOUS = {
    "captions": "SELECT id, text FROM captions JOIN photos ON photos.key = photo_key WHERE author = 'you'",
    "searches": "SELECT name, q FROM searches",
    "dismissals": "SELECT a.id, b.id FROM dismissals JOIN photos AS a ON a.key = photo_key"
    " JOIN photos AS b ON b.key = other_key",
    "libraries": "SELECT CAST(path AS TEXT), 1 FROM libraries",
}
# What says when something was done, or what state it is in, and nothing that anybody asks for.
_OF_NO_WEIGHT = {
    "settings": ("words_state", "revision", "weights_stamp", "pace", "dismissals"),
    "jobs": None,
    "changelog": None,
}


@dataclass(frozen=True)
class Base:
    """What each round begins with: a home over `photos`, as it is and as it was a generation `before`; what it answers,
    and what its catalog says."""

    home: Home
    before: Path
    photos: Path
    answers: list[Any]
    rows: dict[str, set[tuple[Any, ...]]]
    precious: dict[str, set[tuple[Any, ...]]]


def make_base(folder: Path, photos: int) -> Base:
    """An index over so many small pictures with all that a catalog may hold, in `folder`."""
    library, home = folder / "photos", Home(folder / "home")
    library.mkdir(parents=True)
    for number in range(photos):
        _picture(library / f"{_WORDS[number % 8]}-{number}.jpg", number)
    shutil.copy(library / f"{_WORDS[0]}-0.jpg", library / "copy.jpg")
    (library / "broken.jpg").write_bytes(b"no picture")
    run_index(home, [library], OPTIONS)
    _picture(library / "late.jpg", photos)
    with closing(connect_to_write(home)) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM photos ORDER BY key")]
        keys = [row[0] for row in connection.execute("SELECT key FROM photos ORDER BY key")]
        with connection:
            for number, key in enumerate(keys):
                text = f"A {_WORDS[number % 8]} beside a {_WORDS[number % 7]} and number {number}"
                descriptions.put_caption(connection, key, "starter", text)
                descriptions.record(connection, key, CAPTIONS, "starter")
                if number % 5 == 0:
                    descriptions.put_text(
                        connection, key, [TextLine(f"INVOICE {number:05}", (0.1, 0.1, 0.9, 0.2), 0.9)]
                    )
                descriptions.record(connection, key, TEXT, "reader")
            descriptions.seen_by(connection, CAPTIONS, "starter")
            descriptions.words.refresh(connection, keys)
    for number, photo in enumerate(ids[::3]):
        editing.put_caption(home, photo, f"what I say of it, {number}: 東京の夜景 and Grandma's {_WORDS[number % 8]}")
    for first, second in zip(ids[1::6], ids[2::6], strict=False):
        editing.dismiss(home, [first, second])
    for number in range(5):
        saved_searches.save(home, name=f"search {number}", q=f"{_WORDS[number]} -rain")
    thumbnails = Thumbnails(home, Decoders.of_process(1))
    for number, photo in enumerate(ids[: photos // 2]):
        with closing(connect_to_read(home)) as connection:
            place = connection.execute(
                "SELECT folder, name FROM files JOIN photos ON photos.key = photo_key WHERE id = ?", (photo,)
            ).fetchone()
        thumbnails.get_bytes(photo, b"/".join(place), ("small", "medium", "large")[number % 3])
    shutil.copytree(home.path, folder / "before")
    run_index(home, [], OPTIONS)
    with closing(sqlite3.connect(home.catalog_path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Base(home, folder / "before", library, answers_of(home), rows_of(home), precious_of(home))


def _picture(path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0110] = f"Camera {seed % 9}"
    exif[0x0132] = f"20{seed % 20:02}:03:{seed % 28 + 1:02} 10:{seed % 60:02}:00"
    Image.fromarray(noise).resize((64, 48), Image.Resampling.BICUBIC).save(path, "JPEG", exif=exif)


def answers_of(home: Home) -> list[Any]:
    """What a home answers to questions of every kind.

    Raises:
        SightlineError: in a sentence, that it cannot.
    """
    asked = [
        Request("a violin in the meadow", limit=1000, include_all=True),
        Request("thunder", mode="words", limit=1000),
        Request('"INVOICE 0001"', limit=1000),
        Request("camera:3 after:2005", limit=1000),
        Request("folder:photos", limit=1000, sort="date"),
    ]
    with told(home), Engine.open(home) as engine:
        found: list[Any] = []
        for request in asked:
            answer = engine.search(request)
            found.append(
                [(hit.id, None if hit.score is None else round(hit.score, 4), hit.caption) for hit in answer.hits]
            )
        first = answer.hits[0].id
        similar = engine.search(Request(like=(first,), limit=20)).hits
        found.append([(hit.id, round(hit.score or 0, 3)) for hit in similar])
        photo = engine.photo(first)
        assert photo is not None
        found.append(
            (photo.paths, photo.width, photo.taken_at, photo.camera, engine.tags(photo), engine.text_lines(photo))
        )
        found.append([search.name for search in engine.saved_searches()])
        found.append([[member.photo.id for member in group.members] for group in engine.duplicates().groups])
        found.append(engine.status()["photos"])
    return found


class told:
    """Turns what a damaged catalog leads to into its sentence, as the command line and the server do."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, SightlineError):
            sentence = soundness.explained(self._home, error)
            if sentence is not None:
                raise sentence from error


def rows_of(home: Home) -> dict[str, set[tuple[Any, ...]]]:
    """All that a catalog says, but for what has no weight; raises `sqlite3.Error` where it cannot be read."""
    with closing(sqlite3.connect(f"file:{home.catalog_path}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
        found = {}
        for table in sorted(soundness.own_tables(connection)):
            without = _OF_NO_WEIGHT.get(table, ())
            if without is not None:
                rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
                found[table] = {row for row in rows if row[0] not in without}
        for table in ("words", "parts"):
            # What an index finds, however it keeps that.
            connection.execute(f"CREATE VIRTUAL TABLE temp.found_{table} USING fts5vocab(main, {table}, instance)")
            found[f"{table}_found"] = set(connection.execute(f"SELECT * FROM temp.found_{table}").fetchall())
            found[f"{table}_content"] = set(connection.execute(f"SELECT * FROM {table}_content").fetchall())
            found[f"{table}_docsize"] = set(connection.execute(f"SELECT * FROM {table}_docsize").fetchall())
        (fault,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if fault != "ok":
            raise sqlite3.DatabaseError(fault)
    return found


def precious_of(home: Home) -> dict[str, set[tuple[Any, ...]]]:
    """What a person has made."""
    with closing(connect_to_read(home)) as connection:
        return {name: set(connection.execute(sql).fetchall()) for name, sql in _PRECIOUS.items()}
