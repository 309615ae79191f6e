"""Embeddings and the generations published of them, each held against the other.

A generation is checked by its checksums, so where it is whole it shows each byte of an embedding that has changed in
the catalog, and gives the embedding back. Only a part of either is in memory at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.verify.findings import Finding, Mending, View, are, listed, several
from search.catalog import model_records, settings
from search.catalog.connection import connect_to_read
from search.catalog.model_records import ModelRecord
from search.vectors import generations, stored
from search.vectors.generations import Generation
from search.vectors.protocol import Floats, Keys

_CHUNK = 20_000  # embeddings
_UNIT = 0.01  # from one: what half precision leaves of a length of one is nearer
_SAME = 1e-6  # what processors may differ by in making a vector's length one


@dataclass
class _Wrong:
    """What is wrong with the embeddings of one model, by their keys and the photos'.

    Attributes:
        broken: they are no vectors of length one.
        other: they are not those that the generation has.
        missing: live photos that the generation has embeddings of, and the catalog does not.
        unpublished: embeddings that the generation should have.
    """

    broken: dict[int, int] = field(default_factory=dict)
    other: dict[int, int] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    unpublished: list[int] = field(default_factory=list)


def look(view: View) -> Iterator[Finding]:
    """What is wrong with embeddings and generations."""
    for model in model_records.every(view.connection):
        dimensions = _dimensions(view, model)
        if dimensions != model.dimensions:
            what = (
                f"The embeddings of {model.name} have {dimensions} dimensions, and the catalog says {model.dimensions}."
            )
            yield Finding("models", what, _put_dimensions(model.key, dimensions))
            model = replace(model, dimensions=dimensions)
        whole, damaged = _generations(view, model)
        yield from damaged
        newest = whole[0] if whole else None
        vectors = None if newest is None else _Published.open(view, newest, model.dimensions)
        wrong = _embeddings(view, model, newest, vectors)
        yield from _told(view, model, newest, vectors, wrong)
    yield from _leftovers(view)


def _dimensions(view: View, model: ModelRecord) -> int:
    """Those that most of the model's embeddings have."""
    row = view.connection.execute(
        "SELECT length(vector) FROM embeddings WHERE model_key = ? GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
        (model.key,),
    ).fetchone()
    return row[0] // 2 if row and row[0] else model.dimensions


def _put_dimensions(model: int, dimensions: int) -> Callable[[Mending], None]:
    def mend(mending: Mending) -> None:
        with mending.transaction():
            mending.connection.execute("UPDATE models SET dimensions = ? WHERE key = ?", (dimensions, model))
            settings.grow_revision(mending.connection)

    return mend


@dataclass(frozen=True)
class _Published:
    """The vectors of a flat generation, float32[n, d], left on the disk, and whose they are, int64[n]."""

    keys: Keys
    vectors: Floats
    order: Keys

    @classmethod
    def open(cls, view: View, generation: Generation, dimensions: int) -> _Published | None:
        """Those of a generation that is whole; None of an index that does not keep vectors as they are."""
        folder = view.home.vectors_dir / generation.folder
        try:
            keys: Keys = np.load(folder / "keys.npy", allow_pickle=False)
            path = folder / "index.faiss"
            with open(path, "rb") as file:
                is_flat = (
                    file.read(4) == b"IxFI"
                )  # how FAISS names IndexFlatIP; behind its head stand the vectors alone
            start = path.stat().st_size - 4 * len(keys) * dimensions
            if not is_flat or start <= 0:
                return None
            vectors = np.memmap(path, np.dtype("<f4"), "r", start, (len(keys), dimensions))
        except (OSError, ValueError):
            return None
        return cls(keys, vectors, np.argsort(keys))

    def places(self, photo_keys: npt.NDArray[Any]) -> Keys:
        """Where the photos stand, int64[n]; -1 for those that it has not."""
        if not len(self.keys):
            return np.full(len(photo_keys), -1, np.int64)
        found = self.order[np.searchsorted(self.keys, photo_keys, sorter=self.order).clip(max=len(self.keys) - 1)]
        return np.where(self.keys[found] == photo_keys, found, -1)


