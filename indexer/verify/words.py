"""The words that photos are found by: whether the full-text indexes are whole, and say what the catalog says."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from indexer.verify.findings import Finding, Mending, View, are, several
from search.catalog import changelog, descriptions, settings, words
from search.catalog.damage import is_damage
from search.catalog.descriptions import CAPTIONS, TAGS, TEXT
from search.catalog.unspaced import joined
from search.catalog.words import PERSON, PhotoWords
from search.errors import SightlineError

_INDEXES = ("words", "parts")
_MADE_OF_CONTENT = ("data", "idx", "docsize", "config")
"""The tables of an index but for that of what is indexed."""
_HEAD = 10  # the row of `data` that says what the index consists of
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
            yield Finding("words", f"The full-text index of {index} is malformed.", _rebuild(index), about=index)
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

    Raises:
        SightlineError: there is no room for that.
    """
    try:
        with _empty_one(connection, index) as copy:
            # SQLite looks at this only when it opens an index.
            configs = (f"main.{index}_config", f"temp.{copy}_config")
            config, as_made = (connection.execute(f"SELECT * FROM {name}").fetchall() for name in configs)
            if config != as_made:
                return False
            for part in (*_MADE_OF_CONTENT, "content"):
                connection.execute(f"DELETE FROM temp.{copy}_{part}")
                connection.execute(f"INSERT INTO temp.{copy}_{part} SELECT * FROM main.{index}_{part}")
            connection.execute(f"INSERT INTO temp.{copy} ({copy}) VALUES ('integrity-check')")
    except sqlite3.DatabaseError as error:
        if is_damage(error) or error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CONSTRAINT:
            return False
        if "disk is full" in str(error):  # as what makes an index says it, too, whose code is another
            raise SightlineError(
                "The full-text indexes are checked on a copy in a temporary file, and there is no room for it. Make "
                "room where temporary files lie, or name another folder in SQLITE_TMPDIR."
            ) from error
        raise
    return True


@contextmanager
def _empty_one(connection: sqlite3.Connection, index: str) -> Iterator[str]:
    """The name of an index that is made like `index`, empty and in a temporary file."""
    (sql,) = connection.execute("SELECT sql FROM main.sqlite_master WHERE name = ?", (index,)).fetchone()
    copy = f"checked_{index}"
    connection.execute(sql.replace(f"CREATE VIRTUAL TABLE {index} ", f"CREATE VIRTUAL TABLE temp.{copy} ", 1))
    try:
        yield copy
    finally:
        connection.execute(f"DROP TABLE temp.{copy}")


def _compared(view: View, whole: bool) -> _Difference:
    """Hold the words of each photo against what the catalog says of it; a caption is believed less than its words
    where their index is `whole`."""
    connection, found = view.connection, _Difference()
    total = view.one("SELECT count(*) FROM photos")
    view.progress.stage("words_check", total)
    with _any_text(connection):
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
    if expected is not None and kept is not None and whole:
        told = _testimony(expected, kept)
        if told.own:
            found.own[key] = joined(told.own)
        if told.caption:
            found.captions[key] = joined(told.caption)
        if told.other_tags:
            found.tags.append(key)
        if told.other_text:
            found.texts.append(key)
        if expected._replace(own=told.own or expected.own, caption=told.caption or expected.caption) == kept:
            return  # once the captions are put back, nothing else differs
    found.words.append(key)


class _Testimony(NamedTuple):
    """What the words of a photo tell against the catalog: captions, '' where none, and whether it had other tags or
    another text."""

    own: str = ""
    caption: str = ""
    other_tags: bool = False
    other_text: bool = False


def _testimony(expected: PhotoWords, kept: tuple[object, ...]) -> _Testimony:
    own, caption, tags, text, *_ = kept
    if not isinstance(own, str) or not isinstance(caption, str):
        return _Testimony()
    return _Testimony(
        own if _tells(own, expected.own) else "",
        caption if _tells(caption, expected.caption) else "",
        tags is not None and _as_indexed(str(tags)) != _as_indexed(expected.tags),
        text is not None and _as_indexed(str(text)) != _as_indexed(expected.text),
    )


def _tells(kept: str, expected: str) -> bool:
    """Whether the words tell another caption than the catalog has. Where it has none they tell one that has not a
    single letter, too: nothing else is left of it."""
    return bool(kept) and (not expected or _as_indexed(kept) != _as_indexed(expected))


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
        connection = mending.connection
        with mending.transaction():
            # SQLite opens no index whose head is damaged, not even to drop it or to make it anew.
            with _empty_one(connection, index) as empty:
                for part in _MADE_OF_CONTENT:
                    connection.execute(f"DELETE FROM main.{index}_{part}")
                    connection.execute(f"INSERT INTO main.{index}_{part} SELECT * FROM temp.{empty}_{part}")
            # By the number that this begins with, one who has the index open sees that its configuration is another.
            connection.execute(
                f"UPDATE main.{index}_data SET block = x'00' || randomblob(3) || substr(block, 5) WHERE id = {_HEAD}"
            )
            connection.execute(f"INSERT INTO {index} ({index}) VALUES ('rebuild')")
            words.refresh(connection, [])
            changelog.start_anew(connection)  # searches keep lists of what they found

    return mend


def _put_back(mending: Mending, found: _Difference) -> None:
    """Put captions back from their words, but of photos of which something else was said since they were looked at."""
    connection = mending.connection
    captioner = settings.get(connection, f"{CAPTIONS}_author")
    with mending.transaction(), _any_text(connection):
        still = _Difference()
        for key in sorted({*found.own, *found.captions}):
            _compare(key, words.of_photo(connection, key), _kept(connection, key - 1, key).get(key), True, still)
        for key, text in still.own.items():
            if found.own.get(key) == text:
                descriptions.put_own_caption(connection, key, text)
        for key, text in still.captions.items():
            row = connection.execute(
                "SELECT author FROM captions WHERE photo_key = ? AND author <> ?", (key, PERSON)
            ).fetchone()
            if found.captions.get(key) == text and (author := row[0] if row else captioner):
                descriptions.put_caption(connection, key, author, text)
        words.refresh(connection, {*still.own, *still.captions})


@contextmanager
def _any_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Text that is no UTF-8 can be read inside."""
    before = connection.text_factory
    connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        connection.text_factory = before


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
