"""From a request to an answer, whatever holds the photos: a page put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from search.answer import Answer, Request
from search.candidates import Descriptions
from search.catalog.words import DEPTH
from search.explanation import explained
from search.listings import Listing, Listings
from search.query import Query, conditions
from search.ranking_settings import RankingSettings
from search.retrieval import Found

if TYPE_CHECKING:
    from search.facets import Facets


class Answering:
    """Answers requests, and keeps their listings for further pages. Safe to use from many threads."""

    def __init__(self, ranking: RankingSettings) -> None:
        self._ranking = ranking
        self.listings = Listings()

    def forget(self) -> None:
        """Forget all listings: they are of an index that is not there any more."""
        self.listings.clear()

    def answer(
        self,
        request: Request,
        query: Query,
        identity: tuple[int, ...],
        find: Callable[[], Listing],
        descriptions: Descriptions,
        facets: Callable[[Found], Facets],
    ) -> Answer:
        """The answer to `request`, which was understood as `query`: with the hits that were found when the answer began
        that it is a further page of, if that is still kept, or else with those that `find` finds.

        Args:
            request: what is asked.
            query: as `search.answer.understood` has it.
            identity: names the index that is asked; a listing of another one is not taken.
            find: finds all hits.
            descriptions: describe those of the page.
            facets: tells what all hits have in common.
        """
        began = time.perf_counter()
        token = request.listing
        listing = self.listings.find(request, identity)
        if listing is None:
            listing = find()
            # What lies deeper is seldom asked for, and would take much memory to keep.
            shallow = request.offset + request.limit <= DEPTH
            token = self.listings.keep(request, listing) if shallow else None
        found, model = listing.found, listing.model
        page = slice(request.offset, request.offset + request.limit)
        hits = explained(descriptions, found, page, query, model, self._ranking)
        counted = facets(found) if request.facets else None
        return Answer(
            query=str(query),
            model=model.name,
            total=found.total,
            collapsed=sum(map(len, found.others.values())),
            left_out=found.left_out,
            took_ms=(time.perf_counter() - began) * 1000,
            listing=token,
            hits=hits,
            conditions=conditions(request.text),
            facets=counted,
        )