def _generations(view: View, model: ModelRecord) -> tuple[list[Generation], list[Finding]]:
    """The generations of a model that are whole, the newest first, and what is wrong with the others."""
    whole, damaged = [], []
    for generation in generations.of_model(view.connection, model.key):
        view.checked["generations"] += 1
        view.progress.stage("generations", None)
        reason = _damage(view, generation)
        if reason is None:
            whole.append(generation)
        elif _is_still_named(view, generation):
            what = f"Generation {generation.key} of {model.name} is damaged: {reason}."
            damaged.append(Finding("generation", what, _replace(model, generation)))
    return whole, damaged


def _damage(view: View, generation: Generation) -> str | None:
    folder = view.home.vectors_dir / generation.folder
    if not generation.checksums:
        return "its row in the catalog cannot be"
    if not folder.is_dir():
        return f"{folder} is not there"
    missing = [name for name in generation.checksums if not (folder / name).is_file()]
    if missing:
        return f"{listed(missing, len(missing))} is not in {folder}"
    if not generations.is_whole(view.home, generation):
        return f"files in {folder} are not what was published"
    try:
        keys = np.load(folder / "keys.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None  # of another kind of index
    return None if len(keys) == generation.photos else "it has not as many photos as the catalog says"


def _is_still_named(view: View, generation: Generation) -> bool:
    """Whether the catalog names it at this moment: a run may have published two more since, and deleted it."""
    connection = connect_to_read(view.home)
    try:
        found = connection.execute("SELECT 1 FROM generations WHERE key = ?", (generation.key,)).fetchone()
    finally:
        connection.close()
    return found is not None


def _embeddings(view: View, model: ModelRecord, newest: Generation | None, published: _Published | None) -> _Wrong:
    connection, wrong = view.connection, _Wrong()
    total = view.one("SELECT count(*) FROM embeddings WHERE model_key = ?", model.key)
    view.progress.stage("embeddings", total)
    seen = np.zeros(0 if published is None else len(published.keys), np.bool_)
    last = done = 0
    while rows := connection.execute(
        "SELECT key, photo_key, vector FROM embeddings WHERE model_key = ? AND key > ? ORDER BY key LIMIT ?",
        (model.key, last, _CHUNK),
    ).fetchall():
        last = rows[-1][0]
        broken = _broken([row[2] for row in rows], model.dimensions)
        wrong.broken |= {rows[place][0]: rows[place][1] for place in np.flatnonzero(broken)}
        if published is not None and newest is not None:
            vectors = stored.unpack([row[2] for row in rows], model.dimensions)
            places = published.places(np.asarray([row[1] for row in rows], np.int64))
            here = places >= 0
            seen[places[here]] = True
            differ = np.zeros(len(rows), np.bool_)
            differ[here] = np.abs(vectors[here] - published.vectors[places[here]]).max(axis=1, initial=0) > _SAME
            wrong.other |= {rows[place][0]: rows[place][1] for place in np.flatnonzero(differ & ~broken)}
            covered = np.asarray([row[0] <= newest.through for row in rows])
            wrong.unpublished += [rows[place][1] for place in np.flatnonzero(covered & ~here)]
        done += len(rows)
        view.checked["embeddings"] += len(rows)
        view.progress.advance(done, len(wrong.broken) + len(wrong.other))
    if published is not None and not seen.all():
        live = {row[0] for row in connection.execute("SELECT key FROM photos WHERE orphaned_at IS NULL")}
        wrong.missing = [key for key in published.keys[~seen].tolist() if key in live]
    return wrong


def _broken(blobs: list[object], dimensions: int) -> npt.NDArray[np.bool_]:
    """Which of them are no vectors of length one, bool[n]."""
    whole = [
        blob if isinstance(blob, bytes) and len(blob) == 2 * dimensions else bytes(2 * dimensions) for blob in blobs
    ]
    vectors = np.frombuffer(b"".join(whole), "<f2").reshape(len(blobs), dimensions).astype(np.float32)
    with np.errstate(invalid="ignore"):
        lengths = np.linalg.norm(vectors, axis=1)
    return np.asarray(~(np.abs(lengths - 1) <= _UNIT), np.bool_)


def _told(
    view: View, model: ModelRecord, newest: Generation | None, published: _Published | None, wrong: _Wrong
) -> Iterator[Finding]:
    # Where most differ, it is the generation that is of another history.
    strange = newest is not None and len(wrong.other) > max(8, newest.photos // 2)
    if strange and newest is not None:
        yield Finding(
            "generation", f"Generation {newest.key} of {model.name} is not of this catalog.", _replace(model, newest)
        )
    bad = {**wrong.broken, **({} if strange else wrong.other)}
    if bad:
        yield Finding(
            "embeddings",
            f"{several(len(bad), 'embedding')} of {model.name} {are(len(bad))} damaged: {view.names(bad.values())}.",
            lambda mending: _mend(mending, view, model, newest, bad, strange),
        )
    if wrong.missing and not strange:
        yield Finding(
            "embeddings",
            f"The embedding of {several(len(wrong.missing), 'photo')} is missing that {model.name} has made: "
            f"{view.names(wrong.missing)}.",
            lambda mending: _bring_back(mending, view, model, newest, wrong.missing),
        )
    if wrong.unpublished and newest is not None and not strange:
        yield Finding(
            "generation",
            f"Generation {newest.key} of {model.name} lacks {several(len(wrong.unpublished), 'photo')} that it should "
            f"have: {view.names(wrong.unpublished)}.",
            _replace(model, newest),
        )


def _mend(
    mending: Mending, view: View, model: ModelRecord, newest: Generation | None, bad: dict[int, int], strange: bool
) -> None:
    """Take embeddings from the generation where it has them; others are deleted, and made again by the next run."""
    published = None if newest is None or strange else _Published.open(view, newest, model.dimensions)
    connection = mending.connection
    with mending.transaction():
        for key, photo in bad.items():
            place = -1 if published is None else int(published.places(np.asarray([photo]))[0])
            if published is not None and place >= 0:
                connection.execute(
                    "UPDATE embeddings SET vector = ? WHERE key = ?", (stored.pack(published.vectors[place]), key)
                )
            else:
                connection.execute("DELETE FROM embeddings WHERE key = ?", (key,))
                connection.execute("DELETE FROM levels WHERE photo_key = ? AND model_key = ?", (photo, model.key))
        settings.grow_revision(connection)
    _publish(mending, model)


def _bring_back(
    mending: Mending, view: View, model: ModelRecord, newest: Generation | None, missing: list[int]
) -> None:
    published = None if newest is None else _Published.open(view, newest, model.dimensions)
    if published is None:
        return
    with mending.transaction():
        places = published.places(np.asarray(missing, np.int64)).tolist()
        mending.connection.executemany(
            "INSERT OR IGNORE INTO embeddings (model_key, photo_key, vector) VALUES (?, ?, ?)",
            [
                (model.key, photo, stored.pack(published.vectors[place]))
                for photo, place in zip(missing, places, strict=True)
                if place >= 0
            ],
        )
        settings.grow_revision(mending.connection)
    _publish(mending, model)


def _replace(model: ModelRecord, generation: Generation) -> Callable[[Mending], None]:
    """Delete a damaged generation, and publish another where its model is the one that answers."""

    def mend(mending: Mending) -> None:
        generations.drop(mending.home, mending.connection, generation)
        if generations.newest(mending.connection, model.key) is None or generation.key > _newest(mending, model):
            _publish(mending, model)

    return mend


def _newest(mending: Mending, model: ModelRecord) -> int:
    found = generations.newest(mending.connection, model.key)
    return found.key if found else 0


def _publish(mending: Mending, model: ModelRecord) -> None:
    active = model_records.active(mending.connection)
    if active is None or active.key != model.key:
        for generation in generations.of_model(mending.connection, model.key):
            generations.drop(mending.home, mending.connection, generation)
        return
    mending.progress.stage("publish", None)
    generations.publish(mending.home, mending.connection, model)
    with mending.transaction():
        settings.grow_revision(mending.connection)


def _leftovers(view: View) -> Iterator[Finding]:
    """What lies among the generations and no row names."""
    found = generations.unnamed(view.home, view.connection)
    if not found or view.is_busy():
        return  # it may be a run's that is at work
    # One may have been published since the catalog was opened.
    connection = connect_to_read(view.home)
    try:
        found = [path for path in generations.unnamed(view.home, connection) if path in found]
    finally:
        connection.close()
    if found:
        yield Finding(
            "leftovers",
            f"Among the generations lies what none is: {listed([path.name for path in found], len(found))}.",
            lambda mending: _sweep(found),
        )


def _sweep(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
