"""Texts in a form that means the same to Milvus' expressions and analyzers as to SQLite.

Whatever someone types ends up between the quotes of an expression, or in a pattern of LIKE. So that nothing in it can
be syntax there, both what is stored and what is looked for are written in an alphabet without such characters. And
words are taken apart by FTS5's own tokenizer, into plain ASCII words that any analyzer leaves as they are: a filter
then finds the same photos here as in the catalog.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence

_PRIVATE = 0xF0000
_SYNTAX = "".join(map(chr, (*range(32), 127))) + "%_\\\"'{}`"
# Characters that stand for others must not come from elsewhere; nobody writes those of this private plane.
_SAFE = dict.fromkeys(range(_PRIVATE, _PRIVATE + 128), 0xFFFD) | {ord(one): _PRIVATE + ord(one) for one in _SYNTAX}
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
SEPARATOR = "|"
"""Between words that do not stand side by side. No word is that."""


def safe(text: str) -> str:
    """`text` without characters that could be syntax; others stand for them."""
    return text.encode("utf-8", "replace").decode().translate(_SAFE)


def lowered(text: str) -> str:
    """`text` with ASCII letters in lower case, as SQLite's NOCASE and LIKE compare."""
    return text.translate(_LOWER)


def shortened(text: str, most: int) -> str:
    """The beginning of `text` that takes at most `most` bytes."""
    encoded = text.encode("utf-8", "replace")
    return encoded.decode() if len(encoded) <= most else encoded[:most].decode("utf-8", "ignore")


class Tokens:
    """FTS5's tokenizer `unicode61 remove_diacritics 2`, the one of the catalog's words. Safe to use from many
    threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(
            "CREATE VIRTUAL TABLE texts USING fts5 (text, content = '', tokenize = 'unicode61 remove_diacritics 2')"
        )
        self._database.execute("CREATE VIRTUAL TABLE instances USING fts5vocab (texts, instance)")

    def of(self, texts: Sequence[str]) -> list[list[str]]:
        """The words of each text, in their order: lower-case ASCII letters and digits, and for every other character
        its number between two X."""
        found: list[list[str]] = [[] for _ in texts]
        with self._lock:
            self._database.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", enumerate(texts))
            rows = self._database.execute("SELECT doc, term FROM instances ORDER BY doc, offset")
            for place, term in rows:
                found[place].append(_ascii(term))
            self._database.execute("INSERT INTO texts (texts) VALUES ('delete-all')")
        return found


class Folding(dict[int, str]):
    """How FTS5's tokenizer `trigram`, the one of the catalog's parts of words, folds characters: for `str.translate`.
    Asked of FTS5 once for each character."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute("CREATE VIRTUAL TABLE texts USING fts5 (text, content = '', tokenize = 'trigram')")
        self._database.execute("CREATE VIRTUAL TABLE terms USING fts5vocab (texts, row)")

    def __missing__(self, code: int) -> str:
        with self._lock:
            self._database.execute("INSERT INTO texts (text) VALUES (?)", (3 * chr(code),))
            row = self._database.execute("SELECT term FROM terms").fetchone()
            self._database.execute("INSERT INTO texts (texts) VALUES ('delete-all')")
        self[code] = row[0][0] if row else chr(code)
        return self[code]


tokens = Tokens()
folding = Folding()


def folded(text: str) -> str:
    """`text` as parts of words are compared, in the safe alphabet."""
    return safe(text.encode("utf-8", "replace").decode().translate(folding))


def one_word(text: str) -> str:
    """A name, whatever stands in it, as one word for an analyzer; ASCII letters in lower case."""
    return "".join(one if one.isascii() and one.isalnum() else f"X{ord(one):x}X" for one in lowered(text)) or "X"


def running(fields: Iterable[Sequence[str]], most: int) -> str:
    """The words of several fields as one text of at most `most` bytes: each between blanks, so that a phrase can be
    looked for with LIKE, and a separator between the fields."""
    text = f" {f' {SEPARATOR} '.join(' '.join(field) for field in fields if field)} "
    if len(text) <= most:
        return text
    return text[: text.rindex(" ", 0, most) + 1]


def _ascii(term: str) -> str:
    if term.isascii():
        return term
    return "".join(one if one.isascii() else f"X{ord(one):x}X" for one in term)
