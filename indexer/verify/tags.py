"""What tags are measured and asked by: the names that the vocabulary gives them, and what is usual in the library."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from indexer.tag import NAMED, own_concepts, vocabulary_name
from indexer.verify.findings import Finding, Mending, View
from search import vocabulary
from search.catalog import model_records, settings, tags
from search.errors import SightlineError

_MEASURED = (("backgrounds", "maxima"), ("calibrations", "usual"))
_FAR = 1e3  # of what is measured nothing comes near to it


def look(view: View) -> Iterator[Finding]:
    """Names of tags that are not the vocabulary's, and measures that are no numbers."""
    yield from _names(view)
    for table, column in _MEASURED:
        for model, content in view.connection.execute(f"SELECT model_key, {column} FROM {table}").fetchall():
            whole = isinstance(content, bytes) and len(content) % 4 == 0
            values = np.frombuffer(content if whole else b"", "<f4")  # else its length is found among the rows
            if not (np.isfinite(values).all() and (np.abs(values) < _FAR).all()):
                yield Finding(
                    "rows",
                    f"What {table} says of model {model} cannot be.",
                    _forget(table, model),
                    about=f"{table} of {model}",
                )


def _names(view: View) -> Iterator[Finding]:
    connection = view.connection
    model = model_records.active(connection)
    named = settings.get(connection, NAMED)
    if model is None or (named is None and not view.one("SELECT count(*) FROM calibrations")):
        return
    own = own_concepts(connection)
    try:
        name = vocabulary_name(model, own)
        expected = _expected(name, own)
    except (OSError, SightlineError):
        return  # the file of one's own concepts is away, which the next run says
    if named not in (None, name):
        return  # the next run writes those of another vocabulary
    if named is None or tags.kept_names(connection) != expected:
        yield Finding("tags", "The names that tags are asked by are not those of the vocabulary.", _put(name))


@functools.lru_cache(maxsize=1)
def _expected(name: str, own: Path | None) -> frozenset[tuple[str, str]]:
    """The names of the vocabulary `name`, whose content that is made of."""
    return frozenset(tags.names(vocabulary.concepts(own)))


def _put(name: str) -> Callable[[Mending], None]:
    def mend(mending: Mending) -> None:
        concepts = vocabulary.concepts(own_concepts(mending.connection))
        with mending.transaction():
            tags.put_names(mending.connection, concepts)
            settings.put(mending.connection, NAMED, name)
            settings.grow_revision(mending.connection)

    return mend


def _forget(table: str, model: int) -> Callable[[Mending], None]:
    def mend(mending: Mending) -> None:
        with mending.transaction():
            mending.connection.execute(f"DELETE FROM {table} WHERE model_key = ?", (model,))
            settings.grow_revision(mending.connection)

    return mend
