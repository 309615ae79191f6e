"""The one engine of a server, opened when there is an index to open.

A server may be started before the first `sightline index`: each request then tries again, cheaply.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

from search.answer import Answer, Request
from search.catalog.connection import Reader, connect_to_read, one_state
from search.catalog.soundness import explained
from search.duplicates import Duplicates, Kind
from search.engine import Engine
from search.errors import CatalogError, NotHereError, QueryError, SightlineError
from search.home import Home
from search.milvus.address import Address
from search.milvus.engine import CollectionEngine
from search.ranking_settings import RankingSettings
from web.problems import NO_INDEX, ProblemError, kind_of

logger = logging.getLogger("sightline.web")


class EngineAccess:
    """Opens the engine once and hands it to every request. Thread-safe."""

    def __init__(self, home: Home, ranking: RankingSettings, vectors: Address | None = None) -> None:
        """The engine of `home`, or of the collection that `vectors` names; then nothing of the home is asked."""
        self._home = home
        self._ranking = ranking
        self._vectors = vectors
        self._lock = threading.Lock()
        self._engine: Engine | CollectionEngine | None = None
        self._warming: threading.Thread | None = None

    @property
    def home(self) -> Home:
        """The home, to read or write its catalog.

        Raises:
            NotHereError: a node has none.
        """
        if self._vectors is not None:
            raise NotHereError
        return self._home

    def engine(self) -> Engine | CollectionEngine:
        """The engine; call it in a worker thread, for the first call opens files.

        Raises:
            ProblemError: 503, with the sentence that says what to do, while there is nothing to search.
        """
        engine = self._engine
        if engine is not None:
            return engine
        with self._lock:
            if self._engine is not None:
                return self._engine
            try:
                if self._vectors is None:
                    self._engine = Engine.open(self._home, ranking=self._ranking)
                else:
                    self._engine = CollectionEngine.open(self._vectors, ranking=self._ranking)
            except SightlineError as error:
                raise self._problem(error) from error
            return self._engine

    def duplicates(self, limit: int, offset: int, kind: Kind | None = None) -> Duplicates:
        """The engine's groups of duplicates; call it in a worker thread.

        Raises:
            ProblemError: 503, while there is no index, or none with a photo in it.
        """
        try:
            return self.engine().duplicates(limit, offset, kind)
        except NotHereError:
            raise
        except SightlineError as error:
            raise self._problem(error) from error

    def search(self, request: Request) -> Answer:
        """The engine's answer to `request`; call it in a worker thread.

        Raises:
            QueryError: it cannot be answered as it was asked.
            ProblemError: 503, where the fault is not the request's: no index, an empty one, or no model.
        """
        try:
            return self.engine().search(request)
        except QueryError:
            raise
        except SightlineError as error:
            raise self._problem(error) from error

    @contextmanager
    def catalog(self) -> Iterator[Reader]:
        """The catalog, to read one commit of, for answers that need no engine; call it in a worker thread.

        Raises:
            ProblemError: 503, with the sentence that says what to do, where there is no catalog to read.
            NotHereError: a node has none.
        """
        try:
            connection = connect_to_read(self.home)
        except CatalogError as error:
            raise self._problem(error) from error
        with closing(connection), one_state(connection):
            yield connection

    def _problem(self, error: SightlineError) -> ProblemError:
        # An index that holds nothing is, to whoever searches, no index yet.
        kind = NO_INDEX if type(error) is SightlineError else kind_of(error)
        return ProblemError(503, str(error), kind=kind, headers={"Retry-After": "2"})

    def check(self) -> None:
        """See that searches can be answered; call it in a worker thread.

        Raises:
            ProblemError: 503, where they cannot.
        """
        if self._vectors is None:
            self.search(Request(limit=1))
            return
        try:
            self.engine().status()
        except SightlineError as error:
            raise self._problem(error) from error

    def warm_in_background(self) -> None:
        """Load the text model now, so that the first search need not wait for it."""

        def warm() -> None:
            try:
                self.engine().warm()
            except (ProblemError, SightlineError):
                pass  # nothing to search yet, or no model: the first search tries again, and says it
            except Exception as error:
                damage = explained(self._home, error)
                if damage is not None:
                    logger.error("%s", damage)
                else:
                    logger.exception("the model could not be loaded ahead of the first search")

        self._warming = threading.Thread(target=warm, name="sightline-warm")
        self._warming.start()

    def close(self) -> None:
        """Close the engine, if one was opened."""
        if self._warming is not None:
            # A process that ends while a model is being loaded in it may crash.
            self._warming.join()
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
