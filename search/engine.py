"""The engine: a request in, an answer out, on whatever state is committed at that moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from search.answer import Answer, Request, understood
from search.answering import Answering
from search.catalog.connection import Reader, connect_to_read, one_state
from search.catalog.descriptions import TextLine, text_lines
from search.catalog.photo import Photo, photo_by_id
from search.catalog.saved_searches import SavedSearch, saved_searches
from search.catalog.tags import tags_of
from search.catalog_candidates import CatalogCandidates, CatalogDescriptions
from search.column_filters import ColumnFilters
from search.duplicates import DuplicateGroups, Duplicates, Kind
from search.errors import MilvusError, SightlineError
from search.facets import Facets, facets
from search.home import Home
from search.listings import Listing
from search.overviews import Overviews
from search.query import Query
from search.questioners import Questioners
from search.questions import Questions, texts_of
from search.ranking_settings import RankingSettings
from search.retrieval import Found, Retrieval
from search.similarity_map import SimilarityMap, similarity_map
from search.status import status
from search.suggestions import Suggestions, suggestions
from search.vectors import generations, stored
from search.vectors.snapshot import Snapshot, take
from search.word_lists import WordLists

if TYPE_CHECKING:
    from PIL.Image import Image

Result = TypeVar("Result")


class Engine:
    """Answers searches over one home. Safe to use from many threads; follows new commits and generations by itself.

    >>> with Engine.open(Home.default()) as engine:        # doctest: +SKIP
    ...     answer = engine.search(Request("a dog running on the beach"))
    """

    def __init__(
        self,
        home: Home,
        *,
        device: str = "auto",
        ranking: RankingSettings | None = None,
        questions: Questions | None = None,
    ) -> None:
        """Use `open`, which checks that there is an index."""
        self.home = home
        self._ranking = ranking or RankingSettings.read()
        self._local = threading.local()
        self._connections: dict[threading.Thread, Reader] = {}
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._shown: tuple[int, ...] = ()  # the file of the catalog that it shows
        self._questioners = Questioners(device, questions)
        self._words = WordLists()
        self._filters = ColumnFilters()
        self._answering = Answering(self._ranking)
        self._overviews = Overviews(home, lambda connection: self._filters.at(connection, "now"))
        self._duplicates = DuplicateGroups()

    @classmethod
    def open(
        cls,
        home: Home,
        *,
        device: str = "auto",
        ranking: RankingSettings | None = None,
        questions: Questions | None = None,
    ) -> Engine:
        """The engine of `home`, which ranks by `ranking`, or else as the environment says. It asks with the model of
        `questions` if that is the index's, and loads it itself otherwise.

        Raises:
            CatalogError: there is no index in it, or it cannot be read; the sentence says what to do.
            SettingsError: an environment variable has a value that cannot be.
        """
        engine = cls(home, device=device, ranking=ranking, questions=questions)
        engine._connection()
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; the engine must not be used again."""
        with self._lock:
            for connection in self._connections.values():
                connection.close()
            self._connections.clear()

    def warm(self) -> None:
        """Load the vectors and the model now, and what filters and words are answered from, so that the first searches
        do not wait for them."""
        import faiss  # noqa: F401  few vectors go without, which is slower in the long run

        connection = self._current_connection()
        self._questioner(self._now(connection)).prepare()
        with one_state(connection):
            self._filters.at(connection, "now")
            self._words.at(connection, parts=False, when="now")

    def photo(self, photo_id: str) -> Photo | None:
        """The photo with this id, or None where no file holds it any more."""
        return photo_by_id(self._current_connection(), photo_id)

    def text_lines(self, photo: Photo) -> list[TextLine]:
        """The text that was read in a photo, in reading order."""
        return text_lines(self._current_connection(), photo.key)

    def tags(self, photo: Photo) -> list[tuple[str, float]]:
        """The tags of a photo with their scores, 0 to 1, best first."""
        return tags_of(self._current_connection(), photo.key)

    def saved_searches(self) -> list[SavedSearch]:
        """The searches that somebody keeps, the newest first."""
        return saved_searches(self._current_connection())

    def status(self) -> dict[str, Any]:
        """What the index holds and what was done to it: the contract of `sightline status --json`."""
        return status(self.home, self._current_connection())

    def search(self, request: Request) -> Answer:
        """Answer one request, from one commit; or, where it names a `listing` that is still kept, with the hits that
        were found then.

        Raises:
            QueryError: it cannot be answered as asked (an impossible date, an unknown mode).
            UnknownPhotoError: `like` names no photo of this index.
            ModelError: the index's model cannot be loaded here.
        """
        query = understood(request)
        connection = self._current_connection()
        with one_state(connection):
            return self._answering.answer(
                request,
                query,
                connection.file,
                lambda: self._found(request, query, connection),
                CatalogDescriptions(connection),
                lambda found: self._facets(connection, found, query),
            )

    def embed_ahead(self, requests: Sequence[Request]) -> None:
        """Embed the texts of requests that are about to be searched for: at once they take much less than one by one.

        Raises:
            SightlineError: the index holds no photo yet, or its model cannot be loaded here.
        """
        if texts := texts_of(requests):
            self._questioner(self._now(self._current_connection())).of_texts(texts)

    def suggest(self, text: str, limit: int) -> Suggestions:
        """What the last word of a query's text, which ends where the caret stands, could become.

        Raises:
            QueryError: the text is too long for a query.
        """
        return suggestions(self._overviews.now(), text, limit)

    def duplicates(self, limit: int = 50, offset: int = 0, kind: Kind | None = None) -> Duplicates:
        """Photos of which there are several copies, in groups (of one `kind`), those with the most to reclaim first.

        Raises:
            SightlineError: the index holds no photo yet.
        """
        connection = self._current_connection()
        with one_state(connection):
            return self._answered(
                lambda: self._duplicates.page(connection, lambda: self._now(connection), limit, offset, kind)
            )

    def where(self, photo_id: str, image: Image, text: str) -> SimilarityMap:
        """Where in a photo the words of a query are.

        Args:
            photo_id: a photo of the index.
            image: its picture, upright RGB, of any size.
            text: a query; its filters and what it excludes are passed over.

        Raises:
            QueryError: the query has no words to look for.
            UnknownPhotoError: the index has no embedding of this photo.
            ModelError: the index's model cannot be loaded here.
        """
        connection = self._current_connection()
        snapshot = self._now(connection)
        photo = photo_by_id(connection, photo_id)
        model = snapshot.model
        whole = stored.of_photo(connection, model.key, photo.key, model.dimensions) if photo else None
        return similarity_map(self._questioner(snapshot), photo_id, whole, image, text)

    def _found(self, request: Request, query: Query, connection: Reader) -> Listing:
        def found() -> Listing:
            snapshot = self._now(connection)
            questions = self._questioner(snapshot)
            candidates = CatalogCandidates(query, snapshot, connection, self._words, self._filters)
            retrieval = Retrieval(request, query, candidates, questions, self._ranking)
            return Listing(connection.file, snapshot.model, retrieval.find())

        return self._answered(found)

    def _answered(self, ask: Callable[[], Result]) -> Result:
        """What `ask` says; asked again with the vectors opened anew where they are in Milvus, which has stopped to
        answer: then they come from the catalog, unless they are too many for memory."""
        try:
            return ask()
        except MilvusError:
            with self._lock:
                shown = self._snapshot
                if shown is None or len(shown.base) > generations.EXACT_UP_TO:
                    raise
                if shown.generation is not None:
                    self._snapshot = None  # opened anew it is built here, or Milvus is back
        return ask()

    def _facets(self, connection: Reader, found: Found, query: Query) -> Facets:
        # Of a list that goes on below what is kept of it, every photo that passes the filters is a hit.
        others = [np.asarray(moment, np.int64) for moment in found.others.values()]
        keys = (
            np.concatenate([found.keys, *others])
            if found.holds(found.total)
            else self._filters.allowed(connection, query)
        )
        return facets(self._overviews.now(), keys)

    def _now(self, connection: Reader) -> Snapshot:
        with self._lock:
            # A thread that began earlier may still read a catalog whose place another has taken.
            before = self._snapshot if self._shown == connection.file else None
            if self._questioners.next_is_ready:
                before = None  # the model that was waited for may answer
            self._snapshot = take(self.home, connection, before, self._questioners.shown, self._filters.live)
            self._shown = connection.file
            if self._snapshot is None:
                raise SightlineError(
                    f"The index in {self.home.path} holds no photo yet; run `sightline index PATH` on a folder."
                )
            return self._snapshot

    def _questioner(self, snapshot: Snapshot) -> Questions:
        return self._questioners.of(snapshot.model)

    def _current_connection(self) -> Reader:
        """This thread's connection, opened anew if the catalog is another file by now: for the start of an answer."""
        connection: Reader | None = getattr(self._local, "connection", None)
        if connection is not None and not connection.is_current(self.home):
            with self._lock:
                self._connections.pop(threading.current_thread(), None)
                self._snapshot = None  # it may be of a catalog that is not there any more
            self._local.connection = None
            self._answering.forget()
            connection.close()
        return self._connection()

    def _connection(self) -> Reader:
        """This thread's own connection: SQLite answers threads side by side only on connections of their own."""
        connection: Reader | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = connect_to_read(self.home)
            self._local.connection = connection
            with self._lock:
                # Servers let idle threads end and start others; what the ended ones held goes with them.
                for thread in [thread for thread in self._connections if not thread.is_alive()]:
                    self._connections.pop(thread).close()
                self._connections[threading.current_thread()] = connection
        return connection
