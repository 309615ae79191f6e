"""Generations: published, immutable states of the vector index, each in a folder of its own.

A generation is only a faster form of what the catalog holds. It is written aside, flushed to the disk, renamed into
place and then named by a row of the catalog: readers see the whole of it or nothing. A reader that finds it missing or
damaged builds the same index from the catalog, and goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sqlite3
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from search import failpoints
from search.catalog.clock import now
from search.catalog.files import flush
from search.catalog.model_records import ModelRecord
from search.errors import MilvusError
from search.home import Home
from search.vectors import building, inverted, stored
from search.vectors.building import Former, Wanted
from search.vectors.flat import FlatIndex
from search.vectors.inverted import InvertedIndex, Tuning
from search.vectors.matrix import FEW, MatrixIndex
from search.vectors.protocol import VectorIndex

logger = logging.getLogger("sightline.vectors")

EXACT_UP_TO = 200_000
"""Of so many embeddings, comparing a query with every one takes some milliseconds (benchmarks/vectors.py)."""
_ANY = Wanted()


@dataclass(frozen=True)
class Generation:
    """One published state: `photos` vectors, covering every embedding of its model up to number `through`."""

    key: int
    folder: str
    photos: int
    through: int
    checksums: dict[str, str]


_COLUMNS = "key, folder, photos, through, checksums"


def newest(connection: sqlite3.Connection, model_key: int) -> Generation | None:
    """The newest generation of this model, or None before the first."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM generations WHERE model_key = ? ORDER BY key DESC LIMIT 1", (model_key,)
    ).fetchone()
    return _generation(*row) if row else None


def of_model(connection: sqlite3.Connection, model_key: int) -> list[Generation]:
    """All generations of this model, the newest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM generations WHERE model_key = ? ORDER BY key DESC", (model_key,))
    return [_generation(*row) for row in rows]


def is_exact(generation: Generation) -> bool:
    """Whether its index compares a query with every vector."""
    return inverted.FILE not in generation.checksums and generation.checksums.get("kind") != "hnsw"


def is_remote(generation: Generation) -> bool:
    """Whether it is a collection in Milvus, and has no files."""
    return "milvus" in generation.checksums


def tuning(home: Home, generation: Generation) -> Tuning | None:
    """How an index that is not exact is searched; None of one that is, or cannot be read."""
    if is_exact(generation) or is_remote(generation):
        return None
    with suppress(OSError, ValueError, TypeError):
        return inverted.read_tuning(home.vectors_dir / generation.folder)
    return None


def is_whole(home: Home, generation: Generation, *, quickly: bool = False) -> bool:
    """Whether the files of the generation are there, as they were published; of one that is mapped into memory and too
    large to be read at each start, `quickly` looks at the size alone."""
    folder = home.vectors_dir / generation.folder
    try:
        named = generation.checksums.items()
        return bool(named) and all(
            _size(folder / name) == value.partition("-")[0]
            if quickly and name == inverted.FILE
            else _is(folder / name, value)
            for name, value in named
        )
    except OSError:
        return False


def is_there(home: Home, generation: Generation) -> bool:
    """Whether its files lie where they should, as far as their sizes tell."""
    folder = home.vectors_dir / generation.folder
    try:
        sizes = {name: value.partition("-") for name, value in generation.checksums.items()}
        return bool(sizes) and all(
            _size(folder / name) == size if digest else (folder / name).exists()
            for name, (size, _, digest) in sizes.items()
        )
    except OSError:
        return False


def drop(home: Home, connection: sqlite3.Connection, generation: Generation) -> None:
    """Delete a generation that is damaged; what searches need of it is built from the catalog until the next one."""
    with connection:
        connection.execute("DELETE FROM generations WHERE key = ?", (generation.key,))
    sweep(home, connection)


def unpublished(connection: sqlite3.Connection, model_key: int) -> int:
    """How many embeddings of this model no generation covers yet."""
    generation = newest(connection, model_key)
    return int(
        connection.execute(
            "SELECT count(*) FROM embeddings WHERE model_key = ? AND key > ?",
            (model_key, generation.through if generation else 0),
        ).fetchone()[0]
    )


def publish(home: Home, connection: sqlite3.Connection, model: ModelRecord, wanted: Wanted = _ANY) -> Generation | None:
    """Make a generation of all that is committed and name it in the catalog, in a transaction of its own: of few
    embeddings, or where nothing may be missed, one that is exact, else one as it is `wanted`.

    Returns the generation, or None when there is nothing to publish. The one before it stays for readers that are
    just opening it; older ones are deleted.

    Raises:
        OSError: the disk is full or cannot be written; the catalog is as it was.
    """
    photos, through = _committed(connection, model)
    if not photos:
        return None
    home.vectors_dir.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=home.vectors_dir))
    try:
        _write(home, connection, model, wanted, photos, aside)
        failpoints.reach("vectors written")
        checksums = {file.name: _checksum(file) for file in sorted(aside.iterdir())}
        for file in aside.iterdir():
            flush(file)
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            key, folder = _enter(connection, model, photos, through, checksums)
            place = home.vectors_dir / folder
            if place.exists():  # left by a run that died between the rename and the commit
                shutil.rmtree(place)
            os.rename(aside, place)
            flush(home.vectors_dir)
            failpoints.reach("vectors named")
            _let_older_go(connection, model)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    failpoints.reach("vectors committed")
    sweep(home, connection)
    return Generation(key, folder, photos, through, checksums)


def name(
    home: Home, connection: sqlite3.Connection, model: ModelRecord, photos: int, through: int, remote: dict[str, str]
) -> None:
    """Name a collection in Milvus as the newest generation: its address, name and kind of index are `remote`."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        _enter(connection, model, photos, through, remote)  # nothing lies in its folder
        _let_older_go(connection, model)
    failpoints.reach("vectors committed")
    sweep(home, connection)


