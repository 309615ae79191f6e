"""A large library made of a small one, for benchmarks that ask how things go with 100,000 photos.

Some real photos are indexed; the others are made from them, in the catalog alone: each has the embedding of a real one
turned towards another's, its caption and tags, and a date, camera and folder of its own. Thumbnails are copies of
those of the real ones. There are no files behind them, so that originals cannot be opened.
"""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from indexer.decoding.decoders import Decoders
from indexer.report import IndexOptions
from indexer.run import run_index
from indexer.thumbnails import Thumbnails
from search.catalog import changes, model_records, settings, words
from search.catalog.connection import connect_to_write
from search.home import Home
from search.vectors import stored
from search.vectors.generations import publish

CAMERAS = (
    "Canon EOS 5D",
    "Canon EOS 5D Mark II",
    "Apple iPhone 12",
    "Apple iPhone 6",
    "FUJIFILM X-T3",
    "NIKON D750",
    None,
)
PLACES = ("Beach", "Birthday", "City", "Garden", "Hiking", "Lake", "School", "Winter")
TURN = 0.6
"""How far an embedding is turned towards another photo's, and as far again anywhere."""


_COMMIT = 20_000  # photos: a log that one commit has to hold whole grows as large as the catalog


def grow(home: Home, images: Path, photos: int, seed: int = 0, thumbnails: bool = True) -> None:
    """Index `images` with the starter model, and make `photos` photos of them, all in all; without `thumbnails` where
    nobody looks at them, since each is a file."""
    run_index(home, [images], IndexOptions(model="starter", download=False))
    dice, noise = random.Random(seed), np.random.default_rng(seed)
    with closing(connect_to_write(home)) as connection:
        model = model_records.active(connection)
        assert model is not None
        keys, vectors, _ = stored.load(connection, model.key, model.dimensions)
        ids = dict(connection.execute("SELECT key, id FROM photos"))
        library = connection.execute("SELECT max(key) FROM libraries").fetchone()[0]
        kept = None
        if thumbnails:
            with Decoders.of_process(1) as decoders:
                kept = Thumbnails(home, decoders)
                for key, folder, name in connection.execute("SELECT photo_key, folder, name FROM files").fetchall():
                    kept.get_bytes(ids[key], os.path.join(folder, name), "small")
        for number in range(photos - len(keys)):
            place = dice.randrange(len(keys))
            day = datetime(2004, 1, 1) + timedelta(minutes=dice.randrange(20 * 365 * 24 * 60))
            clone = _clone(connection, int(keys[place]), day, dice, number)
            spread = noise.standard_normal(model.dimensions).astype(np.float32)
            turned = vectors[place] + TURN * vectors[dice.randrange(len(keys))] + TURN * spread / np.linalg.norm(spread)
            changes.put_embedding(connection, model.key, clone, stored.pack(turned / np.linalg.norm(turned)))
            folder = f"/synthetic/{day.year}/{day.month:02} {PLACES[day.month * day.year % len(PLACES)]}"
            changes.put_file(
                connection,
                library_key=library,
                folder=os.fsencode(folder),
                name=b"%08d.jpg" % number,
                size=1,
                mtime_ns=1,
                photo_key=clone,
            )
            words.refresh(connection, [clone])
            if kept is not None:
                _copy(kept, ids[int(keys[place])], _id(number))
            if number % _COMMIT == _COMMIT - 1:
                connection.commit()
        with connection:
            settings.grow_revision(connection)
        publish(home, connection, model)
    # What texts in general make of so many photos, without looking for files that are not there.
    run_index(home, [images], IndexOptions(model="starter", download=False))


def _id(number: int) -> str:
    return hashlib.blake2b(b"synthetic %d" % number, digest_size=16).hexdigest()


def _clone(connection: sqlite3.Connection, key: int, day: datetime, dice: random.Random, number: int) -> int:
    taken = day.isoformat(timespec="seconds")
    columns = "width, height, format, bytes, latitude, longitude, kind, flatness, added_at"
    clone = connection.execute(
        f"INSERT INTO photos (id, taken_at, sort_at, camera, {columns}) SELECT ?, ?, ?, ?, {columns}"
        " FROM photos WHERE key = ? RETURNING key",
        (_id(number), taken, taken, dice.choice(CAMERAS), key),
    ).fetchone()[0]
    for table, kept in (("captions", "author, text, written_at"), ("tags", "tag, score")):
        connection.execute(
            f"INSERT INTO {table} (photo_key, {kept}) SELECT ?, {kept} FROM {table} WHERE photo_key = ?", (clone, key)
        )
    connection.execute(
        "INSERT INTO descriptions (photo_key, stage, author, written_at, failure)"
        " SELECT ?, stage, author, written_at, failure FROM descriptions WHERE photo_key = ?",
        (clone, key),
    )
    return int(clone)


def _copy(thumbnails: Thumbnails, real: str, clone: str) -> None:
    picture = thumbnails.kept(real, "small")
    assert picture is not None
    thumbnails.keep(clone, "small", picture)
