"""Values of the catalog that cannot be, and what takes their place."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from indexer.verify.facts import reread
from indexer.verify.findings import Finding, Mending, View, several
from search.catalog import changelog, dismissals, settings, soundness
from search.catalog.clock import now
from search.catalog.descriptions import CAPTIONS, TAGS, TEXT
from search.catalog.soundness import Unsound

_FACTS = frozenset(
    {
        "id", "width", "height", "format", "bytes", "taken_at", "sort_at", "camera", "lens", "latitude", "longitude",
        "flatness", "preview", "perceptual_hash",
    }
)  # fmt: skip
"""Columns of `photos` that a file of the photo says."""
_DESCRIBED = {"captions": CAPTIONS, "tags": TAGS, "texts": TEXT}
"""Tables that a stage of describing fills, which goes over a photo again where nothing says that it has seen it."""
_INSTEAD = {
    ("libraries", "path"): "CAST(path AS BLOB)",
    ("photos", "sort_at"): "coalesce(substr(taken_at, 1, 19), substr(added_at, 1, 19))",
    ("files", "failure"): "'it could not be read'",
    ("files", "size"): "0",
    ("files", "mtime_ns"): "-1",  # which the next run reads
    ("captions", "author"): "'unknown'",
    ("captions", "text"): "CAST(as_text(CAST(text AS BLOB)) AS TEXT)",
    ("models", "dimensions"): "coalesce((SELECT length(vector) / 2 FROM embeddings WHERE model_key = models.key"
    " GROUP BY length(vector) ORDER BY count(*) DESC LIMIT 1), dimensions)",
    ("searches", "name"): "as_text(CAST(name AS BLOB))",
    ("searches", "q"): "as_text(CAST(q AS BLOB))",
    ("searches", "mode"): "'auto'",
    ("searches", "sort"): "'relevance'",
    ("searches", "include_all"): "0",
    ("searches", "collapse"): "0",
    ("searches", "liked"): "''",
}
"""In SQL, what takes the place of a value: rows that a person has made are never deleted for one of their values."""
_MOMENTS = ("added_at", "orphaned_at", "written_at", "saved_at", "published_at", "started_at")
_NEEDS_A_MODEL = ("logit_scale", "logit_bias")


def look(view: View) -> Iterator[Finding]:
    """Values that cannot be."""
    view.progress.stage("rows", None)
    tables = soundness.own_tables(view.connection)
    view.checked["rows"] = sum(view.one(f'SELECT count(*) FROM "{table}"') for table in tables)
    facts: list[Unsound] = []
    for one in soundness.unsound(view.connection, tables):
        if one.table == "photos" and one.column in _FACTS:
            facts.append(one)
        else:
            yield Finding("rows", _sentence(one), _mender(one), about=f"{one.table}.{one.column}")
    if facts:
        yield _photos(view, facts)


def _photos(view: View, facts: list[Unsound]) -> Finding:
    """All that is wrong with what is known of photos, which is read from their files again at one time."""
    keys = {row[0] for one in facts for row in view.connection.execute(f"SELECT key FROM photos WHERE {one.where}")}
    columns = ", ".join(one.column for one in facts)
    what = f"What is known of {several(len(keys), 'photo')} cannot be ({columns}): {view.names(sorted(keys))}."

    def mend(mending: Mending) -> None:
        reread(mending, keys)
        # What no file could tell, since none is at hand.
        with mending.transaction():
            for one in soundness.unsound(mending.connection, frozenset({"photos"})):
                _replace(mending.connection, one)

    return Finding("photos", what, mend, about="values")


def _sentence(one: Unsound) -> str:
    return f"The catalog has {several(one.rows, 'value')} that cannot be, in {one.table}.{one.column}."


def _mender(one: Unsound) -> Callable[[Mending], None]:
    def mend(mending: Mending) -> None:
        with mending.transaction():
            if one.table in _DESCRIBED and (one.table, one.column) not in _INSTEAD and one.column != "written_at":
                mending.connection.execute(
                    "DELETE FROM descriptions WHERE stage = ? AND photo_key IN"
                    f' (SELECT photo_key FROM "{one.table}" WHERE {one.where})',
                    (_DESCRIBED[one.table],),
                )
            elif (one.table, one.column) == ("photos", "kind"):
                mending.connection.execute(
                    "DELETE FROM descriptions WHERE stage = ? AND photo_key IN"
                    f" (SELECT key FROM photos WHERE {one.where})",
                    (TAGS,),
                )
            _replace(mending.connection, one)
            if one.table == "settings":
                settings.put_missing(mending.connection)

    def load(mending: Mending) -> None:
        from indexer.verify.models import measure_again

        measure_again(mending, one)

    return load if one.table == "models" and one.column in _NEEDS_A_MODEL else mend


def _put_in_order(connection: sqlite3.Connection, wrong: str) -> None:
    """Of a pair of photos the one with the lower number comes first; a photo and itself are none."""
    pairs = connection.execute(f"SELECT photo_key, other_key FROM dismissals WHERE {wrong}").fetchall()
    connection.execute(f"DELETE FROM dismissals WHERE {wrong}")
    for pair in pairs:
        if all(isinstance(key, int) for key in pair):
            dismissals.put(connection, pair)


def _replace(connection: sqlite3.Connection, one: Unsound) -> None:
    """Put something that can be in the place of values; where nothing can, delete the rows: they are made again."""
    connection.create_function("as_text", 1, lambda value: (value or b"").decode("utf-8", "replace"))
    nullable = {row[1] for row in connection.execute(f'PRAGMA table_info("{one.table}")') if not row[3] and not row[5]}
    instead = _INSTEAD.get((one.table, one.column))
    if (one.table, one.column) == ("dismissals", "photo_key"):
        _put_in_order(connection, one.where)
    elif instead is not None:
        connection.execute(f'UPDATE OR IGNORE "{one.table}" SET {one.column} = {instead} WHERE {one.where}')
        if (one.table, one.column) == ("captions", "author"):
            # A photo has one caption of each author, and this one several that cannot be read.
            numbered = "'unknown ' || hex(CAST(author AS BLOB))"
            connection.execute(f"UPDATE OR IGNORE captions SET author = {numbered} WHERE {one.where}")
    elif one.column in _MOMENTS:
        connection.execute(f'UPDATE "{one.table}" SET {one.column} = ? WHERE {one.where}', (now(),))
    elif one.column in nullable:
        connection.execute(f'UPDATE "{one.table}" SET {one.column} = NULL WHERE {one.where}')
    elif one.table not in ("photos", "libraries", "searches", "models"):
        connection.execute(f'DELETE FROM "{one.table}" WHERE {one.where}')
    if one.table == "changelog":
        changelog.start_anew(connection)