def open_generation(
    home: Home, connection: sqlite3.Connection, model: ModelRecord
) -> tuple[VectorIndex, int, int | None]:
    """The newest generation's index, or the same built from the catalog where its files are missing or damaged; also
    where they are of few photos, and FAISS, which reads them, would have to be imported first.

    Returns:
        the index, the number of the last embedding it covers, and the generation's number (None: built here).

    Raises:
        UnreachableError, MilvusError: it is in Milvus, which does not answer, and too large to be built here.
    """
    generation = newest(connection, model.key)
    few = "faiss" not in sys.modules and _are_few(connection, model)
    if generation is not None and is_remote(generation):
        from search.milvus.publishing import open_collection

        try:
            return open_collection(connection, model, generation), generation.through, generation.key
        except MilvusError as error:
            if generation.photos > EXACT_UP_TO:
                raise
            logger.warning("%s Until then searches compare all photos here.", error)
    elif generation is not None and not few:
        with suppress(OSError, RuntimeError, ValueError, TypeError, KeyError):
            if is_whole(home, generation, quickly=True):
                kind = FlatIndex if is_exact(generation) else InvertedIndex
                index = kind.read(home.vectors_dir / generation.folder)
                if len(index) == generation.photos:
                    return index, generation.through, generation.key
    if few:
        keys, vectors, through = stored.load(connection, model.key, model.dimensions)
        return MatrixIndex(keys, vectors), through, None
    _, through = _committed(connection, model)
    return FlatIndex.of(stored.chunks(connection, model.key, model.dimensions), model.dimensions), through, None


def unnamed(home: Home, connection: sqlite3.Connection) -> list[Path]:
    """What lies among the generations and is none that a row names: left by a run that died, or by another catalog."""
    named = {row[0] for row in connection.execute("SELECT folder FROM generations")}
    try:
        return sorted(path for path in home.vectors_dir.iterdir() if path.name not in named)
    except OSError:
        return []


def sweep(home: Home, connection: sqlite3.Connection) -> None:
    """Delete what no row names; called by the writer alone, which is the only one to make any."""
    for path in unnamed(home, connection):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _enter(
    connection: sqlite3.Connection, model: ModelRecord, photos: int, through: int, checksums: dict[str, str]
) -> tuple[int, str]:
    """Put a generation's row into the catalog, in the present transaction; its number and its folder."""
    key = connection.execute(
        "INSERT INTO generations (model_key, folder, photos, through, checksums, published_at)"
        " VALUES (?, '', ?, ?, ?, ?) RETURNING key",
        (model.key, photos, through, json.dumps(checksums), now()),
    ).fetchone()[0]
    folder = f"generation-{key:08d}"
    connection.execute("UPDATE generations SET folder = ? WHERE key = ?", (folder, key))
    return key, folder


def _let_older_go(connection: sqlite3.Connection, model: ModelRecord) -> None:
    """What came before the previous generation is nobody's any more."""
    connection.execute(
        "DELETE FROM generations WHERE model_key = ? AND key NOT IN"
        " (SELECT key FROM generations WHERE model_key = ? ORDER BY key DESC LIMIT 2)",
        (model.key, model.key),
    )


def _are_few(connection: sqlite3.Connection, model: ModelRecord) -> bool:
    some = "SELECT 1 FROM embeddings WHERE model_key = ? LIMIT ?"
    return bool(connection.execute(f"SELECT count(*) FROM ({some})", (model.key, FEW + 1)).fetchone()[0] <= FEW)


def _committed(connection: sqlite3.Connection, model: ModelRecord) -> tuple[int, int]:
    """How many embeddings there are, and the number of the last one."""
    photos, through = connection.execute(
        "SELECT count(*), max(key) FROM embeddings WHERE model_key = ?", (model.key,)
    ).fetchone()
    return photos, through or 0


def _write(
    home: Home, connection: sqlite3.Connection, model: ModelRecord, wanted: Wanted, photos: int, folder: Path
) -> None:
    if photos <= EXACT_UP_TO or wanted.recall >= 1:
        FlatIndex.of(stored.chunks(connection, model.key, model.dimensions), model.dimensions).write(folder)
        return
    before = newest(connection, model.key)
    if before is not None and not is_exact(before) and is_whole(home, before):
        former = None
        with suppress(OSError, RuntimeError, ValueError, TypeError, KeyError):
            former = Former.read(home.vectors_dir / before.folder)
        if former is not None and building.grow(
            connection, model.key, model.dimensions, wanted, former, before.through, folder
        ):
            return
        del former
    building.build(connection, model.key, model.dimensions, wanted, folder)


def _generation(key: int, folder: str, photos: int, through: int, checksums: str) -> Generation:
    """A generation by its row; one whose row is damaged names no files, and none are taken for its own."""
    try:
        named = json.loads(checksums)
        whole = isinstance(folder, str) and os.path.basename(folder) == folder
        whole &= isinstance(named, dict) and all(isinstance(value, str) for value in named.values())
    except (TypeError, ValueError):
        named, whole = {}, False
    return Generation(key, folder, photos, through, named) if whole else Generation(key, "", photos, through, {})


def _is(file: Path, checksum: str) -> bool:
    found = _checksum(file)
    return checksum in (found, found.partition("-")[2])  # earlier versions kept the digest alone


def _checksum(file: Path) -> str:
    """Its size, and a digest of what is in it."""
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        return f"{os.fstat(stream.fileno()).st_size}-{digest}"


def _size(file: Path) -> str:
    return str(file.stat().st_size)
