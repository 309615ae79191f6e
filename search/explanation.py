"""Hits for a page: what is known of each photo, and what brought it there."""

from __future__ import annotations

import sqlite3

from search.answer import Hit, Why
from search.catalog import words
from search.catalog.photo import photos_by_key
from search.query import Query
from search.questions import Questions
from search.ranking import RankedList
from search.retrieval import Found


def explained(
    connection: sqlite3.Connection, found: Found, page: slice, query: Query, questions: Questions
) -> tuple[Hit, ...]:
    """The hits of one page. Photos that were removed since the snapshot was taken are left out."""
    keys = found.keys[page]
    photos = photos_by_key(connection, keys)
    vectors = [(one, _places(one, keys)) for one in found.lists if one.similarities]
    by_words = [one for one in found.lists if not one.similarities]
    word_places = [_places(one, keys) for one in by_words]
    snippets = words.marked(connection, query.words + query.exact, keys) if by_words else {}
    hits = []
    for key, score in zip(keys, found.scores[page], strict=True):
        if (photo := photos.get(key)) is None:
            continue
        why = [_near(one, places[key], found.candidates, questions) for one, places in vectors if key in places]
        rank = min((places[key] + 1 for places in word_places if key in places), default=0)
        if rank:
            why += [Why("words", rank, field=field, snippet=text) for field, text in snippets.get(key, ())]
        relevant = found.relevant is None or key in found.relevant
        hits.append(
            Hit(
                photo.id,
                photo.path,
                score,
                relevant,
                tuple(why),
                photo.caption,
                photo.taken_at,
                photo.width,
                photo.height,
            )
        )
    return tuple(hits)


def _near(one: RankedList, place: int, candidates: int, questions: Questions) -> Why:
    similarity = one.similarities[place]
    return Why(
        one.kind,
        place + 1,
        similarity=similarity,
        percentile=100.0 * (candidates - 1 - place) / max(1, candidates - 1),
        probability=questions.probability(similarity) if one.kind == "meaning" else None,
    )


def _places(one: RankedList, keys: list[int]) -> dict[int, int]:
    """Where in the list each of the photos stands, for those that do."""
    wanted = set(keys)
    return {key: place for place, key in enumerate(one.keys) if key in wanted}
