"""Hits for a page: what is known of each photo, and what brought it there."""

from __future__ import annotations

import numpy as np

from search.answer import Hit, Why
from search.candidates import Descriptions
from search.catalog.model_records import ModelRecord
from search.query import Query
from search.ranking import RankedList, fuse
from search.ranking_settings import RankingSettings
from search.retrieval import Found
from search.vectors.protocol import Keys

_BY_WORDS = ("literal", "some words", "all words")
"""Lists by words; the last one that has a photo gives its score."""


def explained(
    descriptions: Descriptions,
    found: Found,
    page: slice,
    query: Query,
    model: ModelRecord,
    ranking: RankingSettings,
) -> tuple[Hit, ...]:
    """The hits of one page. Photos that were removed since they were found are left out; the next of its moment then
    stands for one that led others."""
    places = range(len(found.keys))[page]
    leaders = found.keys[page].tolist()
    moments = {place: [key, *found.others.get(key, ())] for place, key in zip(places, leaders, strict=True)}
    ids = descriptions.ids([key for moment in moments.values() for key in moment])
    moments = {place: [key for key in moment if key in ids] for place, moment in moments.items()}
    keys = [moment[0] for moment in moments.values() if moment]
    photos = descriptions.photos(keys)
    vectors = [(one, _places(one.keys, keys)) for one in found.lists if one.kind not in _BY_WORDS]
    by_words = [one for kind in _BY_WORDS for one in found.lists if one.kind == kind]
    word_places = _places(fuse(by_words, ranking)[0], keys)
    bm25 = {key: float(one.scores[place]) for one in by_words for key, place in _places(one.keys, keys).items()}
    snippets = descriptions.marked(query.words, query.exact, list(word_places))
    hits = []
    for place, (key, *others) in ((place, moment) for place, moment in moments.items() if moment):
        photo = photos[key]
        why = [_near(one, near[key], found.candidates, model) for one, near in vectors if key in near]
        if key in word_places:
            why += [
                Why("words", word_places[key] + 1, bm25=bm25[key], field=field, snippet=text)
                for field, text in snippets.get(key, ())
            ]
        hits.append(
            Hit(
                photo.id,
                photo.path,
                None if found.scores is None else float(found.scores[place]),
                bool(found.relevant[place]),
                tuple(why),
                photo.caption,
                photo.taken_at,
                photo.width,
                photo.height,
                tuple(ids[other] for other in others),
                photo.preview,
                photo.offline,
            )
        )
    return tuple(hits)


def _near(one: RankedList, place: int, candidates: int, model: ModelRecord) -> Why:
    similarity = float(one.similarities[place])
    return Why(
        one.kind,
        place + 1,
        similarity=similarity,
        percentile=100.0 * (candidates - 1 - place) / max(1, candidates - 1),
        probability=model.probability(similarity) if one.kind == "meaning" else None,
    )


def _places(ranked: Keys, keys: list[int]) -> dict[int, int]:
    """Where among `ranked` each of the photos stands, for those that do."""
    found = np.flatnonzero(np.isin(ranked, keys))
    return dict(zip(ranked[found].tolist(), found.tolist(), strict=True))
