"""Postings of phrases, and how long photos' words are, read from FTS5 tables into arrays.

FTS5 computes BM25 for one photo after another; a frequent word has hundreds of thousands. What BM25 is made of, how
often a phrase stands in which field and how many words a photo has, takes a few bytes for each, and arrays are quick to
compute with. Lists come as one text each, which SQLite puts together: a row for each of their numbers would take Python
several times as long. https://sqlite.org/fts5.html describes `fts5vocab`, the table `docsize` and `bm25`.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from search.vectors.protocol import Doubles, Keys


class UnfitError(Exception):
    """Something is too much to be held in memory, or not as Sightline writes it: the catalog itself is to be asked."""


Numbers = npt.NDArray[np.int32]
Coded = Callable[[str, str], Keys]

_CHUNK = 1 << 17  # photos
_HIGHEST, _LEAST_HEIGHT, _SCATTERED = 1 << 28, 1 << 24, 16
"""Keys that arrays are made for: below the first number and, beyond the second, at most so many for each photo."""
_MOST_INSTANCES = 20_000_000
"""Of the tokens of a phrase, in all photos: each takes some 50 bytes while they are read."""
_OFFSET_BITS = 32
_K1, _B = 1.2, 0.75
_LEAST_WEIGHT = 1e-6
"""FTS5's own constants."""


@dataclass(frozen=True)
class Table:
    """An FTS5 table over photos.

    Attributes:
        name: of the table; the photo's key is its rowid.
        weights: by field, what one word in it counts in BM25, a whole number.
        among: groups of fields that are asked for as one; the first group is all of them.
        tokenizer: as it was created with.
    """

    name: str
    weights: dict[str, int]
    among: tuple[frozenset[str], ...]
    tokenizer: str

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields in their order."""
        return tuple(self.weights)


class Postings(NamedTuple):
    """The photos in which a phrase stands.

    Attributes:
        keys: int32[n], sorted.
        frequencies: uint16[g, n], or uint32 where that is too little: for each group of fields of the table how often,
            each time counted as the weight of its field.
    """

    keys: Numbers
    frequencies: npt.NDArray[np.unsignedinteger[Any]]

    def within(self, group: int) -> tuple[Numbers, Doubles]:
        """Those in which it stands in fields of the group: their keys, and how often it does, float64."""
        if not group:
            return self.keys, self.frequencies[0].astype(np.float64)
        here = self.frequencies[group] > 0
        return self.keys[here], self.frequencies[group][here].astype(np.float64)


def check_keys(lowest: int, highest: int, count: int) -> None:
    """Raises UnfitError where the keys of so many photos are such as to make arrays by key far larger than these."""
    if lowest < 0 or highest >= _HIGHEST or highest > max(_LEAST_HEIGHT, _SCATTERED * count):
        raise UnfitError(f"the keys of {count} photos lie between {lowest} and {highest}")


def numbers(text: str | None) -> Keys:
    """What SQLite's `group_concat` has put together of whole numbers: int64[n]."""
    return np.fromstring(text, np.int64, sep=",") if text else np.empty(0, np.int64)


def read(connection: sqlite3.Connection, table: Table, tokens: Sequence[str]) -> Postings:
    """The postings of a phrase of these tokens, in the state that the connection sees.

    Raises:
        UnfitError: the tokens are too frequent.
    """
    with _instances(connection, table) as coded:
        codes = coded("doc * 8 + {field}", tokens[0]) if len(tokens) == 1 else _side_by_side(coded, tokens)
    codes.sort(kind="stable")  # they are, as far as can be seen, but nothing promises it
    photos, fields = codes >> 3, codes & 7
    first = np.flatnonzero(np.diff(photos, prepend=-1))
    frequencies = np.zeros((len(table.among), len(first)), np.uint32)
    for group, some in enumerate(table.among):
        counted = np.asarray([weight if field in some else 0 for field, weight in table.weights.items()], np.uint32)
        frequencies[group] = np.add.reduceat(counted[fields], first) if len(first) else 0
    smallest = np.uint16 if frequencies.max(initial=0) < 1 << 16 else np.uint32
    return Postings(photos[first].astype(np.int32), frequencies.astype(smallest))


