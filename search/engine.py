"""The engine: a request in, an answer out, on whatever state is committed at that moment."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from search.answer import MODES, SORTS, Answer, Hit, Request, Why
from search.catalog import words
from search.catalog.connection import Reader, connect_to_read
from search.catalog.photo import Photo, photo_by_id, photos_by_key
from search.catalog.status import status
from search.errors import QueryError, SightlineError, UnknownPhotoError
from search.filters import allowed_keys, condition, match_all
from search.home import Home
from search.query import Query, cleaned, parse
from search.questions import Questions
from search.ranking import reciprocal_rank_fusion
from search.vectors import stored
from search.vectors.protocol import Floats, Keys
from search.vectors.snapshot import Snapshot, take

FUSED_DEPTH = 10_000
"""How far down each list is read where several are fused; pages of a fused answer end there."""
DATED_DEPTH = 200
"""How many of the best hits are put in the order of their dates, when a search by meaning asks for that order."""


class Engine:
    """Answers searches over one home. Safe to use from many threads; follows new commits and generations by itself.

    >>> with Engine.open(Home.default()) as engine:        # doctest: +SKIP
    ...     answer = engine.search(Request("a dog running on the beach"))
    """

    def __init__(self, home: Home, *, device: str = "auto") -> None:
        """Use `open`, which checks that there is an index."""
        self.home = home
        self._device = device
        self._local = threading.local()
        self._connections: dict[threading.Thread, Reader] = {}
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._questions: Questions | None = None

    @classmethod
    def open(cls, home: Home, *, device: str = "auto") -> Engine:
        """The engine of `home`.

        Raises:
            CatalogError: there is no index in it, or it cannot be read; the sentence says what to do.
        """
        engine = cls(home, device=device)
        engine._connection()
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; the engine must not be used again."""
        with self._lock:
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()

    def warm(self) -> None:
        """Load the vectors and the model now, so that the first search does not wait for them."""
        self._questioner(self._now()).of_text("warm")

    def photo(self, photo_id: str) -> Photo | None:
        """The photo with this id, or None where no file holds it any more."""
        return photo_by_id(self._current_connection(), photo_id)

    def status(self) -> dict[str, Any]:
        """What the index holds and what was done to it: the contract of `sightline status --json`."""
        return status(self.home, self._current_connection())

    def search(self, request: Request) -> Answer:
        """Answer one request.

        Raises:
            QueryError: it cannot be answered as asked (an impossible date, an unknown mode).
            UnknownPhotoError: `like` names no photo of this index.
            ModelError: the index's model cannot be loaded here.
        """
        began = time.perf_counter()
        query = _understood(request)
        snapshot = self._now()
        connection = self._connection()
        page = slice(request.offset, request.offset + request.limit)
        allowed = allowed_keys(connection, query)
        wanted, allowed = self._wanted(request, query, snapshot, allowed)
        ranked = snapshot.live
        if wanted and allowed is not None:
            ranked = allowed[np.isin(allowed, snapshot.live)]
        expression = match_all(query.words + query.exact) if request.mode != "meaning" else ""

        signals: dict[str, dict[int, float]] = {}
        lists: list[list[int]] = []
        found_by_words = words.ranked(connection, expression, *condition(query)) if expression else []
        fused = len(wanted) + bool(found_by_words) > 1
        dated = request.sort == "date" and bool(wanted)
        depth = FUSED_DEPTH if fused else DATED_DEPTH if dated else page.stop
        for signal, vector in wanted.items():
            scores, keys = snapshot.search(vector, depth, allowed=ranked)
            signals[signal] = dict(zip(keys.tolist(), scores.tolist(), strict=True))
            lists.append(keys.tolist())
        if found_by_words and allowed is not None:
            found_by_words = np.asarray(found_by_words)[np.isin(found_by_words, allowed)].tolist()
        if found_by_words:
            lists.append(found_by_words[:FUSED_DEPTH] if fused else found_by_words)

        ordered: list[tuple[int, float | None]] = []
        if fused:
            ordered += reciprocal_rank_fusion(lists)[: DATED_DEPTH if dated else None]
            total = len(ordered)
        elif wanted:
            (only,) = signals.values()
            ordered = list(only.items())
            total = min(len(ranked), DATED_DEPTH if dated else 2**62)
        elif _asks_for_words(request, query):
            ordered = [(key, None) for key in found_by_words]
            total = len(ordered)
        else:
            return self._listing(request, query, snapshot, began)
        if request.sort == "date":
            ordered = self._by_date(ordered)
        ordered = ordered[page]
        hits = self._hits(ordered, signals, expression, self._questions)
        return Answer(str(query), snapshot.model.name, total, (time.perf_counter() - began) * 1000, hits)

    def _wanted(
        self, request: Request, query: Query, snapshot: Snapshot, allowed: Keys | None
    ) -> tuple[dict[str, Floats], Keys | None]:
        """The vectors to rank by, named by their signal, and the photos that may answer."""
        wanted: dict[str, Floats] = {}
        unwanted = list(query.excluded)
        if request.like is not None:
            photo = photo_by_id(self._connection(), request.like)
            vector = None
            if photo is not None:
                vector = stored.of_photo(self._connection(), snapshot.model.key, photo.key, snapshot.model.dimensions)
            if photo is None or vector is None:
                raise UnknownPhotoError(f"There is no photo {request.like} in this index.")
            allowed = snapshot.live if allowed is None else allowed
            allowed = allowed[allowed != photo.key]
            wanted["image"] = vector
        if request.image is not None:
            vector = self._questioner(snapshot).of_image(request.image)
            if "image" in wanted:
                vector = vector + wanted["image"]
                vector /= np.linalg.norm(vector)
            wanted["image"] = vector
        if query.text and request.mode != "words":
            wanted["meaning"] = self._questioner(snapshot).of_text(query.text)
        if unwanted and wanted:
            turned = "meaning" if "meaning" in wanted else "image"
            wanted[turned] = self._questioner(snapshot).without(wanted[turned], unwanted)
        return wanted, allowed

    def _listing(self, request: Request, query: Query, snapshot: Snapshot, began: float) -> Answer:
        """Nothing to rank by: the photos that pass the filters, newest first."""
        connection = self._connection()
        sql, values = condition(query)
        total = connection.execute(f"SELECT count(*) FROM photos WHERE {sql}", values).fetchone()[0]
        rows = connection.execute(
            f"SELECT key FROM photos WHERE {sql} ORDER BY sort_at DESC, key DESC LIMIT ? OFFSET ?",
            (*values, request.limit, request.offset),
        )
        hits = self._hits([(row[0], None) for row in rows], {}, "", None)
        return Answer(str(query), snapshot.model.name, total, (time.perf_counter() - began) * 1000, hits)

    def _hits(
        self,
        ordered: list[tuple[int, float | None]],
        signals: dict[str, dict[int, float]],
        expression: str,
        questions: Questions | None,
    ) -> tuple[Hit, ...]:
        connection = self._connection()
        keys = [key for key, _ in ordered]
        photos = photos_by_key(connection, keys)
        snippets = words.marked(connection, expression, keys) if expression else {}
        hits = []
        for key, score in ordered:
            photo = photos.get(key)
            if photo is None:  # removed since the snapshot was taken
                continue
            why = [
                Why(
                    signal,
                    found[key],
                    questions.probability(found[key]) if questions and signal == "meaning" else None,
                )
                for signal, found in signals.items()
                if key in found
            ]
            why += [Why("words", field=field, snippet=text) for field, text in snippets.get(key, ())]
            hits.append(
                Hit(
                    photo.id,
                    photo.path,
                    score,
                    True,
                    tuple(why),
                    photo.caption,
                    photo.taken_at,
                    photo.width,
                    photo.height,
                )
            )
        return tuple(hits)

    def _by_date(self, ordered: list[tuple[int, float | None]]) -> list[tuple[int, float | None]]:
        dates = dict(
            self._connection().execute(
                "SELECT key, sort_at FROM photos WHERE key IN (SELECT value FROM json_each(?))",
                (json.dumps([key for key, _ in ordered]),),
            )
        )
        return sorted(ordered, key=lambda item: (dates.get(item[0], ""), item[0]), reverse=True)

    def _now(self) -> Snapshot:
        connection = self._current_connection()
        with self._lock:
            self._snapshot = take(self.home, connection, self._snapshot)
            if self._snapshot is None:
                raise SightlineError(
                    f"The index in {self.home.path} holds no photo yet; run `sightline index PATH` on a folder."
                )
            return self._snapshot

    def _questioner(self, snapshot: Snapshot) -> Questions:
        with self._lock:
            if self._questions is None or self._questions.model != snapshot.model:
                self._questions = Questions(snapshot.model, self._device)
            return self._questions

    def _current_connection(self) -> sqlite3.Connection:
        """This thread's connection, opened anew if the catalog is another file by now: for the start of an answer."""
        connection: Reader | None = getattr(self._local, "connection", None)
        if connection is not None and not connection.is_current(self.home):
            with self._lock:
                self._connections.pop(threading.current_thread(), None)
                self._snapshot = None  # it may be of a catalog that is not there any more
            self._local.connection = None
            connection.close()
        return self._connection()

    def _connection(self) -> sqlite3.Connection:
        """This thread's own connection: SQLite answers threads side by side only on connections of their own."""
        connection: Reader | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = connect_to_read(self.home)
            self._local.connection = connection
            with self._lock:
                # Servers let idle threads end and start others; what the ended ones held goes with them.
                for thread in [thread for thread in self._connections if not thread.is_alive()]:
                    self._connections.pop(thread).close()
                self._connections[threading.current_thread()] = connection
        return connection


def _understood(request: Request) -> Query:
    if request.mode not in MODES:
        raise QueryError(f"There is no mode “{request.mode}”; it is one of {', '.join(MODES)}.")
    if request.sort not in SORTS:
        raise QueryError(f"Hits cannot be sorted by “{request.sort}”; it is one of {', '.join(SORTS)}.")
    if request.limit < 1 or request.offset < 0:
        raise QueryError("A page needs a limit of at least 1 and an offset of at least 0.")
    query = parse(request.text)
    # Cleaned as any query is, but as one phrase: --not "red car" is not this, rather than neither red nor car.
    if negative := " ".join(cleaned(request.negative).replace('"', " ").split()):
        query = replace(query, excluded=(*query.excluded, negative))
    return query


def _asks_for_words(request: Request, query: Query) -> bool:
    return request.mode == "words" and bool(query.text)
