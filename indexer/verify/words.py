"""The words that photos are found by: whether the full-text indexes are whole, and say what the catalog says."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from indexer.verify.findings import Finding, Mending, View, are, several
from search.catalog import descriptions, settings, words
from search.catalog.damage import is_damage
from search.catalog.descriptions import CAPTIONS, TAGS, TEXT
from search.catalog.unspaced import joined
from search.catalog.words import PERSON, PhotoWords

_INDEXES = ("words", "parts")
_PARTS_OF_INDEXES = ("data", "idx", "content", "docsize", "config")
_CHUNK = 1000  # photos


@dataclass
class _Difference:
    """What the words say and the catalog does not, of the photos by keys."""

    words: list[int] = field(default_factory=list)
    own: dict[int, str] = field(default_factory=dict)
    captions: dict[int, str] = field(default_factory=dict)
    tags: list[int] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)


def look(view: View) -> Iterator[Finding]:
    """What is wrong with the words."""
    if not words.is_of_this_form(view.connection):
        view.notes.append("An earlier version wrote the words of the photos; `sightline index` writes them anew.")
        return
    whole = True
    for index in _INDEXES:
        if not is_whole(view.connection, index):
            whole = False
            yield Finding("words", f"The full-text index of {index} is malformed.", _rebuild(index))
    found = _compared(view, whole)
    said = sorted({*found.own, *found.captions})
    if said:
        # Both are written in one transaction, and the index agrees with the words: it is the caption that has changed.
        yield Finding(
            "captions",
            f"The caption of {several(len(said), 'photo')} is not what its words say: {view.names(said)}.",
            lambda mending: _put_back(mending, found),
        )
    if found.words:
        yield Finding(
            "words",
            f"The words of {several(len(found.words), 'photo')} are not what the catalog says of "
            f"{are(len(found.words), 'it', 'them')}: {view.names(found.words)}.",
            lambda mending: _write(mending, found),
        )


def is_whole(connection: sqlite3.Connection, index: str) -> bool:
    """Whether a full-text index fits to the words that it keeps.

    FTS5's own check is a write, so a copy of the index is checked, which SQLite keeps in a temporary file.
    """
    (sql,) = connection.execute("SELECT sql FROM main.sqlite_master WHERE name = ?", (index,)).fetchone()
    copy = f"checked_{index}"
    connection.execute(sql.replace(f"CREATE VIRTUAL TABLE {index} ", f"CREATE VIRTUAL TABLE temp.{copy} ", 1))
    try:
        for part in _PARTS_OF_INDEXES:
            connection.execute(f"DELETE FROM temp.{copy}_{part}")
            connection.execute(f"INSERT INTO temp.{copy}_{part} SELECT * FROM main.{index}_{part}")
        connection.execute(f"INSERT INTO temp.{copy} ({copy}) VALUES ('integrity-check')")
    except sqlite3.DatabaseError as error:
        if is_damage(error) or error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CONSTRAINT:
            return False
        raise
    finally:
        connection.execute(f"DROP TABLE temp.{copy}")
    return True


def _compared(view: View, whole: bool) -> _Difference:
    """Hold the words of each photo against what the catalog says of it; a caption is believed less than its words
    where their index is `whole`."""
    connection, found = view.connection, _Difference()
    total = view.one("SELECT count(*) FROM photos")
    view.progress.stage("words_check", total)
    before = connection.text_factory
    connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
    try:
        last = 0
        while keys := _keys_after(connection, last):
            # All that is kept up to the last of these photos; what is beyond all photos belongs to none.
            until = keys[-1] if len(keys) == _CHUNK else 2**62
            kept = _kept(connection, last, until)
            for key in keys:
                _compare(key, words.of_photo(connection, key), kept.pop(key, None), whole, found)
            found.words += sorted(kept)
            view.checked["words"] += len(keys)
            view.progress.advance(view.checked["words"], len(found.words))
            last = keys[-1]
        if not total:
            found.words += sorted(_kept(connection, 0, 2**62))
    finally:
        connection.text_factory = before
    return found


def _keys_after(connection: sqlite3.Connection, last: int) -> list[int]:
    rows = connection.execute("SELECT key FROM photos WHERE key > ? ORDER BY key LIMIT ?", (last, _CHUNK))
    return [row[0] for row in rows]


def _kept(connection: sqlite3.Connection, after: int, until: int) -> dict[int, tuple[object, ...]]:
    """What both indexes keep of photos, by their keys."""
    found: dict[int, tuple[object, ...]] = {}
    between = "WHERE id > ? AND id <= ?"
    for key, *fields in connection.execute(
        f"SELECT id, c0, c1, c2, c3, c4 FROM words_content {between}", (after, until)
    ):
        found[key] = (*fields, None, None)
    for key, *fields in connection.execute(f"SELECT id, c0, c1 FROM parts_content {between}", (after, until)):
        found[key] = (*found.get(key, (None,) * 7)[:5], *fields)
    return found


def _compare(
    key: int, expected: PhotoWords | None, kept: tuple[object, ...] | None, whole: bool, found: _Difference
) -> None:
    if expected is not None and kept is not None:
        kept = _in_order_of(expected, kept)
    if expected == kept:
        return
    own, caption, *rest = kept or (None,) * 7
    if whole and expected is not None and isinstance(own, str) and isinstance(caption, str):
        for changed, now, before in ((found.tags, expected.tags, rest[0]), (found.texts, expected.text, rest[1])):
            if before is not None and _as_indexed(str(before)) != _as_indexed(now):
                changed.append(key)
        own_testifies = bool(own) and _as_indexed(own) != _as_indexed(expected.own)
        caption_testifies = bool(caption) and _as_indexed(caption) != _as_indexed(expected.caption)
        if own_testifies:
            found.own[key] = joined(own)
        if caption_testifies:
            found.captions[key] = joined(caption)
        others = rest == list(expected[2:])
        if others and (own_testifies or own == expected.own) and (caption_testifies or caption == expected.caption):
            return
    found.words.append(key)


def _in_order_of(expected: PhotoWords, kept: tuple[object, ...]) -> tuple[object, ...]:
    """What is kept, with its tags in the order of what is expected if they are the same: a photo that is tagged anew
    with the same tags keeps its words."""
    tags = kept[2]
    same = isinstance(tags, str) and sorted(tags.split(", ")) == sorted(expected.tags.split(", "))
    return (*kept[:2], expected.tags, *kept[3:]) if same else kept


def _as_indexed(text: str) -> list[str]:
    """What of a text the index knows: words without case and accents. Nothing else can speak for either of two."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return re.findall(r"\w+", plain.casefold())


