"""The words of each photo: full-text indexes (FTS5) over captions, tags, text in the picture and file names.

`words` knows whole words and ranks by them; `parts` knows every three letters of what is written in pictures and of
file names, where people look for parts of a word, and where an engine that reads glues words together.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from search.catalog import changelog, paths, settings
from search.catalog.unspaced import SEAM, joined, pairs, spaced

FIELDS = ("own", "caption", "tags", "text", "name")
"""What a person said of the photo; what a captioner did; tags; what is written in the picture; file names."""
WRITTEN = ("own", "text", "name")
"""Those of the fields that no model made up."""
OPEN, CLOSE = "\x02", "\x03"
"""What surrounds a matched word inside a snippet: control characters, which no indexed text contains."""
WEIGHTS = "10.0, 10.0, 5.0, 4.0, 2.0"
"""BM25 weights of the fields above: what a caption says tells more than what a file happens to be called."""
WORDS_TOKENIZER, PARTS_TOKENIZER = "unicode61 remove_diacritics 2", "trigram"
"""What takes the texts of `words` and `parts` apart."""
DEPTH = 10_000
"""How far down a list is read where several are fused, and to find its end; such an answer has no more hits. Of every
answer so many are found at once, whatever the page, so that its listing holds them."""
_FORM = "3"
"""How the words below are written; an index that has them in another form writes them anew."""
_CHUNK = 1000  # photos
_SHORTEST_PART = 3
_MOST_CODES = 8
"""So many words of a query are looked up as parts of words: each costs searches of its own."""
_WORDS, _PARTS = (f"SELECT rowid FROM {table} WHERE {table} MATCH ?" for table in ("words", "parts"))
PERSON = "you"
"""The author of captions that a person wrote: no captioner touches them, and they are shown before all others."""
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at by for from her his in into is it its near next of on or out over photo photos picture "
        "pictures she he some that the their there they this to up was were with",
    )
)
"""Words that say nothing of a photo; asked for alone, they are looked up all the same."""


_PLURALS = {
    "calf": "calves", "child": "children", "foot": "feet", "goose": "geese", "knife": "knives", "leaf": "leaves",
    "loaf": "loaves", "man": "men", "mouse": "mice", "person": "people", "policeman": "policemen", "shelf": "shelves",
    "snowman": "snowmen", "tooth": "teeth", "wolf": "wolves", "woman": "women",
}  # fmt: skip
_IRREGULAR = _PLURALS | {plural: singular for singular, plural in _PLURALS.items()}


Term = tuple[tuple[str, ...], ...]


class PhotoWords(NamedTuple):
    """The words of a photo, as they are kept: `FIELDS`, and what `parts` has of text and names."""

    own: str
    caption: str
    tags: str
    text: str
    name: str
    text_parts: str
    name_parts: str


def of_photo(connection: sqlite3.Connection, key: int) -> PhotoWords | None:
    """The words that a photo has by what the catalog says of it; None for an orphan."""
    files = [row[0] for row in connection.execute("SELECT name FROM files WHERE photo_key = ? ORDER BY key", (key,))]
    if not files:
        return None
    captions = connection.execute("SELECT author, text FROM captions WHERE photo_key = ?", (key,)).fetchall()
    read = connection.execute("SELECT text FROM texts WHERE photo_key = ?", (key,)).fetchone()
    own = "\n".join(text for author, text in captions if author == PERSON)
    caption = "\n".join(text for author, text in captions if author != PERSON)
    text, names = read[0] if read else "", "\n".join(dict.fromkeys(paths.display(name) for name in files))
    fields = (spaced(_clean(field)) for field in (own, caption, _tags(connection, key), text, names))
    return PhotoWords._make((*fields, _clean(text), _clean(names)))


def refresh(connection: sqlite3.Connection, photo_keys: Iterable[int]) -> None:
    """Write anew the words of these photos from what the catalog says of them; an orphan has none."""
    keys = list(photo_keys)
    _renew_state(connection, keys)
    for key in keys:
        connection.execute("DELETE FROM words WHERE rowid = ?", (key,))
        connection.execute("DELETE FROM parts WHERE rowid = ?", (key,))
        found = of_photo(connection, key)
        if found is not None:
            connection.execute(
                "INSERT INTO words (rowid, own, caption, tags, text, name) VALUES (?, ?, ?, ?, ?, ?)", (key, *found[:5])
            )
            connection.execute("INSERT INTO parts (rowid, text, name) VALUES (?, ?, ?)", (key, *found[5:]))


def refresh_tags(connection: sqlite3.Connection, photo_keys: Iterable[int]) -> None:
    """Write anew the tags among the words of these photos; an orphan has no words."""
    keys = list(photo_keys)
    _renew_state(connection, keys)
    connection.executemany(
        "UPDATE words SET tags = ? WHERE rowid = ?", [(spaced(_clean(_tags(connection, key))), key) for key in keys]
    )


def refresh_all(connection: sqlite3.Connection, photo_keys: Sequence[int]) -> Iterator[int]:
    """Write anew the words of all photos, which `outdated` gave, in transactions so short that nobody waits for one;
    yields how many are done."""
    for start in range(0, len(photo_keys), _CHUNK):
        with connection:
            refresh(connection, photo_keys[start : start + _CHUNK])
        yield min(start + _CHUNK, len(photo_keys))
    with connection:
        settings.put(connection, "words_form", _FORM)


def is_of_this_form(connection: sqlite3.Connection) -> bool:
    """Whether this version wrote the words, or one that writes them alike."""
    return settings.get(connection, "words_form") == _FORM


def outdated(connection: sqlite3.Connection) -> list[int] | None:
    """All photos, if an earlier version wrote their words in another form; None if there is nothing to write anew."""
    if is_of_this_form(connection):
        return None
    return [row[0] for row in connection.execute("SELECT key FROM photos")]


def state(connection: sqlite3.Connection) -> str:
    """A name for what the words are at this commit: another one after each change, and in every catalog but a copy."""
    return settings.get(connection, "words_state") or ""


def said(expression: str) -> str:
    """`expression` for all fields but tags, which stand side by side without belonging together."""
    return f"{{{' '.join(field for field in FIELDS if field != 'tags')}}} : ({expression})" if expression else ""


def phrase(text: str) -> str:
    """An FTS5 expression for `words`: these words side by side; '' where nothing in `text` could be looked up.

    It is quoted, so that no character in it is FTS5's own syntax.
    """
    return _quoted(spaced(folded(text))) if any(character.isalnum() for character in text) else ""


def term(word: str) -> str:
    """An FTS5 expression for a free word: it, its English singular or plural, or, where writing knows no blanks, all of
    its pairs of characters; '' where there is nothing to look up."""
    found = [_either(forms) for piece in pairs(folded(word)) if (forms := [f for f in _forms(piece) if phrase(f)])]
    return " AND ".join(found) if len(found) < 2 else f"({' AND '.join(found)})"


def terms(free_words: Sequence[str]) -> list[str]:
    """An FTS5 expression for each of the words, once each; common ones are left out, and what cannot be looked up."""
    return list(dict.fromkeys(filter(None, map(term, _telling(free_words)))))


def alternatives(free_words: Sequence[str]) -> list[Term]:
    """What `terms` says, as texts of phrases: of each term its pieces, each of which must stand in one of its forms."""
    found = [
        tuple(
            tuple(spaced(folded(form)) for form in forms)
            for piece in pairs(folded(word))
            if (forms := [form for form in _forms(piece) if phrase(form)])
        )
        for word in _telling(free_words)
    ]
    return list(dict.fromkeys(filter(None, found)))


def match_all(free_words: Sequence[str]) -> str:
    """An FTS5 expression for photos in which each of the words stands, common ones left out; '' where nothing could be
    looked up."""
    return " AND ".join(terms(free_words))


def match_some(free_words: Sequence[str]) -> str:
    """An FTS5 expression for photos in which at least one of the words stands; '' where that is the same as all."""
    found = terms(free_words)
    return " OR ".join(found) if len(found) > 1 else ""


def name_forms(name: str) -> list[str]:
    """A name in lower case, with its last word in the plural or the singular as well."""
    *first, last = name.casefold().split() or [""]
    forms = [last, _IRREGULAR[last]] if last in _IRREGULAR else _forms(last)
    return [" ".join((*first, form)) for form in forms]


def part(text: str) -> str:
    """An FTS5 expression for `parts`: `text` as part of words or across them; '' where it is too short."""
    text = folded(text)
    return _quoted(text) if len(text) >= _SHORTEST_PART else ""


def ranked(
    connection: sqlite3.Connection, expression: str, condition: str, values: Sequence[object]
) -> dict[int, float]:
    """The `DEPTH` best photos that match an FTS5 `expression` and an SQL `condition` on photos: the key of each, best
    first, with its score.

    The score is Okapi BM25, as FTS5 computes it, but the higher the better; ties by key so that pages do not overlap.
    Nothing matches ''.
    """
    return _ranked(connection, "words", f", {WEIGHTS}", expression, condition, values) if expression else {}


def _ranked(
    connection: sqlite3.Connection, table: str, weights: str, expression: str, condition: str, values: Sequence[object]
) -> dict[int, float]:
    rows = connection.execute(
        f"SELECT {table}.rowid, bm25({table}{weights}) AS negated FROM {table} JOIN photos"
        f" ON photos.key = {table}.rowid WHERE {table} MATCH ? AND {condition}"
        f" ORDER BY negated, {table}.rowid LIMIT {DEPTH}",
        (expression, *values),
    )
    return {key: -negated for key, negated in rows}


def written(
    connection: sqlite3.Connection,
    free_words: Sequence[str],
    exact: Sequence[str],
    condition: str,
    values: Sequence[object],
) -> dict[int, float]:
    """As `ranked`, the photos in which each of the words stands in what a person wrote, in the picture or in its names:
    as a word, or, if it is a code with digits, as part of one, such photos last. Where there are no free words, the
    same of `exact` ones, all of which may be parts."""
    sought = written_sought(free_words, exact)
    found = ranked(connection, sought.words, condition, values)
    if not sought.parts:
        return found
    where, needed = [condition], list(values)
    if sought.others:
        where.append(f"+parts.rowid IN ({_WORDS})")  # the plus keeps SQLite from matching anew for each of them
        needed.append(sought.others)
    if len(sought.parts) > 1:  # of one alone the join below says it
        for expression, word in sought.parts:
            where.append(f"+parts.rowid IN ({_PARTS}{f' UNION ALL {_WORDS}' if word else ''})")
            needed += [expression, word] if word else [expression]
    some = " OR ".join(expression for expression, _ in sought.parts)
    return found | {
        key: score
        for key, score in _ranked(connection, "parts", "", some, " AND ".join(where), needed).items()
        if key not in found
    }


class Sought(NamedTuple):
    """What `written` looks for, in FTS5 expressions.

    Attributes:
        words: for `words`: each of the words; '' where there is nothing to look up.
        parts: for each word that may be part of another, what says so for `parts`, and what says for `words` that it
            stands by itself ('': it cannot).
        others: for `words`: the words that may not be parts, of which each must stand there too.
    """

    words: str
    parts: tuple[tuple[str, str], ...]
    others: str


def written_sought(free_words: Sequence[str], exact: Sequence[str]) -> Sought:
    """What `written` looks for. A photo with parts must have each, as part or as word, and one as part."""
    asked, parts, others = literally(free_words, exact)
    found = tuple((expression, _written(term(text))) for text, expression in _parts(parts).items())
    return Sought(_written(match_all(asked)), found, _written(match_all(others)))


def literally(free_words: Sequence[str], exact: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The words that `written` looks for; those of them that may be parts; if there are any, those that may not."""
    asked = _telling(free_words) or list(exact)
    parts = list(_parts(_codes(asked) if free_words else asked))
    return asked, parts, [word for word in asked if word not in parts] if parts else []


