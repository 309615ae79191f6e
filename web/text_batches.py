"""Texts of searches that wait for their turn, embedded together meanwhile.

A model takes one text in a good part of the time in which it takes sixteen. Nobody waits for others to come: the texts
that have gathered while one batch was in the model are the next one.
"""

from __future__ import annotations

import asyncio
import logging

from fastapi.concurrency import run_in_threadpool

from search.answer import Request
from search.errors import SightlineError
from web.access import EngineAccess
from web.problems import ProblemError

logger = logging.getLogger("sightline.web")
_MOST = 32
"""Texts of so many searches in one batch: more make none of them faster, and the first of them wait longer."""


class TextBatches:
    """To be used on the event loop."""

    def __init__(self, access: EngineAccess) -> None:
        self._access = access
        self._gathered: list[Request] = []
        self._working: asyncio.Task[None] | None = None

    def add(self, asked: Request) -> None:
        """Let the texts of a search be embedded as soon as may be; the search itself finds them then, or waits for
        them if they are in the model when its turn comes."""
        self._gathered.append(asked)
        if self._working is None:
            self._working = asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._gathered:
                batch, self._gathered = self._gathered[:_MOST], self._gathered[_MOST:]
                await run_in_threadpool(self._embed, batch)
        finally:
            self._working = None

    def _embed(self, batch: list[Request]) -> None:
        try:
            self._access.engine().embed_ahead(batch)
        except (ProblemError, SightlineError):
            pass  # each search says it itself
        except Exception:
            logger.exception("texts could not be embedded ahead of their searches")