def _side_by_side(coded: Coded, tokens: Sequence[str]) -> Keys:
    """Where all tokens stand, each right behind the one before it: a code for each place."""
    found = {token: coded(f"(doc * 8 + {{field}}) << {_OFFSET_BITS} | offset", token) for token in set(tokens)}
    places = found[tokens[0]] if tokens else np.empty(0, np.int64)
    for further, token in enumerate(tokens[1:], start=1):
        # An offset below 0 becomes one of the field before, which is too long for any.
        places = np.intersect1d(places, found[token] - further, assume_unique=True)
    return places >> _OFFSET_BITS


@contextmanager
def _instances(connection: sqlite3.Connection, table: Table) -> Iterator[Coded]:
    """What gives a code for each place where a token stands: SQL in which `{field}` is the field's number."""
    name, counts = f"temp.instances_of_{table.name}", f"temp.counts_of_{table.name}"
    field = f"CASE col {' '.join(f'WHEN {one!r} THEN {number}' for number, one in enumerate(table.fields))} END"

    def coded(code: str, token: str) -> Keys:
        (count,) = connection.execute(f"SELECT coalesce(sum(cnt), 0) FROM {counts} WHERE term = ?", (token,)).fetchone()
        if count > _MOST_INSTANCES:
            raise UnfitError(f"a word stands in {count} places")
        sql = f"SELECT group_concat({code.format(field=field)}) FROM {name} WHERE term = ?"
        return numbers(connection.execute(sql, (token,)).fetchone()[0])

    connection.execute(f"CREATE VIRTUAL TABLE {name} USING fts5vocab(main, {table.name}, instance)")
    connection.execute(f"CREATE VIRTUAL TABLE {counts} USING fts5vocab(main, {table.name}, row)")
    try:
        yield coded
    finally:
        connection.execute(f"DROP TABLE {counts}")
        connection.execute(f"DROP TABLE {name}")


def lengths(connection: sqlite3.Connection, table: Table) -> Numbers:
    """How many tokens each photo has, by its key: int32[h]; -1 for what is not in the table.

    Raises:
        UnfitError: see `check_keys`.
    """
    lowest, highest, rows = connection.execute(
        f"SELECT coalesce(min(id), 0), coalesce(max(id), -1), count(*) FROM {table.name}_docsize"
    ).fetchone()
    check_keys(lowest, highest, rows)
    found = np.full(highest + 1, -1, np.int32)
    count = len(table.weights)
    for start in range(0, highest + 1, _CHUNK):
        where = f"FROM {table.name}_docsize WHERE id BETWEEN ? AND ? AND length(sz)"
        bounds = (start, start + _CHUNK - 1)
        # A number below 128 is one byte.
        keys, sizes = connection.execute(
            f"SELECT group_concat(id), group_concat(hex(sz), '') {where} = {count}", bounds
        ).fetchone()
        if keys:
            found[numbers(keys)] = np.frombuffer(bytes.fromhex(sizes), np.uint8).reshape(-1, count).sum(axis=1)
        for key, size in connection.execute(f"SELECT id, sz {where} <> {count}", bounds):
            found[key] = sum(_varints(size))
    return found


def _varints(content: bytes) -> Iterator[int]:
    """SQLite's numbers of variable length: seven bits a byte, the highest first; the eighth says that it goes on."""
    value = 0
    for byte in content:
        value = value << 7 | byte & 127
        if byte < 128:
            yield value
            value = 0


@dataclass(frozen=True)
class Okapi:
    """Okapi BM25 over a table, to the bit as FTS5 computes it.

    Attributes:
        photos: how many are in the table.
        norms: float64[h], by key: how often a word must stand in a photo to count half of what it can.
    """

    photos: int
    norms: Doubles

    @classmethod
    def of(cls, lengths: Numbers) -> Okapi:
        """That of photos with so many tokens, by key."""
        there = lengths >= 0
        photos = int(there.sum())
        mean = float(lengths[there].sum(dtype=np.int64)) / photos if photos else 0.0
        norms: Doubles = _K1 * (1 - _B + _B * lengths.astype(np.float64) / (mean or 1.0))
        return cls(photos, norms)

    def scores(self, keys: Numbers, frequencies: Doubles) -> Doubles:
        """What a phrase adds to the scores of the photos in which it stands, float64[n]; the higher the better."""
        weight = math.log((self.photos - len(keys) + 0.5) / (len(keys) + 0.5)) if len(keys) <= self.photos else 0.0
        found: Doubles = (frequencies * (_K1 + 1.0)) / (frequencies + self.norms[keys])
        found *= weight if weight > 0 else _LEAST_WEIGHT
        return found
