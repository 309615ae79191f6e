"""The engine of a node: it keeps nothing, and answers from a collection in Milvus alone."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from search.answer import Answer, Request, understood
from search.answering import Answering
from search.catalog.descriptions import TextLine
from search.catalog.photo import Photo
from search.catalog.saved_searches import SavedSearch
from search.duplicates import Duplicates, Kind
from search.errors import MilvusError, NoCollectionError, NotHereError, QueryError, UnreachableError
from search.facets import Facets
from search.listings import Listing
from search.milvus import facts as all_facts
from search.milvus.address import Address
from search.milvus.candidates import READ, CollectionCandidates, one
from search.milvus.client import MOST, Server
from search.milvus.entities import DESCRIBING, Described, described
from search.milvus.facts import Facts
from search.milvus.pages import CollectionDescriptions
from search.moments import COLLAPSED
from search.overview import Overview
from search.query import Query
from search.questioners import Questioners
from search.questions import texts_of
from search.ranking_settings import RankingSettings
from search.retrieval import Found, Retrieval
from search.similarity_map import SimilarityMap, similarity_map
from search.suggestions import Suggestions, suggestions

if TYPE_CHECKING:
    from PIL.Image import Image

Result = TypeVar("Result")

DEEPEST = MOST - COLLAPSED
"""Where the last page of ranked hits ends: a server gives no more of them."""
_FRESH_SECONDS = 1.0
"""How long a node relies on what it was told of the collection: so soon it sees that another one takes its place."""


class CollectionEngine:
    """Answers as `search.engine.Engine` does. Safe to use from many threads; any number of nodes may run side by side.

    >>> with CollectionEngine.open(Address("http://127.0.0.1:19530")) as engine:        # doctest: +SKIP
    ...     answer = engine.search(Request("a dog running on the beach"))
    """

    def __init__(self, server: Server, *, device: str, ranking: RankingSettings) -> None:
        """Use `open`."""
        self._server = server
        self._ranking = ranking
        self._answering = Answering(ranking)
        self._questioners = Questioners(device)
        self._looking = threading.Lock()
        self._facts: Facts | None = None
        self._looked_at = 0.0

    @classmethod
    def open(
        cls, address: Address, *, device: str = "auto", ranking: RankingSettings | None = None
    ) -> CollectionEngine:
        """The engine of the collection that `address` names.

        Raises:
            UnreachableError: Milvus does not answer.
            MilvusError: it refuses, or there is no such collection yet.
            SettingsError: an environment variable has a value that cannot be.
        """
        ranking = ranking or RankingSettings.read()
        engine = cls(Server.connect(address), device=device, ranking=ranking)
        try:
            engine._now()
        except BaseException:
            engine.close()
            raise
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of Milvus; the engine must not be used again."""
        self._server.close()

    def warm(self) -> None:
        """Load the model now, so that the first search does not wait for it."""
        self._questioners.of(self._now().model).prepare()

    def photo(self, photo_id: str) -> Photo | None:
        """The photo with this id, or None where the collection has none."""
        found = self._described(photo_id)
        return found.photo if found else None

    def text_lines(self, photo: Photo) -> list[TextLine]:
        """The text that was read in a photo, in reading order."""
        found = self._described(photo.id)
        return found.text if found else []

    def tags(self, photo: Photo) -> list[tuple[str, float]]:
        """The tags of a photo with their scores, 0 to 1, best first."""
        found = self._described(photo.id)
        return found.tags if found else []

    def saved_searches(self) -> list[SavedSearch]:
        """None: a node keeps nothing."""
        return []

    def status(self) -> dict[str, Any]:
        """What the collection holds: as `Engine.status`, with the address in the place of the home."""
        facts = self._now()
        exact = facts.kind == "flat"
        return {
            "home": str(self._server.address),
            "photos": facts.photos,
            **facts.status,
            "model": facts.model.name,
            "fingerprint": facts.model.fingerprint,
            "dimensions": facts.model.dimensions,
            "generation": None,
            "vectors": {
                "photos": facts.photos,
                "exact": exact,
                "compared": facts.photos if exact else 0,
                "recall": None,
            },
            "revision": facts.revision,
            "embedded": facts.photos,
            "jobs": [],
        }

    def search(self, request: Request) -> Answer:
        """See `Engine.search`; the words, the ranking and the judgement of what is relevant are the same.

        Raises:
            QueryError: it cannot be answered as asked, or lies deeper than a server gives hits.
            UnknownPhotoError: `like` names no photo of the collection.
            ModelError: the collection's model cannot be loaded here.
            UnreachableError, MilvusError: Milvus does not answer, or refuses.
        """
        query = understood(request)
        ranked = bool(query.text or request.images or request.like)
        if ranked and request.offset + request.limit > DEEPEST:
            raise QueryError(f"Hits from Milvus end after {DEEPEST:,}; narrow the search with words or filters.")

        def answered(facts: Facts) -> Answer:
            descriptions = CollectionDescriptions(facts, self._server)
            return self._answering.answer(
                request,
                query,
                _identity(facts),
                lambda: self._found(request, query, facts),
                descriptions,
                lambda found: _facets(request, query, facts, descriptions, found),
            )

        return self._asked(answered)

    def embed_ahead(self, requests: Sequence[Request]) -> None:
        """See `Engine.embed_ahead`."""
        if texts := texts_of(requests):
            self._questioners.of(self._now().model).of_texts(texts)

    def suggest(self, text: str, limit: int) -> Suggestions:
        """See `Engine.suggest`: the names of filters, without values, which would have to be counted.

        Raises:
            QueryError: the text is too long for a query.
        """
        return suggestions(Overview.empty(), text, limit)

    def duplicates(self, limit: int = 50, offset: int = 0, kind: Kind | None = None) -> Duplicates:
        """A node does not look for duplicates.

        Raises:
            NotHereError: always.
        """
        raise NotHereError

    def where(self, photo_id: str, image: Image, text: str) -> SimilarityMap:
        """See `Engine.where`."""

        def mapped(facts: Facts) -> SimilarityMap:
            row = one(self._server, facts.collection, photo_id, ["key", "vector"])
            whole = None if row is None else np.asarray(row["vector"], np.float32)
            return similarity_map(self._questioners.of(facts.model), photo_id, whole, image, text)

        return self._asked(mapped)

    def _found(self, request: Request, query: Query, facts: Facts) -> Listing:
        candidates = CollectionCandidates(query, facts, self._server)
        found = Retrieval(request, query, candidates, self._questioners.of(facts.model), self._ranking).find()
        return Listing(_identity(facts), facts.model, found)

    def _described(self, photo_id: str) -> Described | None:
        def read(facts: Facts) -> Described | None:
            row = one(self._server, facts.collection, photo_id, list(DESCRIBING))
            return described(row) if row else None

        return self._asked(read)

    def _asked(self, ask: Callable[[Facts], Result]) -> Result:
        """What `ask` says of the collection; asked again where another one has taken its place meanwhile."""
        facts = self._now()
        try:
            return ask(facts)
        except UnreachableError:
            raise
        except MilvusError:
            now = self._now(anew=True)
            if now.collection == facts.collection:
                raise
            return ask(now)

    def _now(self, *, anew: bool = False) -> Facts:
        """The facts of the collection that the name stands for at this moment, or did a moment ago; while a thread
        looks, the others go on with what was."""
        known = self._facts
        if known is not None and not anew and time.monotonic() - self._looked_at < _FRESH_SECONDS:
            return known
        if not self._looking.acquire(blocking=known is None or anew):
            assert known is not None
            return known
        try:
            collection = all_facts.named(self._server)
            facts = all_facts.read(self._server, collection, READ) if collection else None
            if facts is None:
                raise NoCollectionError(
                    f"There is no index at {self._server.address} yet, or not one of this version; where the photos "
                    f"are, run `sightline index PATH --vectors {self._server.address}`."
                )
            self._looked_at = time.monotonic()
            # While another model is being loaded, the collection of the one before goes on, which is kept for a while.
            if anew or known is None or self._questioners.shown(facts.model) == facts.model:
                self._facts = facts
            assert self._facts is not None
            return self._facts
        finally:
            self._looking.release()


def _identity(facts: Facts) -> tuple[int, ...]:
    """Names a collection, for listings: photos have the same keys for as long as it is there."""
    digest = hashlib.blake2b(facts.collection.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big"),)


def _facets(request: Request, query: Query, facts: Facts, descriptions: CollectionDescriptions, found: Found) -> Facets:
    if facts.facets is not None and query == Query() and not (request.images or request.like or request.apart_from):
        return Facets.from_json(facts.facets)
    others = [np.asarray(moment, np.int64) for moment in found.others.values()]
    return descriptions.facets(np.concatenate([found.keys, *others]))