def _rebuild(index: str) -> Callable[[Mending], None]:
    def mend(mending: Mending) -> None:
        mending.progress.stage("words", None)
        with mending.transaction():
            mending.connection.execute(f"INSERT INTO {index} ({index}) VALUES ('rebuild')")
            words.refresh(mending.connection, [])  # searches keep lists of what they found

    return mend


def _put_back(mending: Mending, found: _Difference) -> None:
    connection = mending.connection
    captioner = settings.get(connection, f"{CAPTIONS}_author")
    with mending.transaction():
        for key, text in found.own.items():
            descriptions.put_own_caption(connection, key, text)
        for key, text in found.captions.items():
            row = connection.execute(
                "SELECT author FROM captions WHERE photo_key = ? AND author <> ?", (key, PERSON)
            ).fetchone()
            if author := row[0] if row else captioner:
                descriptions.put_caption(connection, key, author, text)
        words.refresh(connection, {*found.own, *found.captions})


def _write(mending: Mending, found: _Difference) -> None:
    every = found.words
    with mending.transaction():
        # Where the words tell what tags or text there were, what there is has changed, and is made again.
        for stage, keys in ((TAGS, found.tags), (TEXT, found.texts)):
            mending.connection.executemany(
                "DELETE FROM descriptions WHERE stage = ? AND photo_key = ? AND failure IS NULL",
                [(stage, key) for key in keys],
            )
    mending.progress.stage("words", len(every))
    for start in range(0, len(every), _CHUNK):
        with mending.transaction():
            words.refresh(mending.connection, every[start : start + _CHUNK])
        mending.progress.advance(min(len(every), start + _CHUNK), 0)
