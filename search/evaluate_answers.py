"""The rank of what was meant in the answers that users get: the engine's own lists and fusion, nothing cut off."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np

from search.answer import Request
from search.catalog import words
from search.catalog_candidates import CatalogCandidates
from search.column_filters import ColumnFilters
from search.evaluate import Ranks
from search.query import MAX_LENGTH, Query, cleaned
from search.questions import Questions
from search.ranking_settings import RankingSettings
from search.retrieval import Found, Retrieval
from search.vectors.flat import FlatIndex
from search.vectors.protocol import Floats
from search.vectors.snapshot import Snapshot
from search.word_lists import WordLists

MODES = {"words": "words", "hybrid": "auto"}
"""The modes measured here, and what a `Request` calls them."""

Advance = Callable[[int], None]


class _Embedded(Questions):
    """Questions that were embedded before, many at once: all that is asked now has the one `vector`."""

    vector: Floats

    def of_text(self, text: str) -> Floats:
        """See `Questions.of_text`."""
        return self.vector


def ranks_of_photos(
    connection: sqlite3.Connection,
    snapshot: Snapshot,
    mode: str,
    texts: Sequence[str],
    vectors: Floats,
    photo_keys: Sequence[int],
    ranking: RankingSettings,
    advance: Advance = lambda done: None,
) -> Ranks:
    """The rank of each text's photo among all, int64[m], from 1, in the answer to that text.

    `vectors`, float32[m, d], embed the texts; `photo_keys` are the photos that they are of. Ties count against the
    photo, and one that is not found at all comes last.
    """
    found = answers(connection, snapshot, mode, texts, vectors, ranking, advance)
    return np.array([_rank(one, {key}, len(snapshot.live)) for one, key in zip(found, photo_keys, strict=True)])


def ranks_of_texts(
    library: Snapshot,
    mode: str,
    texts: Sequence[str],
    vectors: Floats,
    owners: Ranks,
    described: Sequence[str],
    photos: Floats,
    ranking: RankingSettings,
    advance: Advance = lambda done: None,
) -> Ranks:
    """The rank of each photo's text, int64[n], from 1: the other way round, where the texts are what is searched.

    They stand in an index of their own, as captions do. A photo asks it with its embedding (`photos`, float32[n, d])
    and with what the index says of it (`described`: its caption and tags), and the lists are fused as ever. `owners`,
    int64[m], and the rank are as in `search.evaluate.ranks_by_similarity`; what is not found comes last. `library` is
    where the photos are.
    """
    keys = np.arange(1, len(texts) + 1)
    base = FlatIndex(keys, vectors)
    with _catalog_of(texts) as connection:
        levels = np.zeros(len(keys), np.float32)
        snapshot = Snapshot(0, library.model, base, 0, None, None, (), 0, keys, levels, library.background)
        found = answers(connection, snapshot, mode, described, photos, ranking, advance)
        return np.array([_rank(one, set(keys[owners == photo].tolist()), len(keys)) for photo, one in enumerate(found)])


def answers(
    connection: sqlite3.Connection,
    snapshot: Snapshot,
    mode: str,
    texts: Sequence[str],
    vectors: Floats,
    ranking: RankingSettings,
    advance: Advance = lambda done: None,
) -> Iterator[Found]:
    """What each of the texts finds, nothing cut off; `vectors`, float32[m, d], embed them."""
    questions, word_lists = _Embedded(snapshot.model, "cpu"), WordLists()
    filters = ColumnFilters()
    request = Request(mode=MODES[mode], limit=max(1, len(snapshot.live)), include_all=True)
    for done, (text, questions.vector) in enumerate(zip(texts, vectors, strict=True), start=1):
        # Not parsed: in the query language a caption's quotes, colons and hyphens would be something else than words.
        # A query without any would list all photos by date; the dash is no word, so that nothing is looked up.
        query = Query(tuple(cleaned(text[:MAX_LENGTH]).split()) or ("-",))
        candidates = CatalogCandidates(query, snapshot, connection, word_lists, filters)
        yield Retrieval(request, query, candidates, questions, ranking).find()
        advance(done)


def _rank(found: Found, own: set[int], total: int) -> int:
    """The place of the best of `own`; the others of them do not stand in its way."""
    scores, mine = np.asarray(found.scores, np.float64), np.isin(found.keys, list(own))
    if not mine.any():
        return total - len(own) + 1
    return 1 + int((scores[~mine] >= scores[mine].max()).sum())


@contextmanager
def _catalog_of(texts: Sequence[str]) -> Iterator[sqlite3.Connection]:
    """A catalog in memory in which each text is the caption of a photo without a name; keys count from 1."""
    from sqlite_utils import Database

    from search.catalog.schema import migrations

    database = Database(memory=True, recursive_triggers=False)
    migrations().apply(database)
    with closing(database.conn) as connection:
        connection.execute("INSERT INTO libraries (key, path, added_at) VALUES (1, x'', '')")
        keys = range(1, len(texts) + 1)
        connection.executemany(
            "INSERT INTO photos (key, id, width, height, format, bytes, sort_at, added_at)"
            " VALUES (?1, ?1, 1, 1, '', 0, '', '')",
            ((key,) for key in keys),
        )
        connection.executemany(
            "INSERT INTO files (folder, name, library_key, photo_key, size, mtime_ns) VALUES (?1, x'', 1, ?1, 0, 0)",
            ((key,) for key in keys),
        )
        connection.executemany(
            "INSERT INTO captions (photo_key, author, text, written_at) VALUES (?, '', ?, '')",
            zip(keys, texts, strict=True),
        )
        words.refresh(connection, keys)
        yield connection