def marked(
    connection: sqlite3.Connection, free_words: Sequence[str], exact: Sequence[str], photo_keys: Sequence[int]
) -> dict[int, list[tuple[str, str]]]:
    """For each photo that has some of the words, the fields that have, with a snippet in which they are marked."""
    asked = [*free_words, *exact]
    expression = match_some(asked) or match_all(asked)
    parts = " OR ".join(_parts([*_codes(free_words), *exact]).values())
    found: dict[int, list[tuple[str, str]]] = {}
    for key in map(int, photo_keys):
        snippets = _snippets(connection, "words", FIELDS, expression, key) if expression else []
        if parts:
            shown = {field for field, _ in snippets}
            within = _snippets(connection, "parts", ("text", "name"), parts, key)
            snippets += [(field, text) for field, text in within if field not in shown]
        if snippets:
            found[key] = [("caption" if field == "own" else field, joined(text)) for field, text in snippets]
    return found


def _snippets(
    connection: sqlite3.Connection, table: str, fields: Sequence[str], expression: str, key: int
) -> list[tuple[str, str]]:
    longest = 64 if table == "parts" else 16  # there every three letters count as one word
    columns = ", ".join(f"snippet({table}, {i}, '{OPEN}', '{CLOSE}', '…', {longest})" for i in range(len(fields)))
    row = connection.execute(
        f"SELECT {columns} FROM {table} WHERE {table} MATCH ? AND rowid = ?", (expression, key)
    ).fetchone()
    return [(field, text) for field, text in zip(fields, row or (), strict=bool(row)) if OPEN in text]


