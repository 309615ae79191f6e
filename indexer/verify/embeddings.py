"""The embeddings of a model, each held against the generation that was published of it.

A generation is checked by its checksums, so where it is whole it shows each byte of an embedding that has changed in
the catalog, and gives the embedding back. Only a part of either is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from indexer.verify.findings import Finding, Mending, View, are, several
from indexer.verify.published import Published, publish, replace_generation
from search.catalog import settings
from search.catalog.model_records import ModelRecord
from search.vectors import stored
from search.vectors.generations import Generation

_CHUNK = 20_000  # embeddings
_UNIT = 0.01  # from one: what half precision leaves of a length of one is nearer


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


def look(view: View, model: ModelRecord, newest: Generation | None) -> Iterator[Finding]:
    """What is wrong with the embeddings of a model, whose newest generation that is whole is `newest`."""
    published = None if newest is None else Published.open(view.home, newest, model.dimensions)
    yield from _told(view, model, newest, published, _compared(view, model, newest, published))


def _compared(view: View, model: ModelRecord, newest: Generation | None, published: Published | None) -> _Wrong:
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
            kept = published.vectors[places[here]]
            distances = np.abs(vectors[here].astype(kept.dtype) - kept).max(axis=1, initial=0)
            differ[here] = distances > published.tolerance
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
    view: View, model: ModelRecord, newest: Generation | None, published: Published | None, wrong: _Wrong
) -> Iterator[Finding]:
    # Where most differ, it is the generation that is of another history.
    strange = newest is not None and len(wrong.other) > max(8, newest.photos // 2)
    if strange and newest is not None:
        yield Finding(
            "generation",
            f"Generation {newest.key} of {model.name} is not of this catalog.",
            replace_generation(model, newest),
            about=f"{newest.key} strange",
        )
    bad = {**wrong.broken, **({} if strange else wrong.other)}
    if bad:
        yield Finding(
            "embeddings",
            f"{several(len(bad), 'embedding')} of {model.name} {are(len(bad))} damaged: {view.names(bad.values())}.",
            lambda mending: _mend(mending, view, model, newest, bad, strange),
            about=f"damaged of {model.key}",
        )
    if wrong.missing and not strange:
        yield Finding(
            "embeddings",
            f"The embedding of {several(len(wrong.missing), 'photo')} is missing that {model.name} has made: "
            f"{view.names(wrong.missing)}.",
            lambda mending: _bring_back(mending, view, model, newest, wrong.missing),
            about=f"missing of {model.key}",
        )
    if wrong.unpublished and newest is not None and not strange:
        yield Finding(
            "generation",
            f"Generation {newest.key} of {model.name} lacks {several(len(wrong.unpublished), 'photo')} that it should "
            f"have: {view.names(wrong.unpublished)}.",
            replace_generation(model, newest),
            about=f"{newest.key} incomplete",
        )


def _mend(
    mending: Mending, view: View, model: ModelRecord, newest: Generation | None, bad: dict[int, int], strange: bool
) -> None:
    """Take embeddings from the generation where it has them; others are deleted, and made again by the next run."""
    published = None if newest is None or strange else Published.open(view.home, newest, model.dimensions)
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
    publish(mending, model)


def _bring_back(
    mending: Mending, view: View, model: ModelRecord, newest: Generation | None, missing: list[int]
) -> None:
    published = None if newest is None else Published.open(view.home, newest, model.dimensions)
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
    publish(mending, model)