def _tags(connection: sqlite3.Connection, photo_key: int) -> str:
    found = connection.execute("SELECT tag FROM tags WHERE photo_key = ? ORDER BY score DESC, tag", (photo_key,))
    return ", ".join(row[0] for row in found)


def _codes(free_words: Sequence[str]) -> list[str]:
    """Words with digits, such as the numbers of plates, invoices and cameras, `_MOST_CODES` at most."""
    return [word for word in dict.fromkeys(free_words) if any(c.isdigit() for c in word) and part(word)][:_MOST_CODES]


def _parts(texts: Sequence[str]) -> dict[str, str]:
    """For each of the texts an FTS5 expression for `parts`, if they are long enough."""
    return {text: expression for text in texts if (expression := part(text))}


def _telling(free_words: Sequence[str]) -> list[str]:
    return [word for word in free_words if word.lower() not in _COMMON] or list(free_words)


def _renew_state(connection: sqlite3.Connection, photo_keys: Sequence[int]) -> None:
    settings.put(connection, "words_state", secrets.token_hex(8))
    changelog.note(connection, photo_keys)


def _forms(word: str) -> list[str]:
    """The word, and its regular English plurals and singulars."""
    if not word.isascii() or not word.isalpha() or len(word) < 3:
        return [word]
    if re.search("ies$", word):
        return [word, word[:-1], f"{word[:-3]}y"]
    if re.search("[^aeiou]y$", word):
        return [word, f"{word}s", f"{word[:-1]}ies"]
    if re.search("(ss|us|is|ch|sh|x|z|o)$", word):  # as glass, bus, lens' like, beach, box
        return [word, f"{word}es", *([f"{word}s"] if word.endswith("o") else [])]
    if re.search("(ss|us|is|ch|sh|x|z|o)es$", word):
        return [word, word[:-1], word[:-2]]
    return [word, word[:-1]] if word.endswith("s") else [word, f"{word}s"]


def _either(forms: list[str]) -> str:
    return phrase(forms[0]) if len(forms) == 1 else f"({' OR '.join(map(phrase, forms))})"


def _written(expression: str) -> str:
    return f"{{{' '.join(WRITTEN)}}} : ({expression})" if expression else ""


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _clean(text: str) -> str:
    """`text` as it is kept: lines as one, so that what goes on in the next is found as well, and letters in their plain
    form, since those on signs and in names may be of full or half width, or ligatures."""
    return folded(re.sub(f"[\n\0{OPEN}{CLOSE}]", " ", text).replace(SEAM, ""))


def folded(text: str) -> str:
    """`text` with letters in their plain form, as words are kept."""
    return unicodedata.normalize("NFKC", text)
