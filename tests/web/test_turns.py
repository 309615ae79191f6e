"""Searches take turns: a few at a time, none for a client that has gone, and no endless queue."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from problem_checks import assert_problem

from search.answer import Answer
from search.answer import Request as SearchRequest
from search.engine import Engine
from search.home import Home
from search.models.encoder import Encoder
from web.app import create_app

pytestmark = pytest.mark.usefixtures("loaded_once")


class Held:
    """Searches of real engines that wait until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.inside = self.most = 0
        self.let_go, self._count = threading.Event(), threading.Lock()
        search = Engine.search

        def slow(engine: Engine, request: SearchRequest) -> Answer:
            with self._count:
                self.asked.append(request.text)
                self.inside += 1
                self.most = max(self.most, self.inside)
            self.let_go.wait(20)
            with self._count:
                self.inside -= 1
            return search(engine, request)

        monkeypatch.setattr(Engine, "search", slow)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    monkeypatch.setattr("web.endpoints.searching.MOST_WAITING", 3)
    monkeypatch.setattr("web.endpoints.searching.os.cpu_count", lambda: 2)
    return Held(monkeypatch)


def test_more_searches_than_may_wait_are_asked_to_come_again(sample_home: Home, held: Held) -> None:
    with TestClient(create_app(sample_home), base_url="http://127.0.0.1") as client, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.get, "/api/search", params={"q": f"noise {number}"}) for number in range(8)]
        while sum(each.done() for each in asked) < 3:
            pass
        assert client.get("/api/suggest", params={"q": "no"}).status_code == 200
        held.let_go.set()
        answers = [each.result() for each in asked]
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [503] * 3
    assert held.most == 2
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert "try again" in assert_problem(refused, 503)["detail"] and refused.headers["retry-after"] == "2"


async def ask(app: Any, text: str, *, leaves: bool = False) -> int:
    """One search over ASGI, maybe by a client that leaves while it waits; its status."""
    status: list[int] = []

    async def receive() -> dict[str, Any]:
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/api/search", "root_path": ""}
    query, headers = f"q={text}".encode(), [(b"host", b"127.0.0.1")]
    await app({**scope, "query_string": query, "headers": headers, "scheme": "http"}, receive, send)
    return status[0]


def test_what_nobody_waits_for_is_not_searched(sample_home: Home, held: Held) -> None:
    app = create_app(sample_home)

    async def together() -> list[int]:
        first = [asyncio.create_task(ask(app, text)) for text in ("one", "two")]
        while held.inside < 2:
            await asyncio.sleep(0.01)
        gone = asyncio.create_task(ask(app, "gone", leaves=True))
        last = asyncio.create_task(ask(app, "last"))
        await asyncio.sleep(0.1)
        held.let_go.set()
        return await asyncio.gather(*first, gone, last)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, together()).result() == [200, 200, 499, 200]
    assert sorted(held.asked[:2]) == ["one", "two"]  # at once, in threads of their own
    assert held.asked[2:] == ["last"]


def test_those_who_have_gone_take_no_place_in_the_queue(sample_home: Home, held: Held) -> None:
    app = create_app(sample_home)

    async def together() -> list[int]:
        first = [asyncio.create_task(ask(app, text)) for text in ("one", "two")]
        while held.inside < 2:
            await asyncio.sleep(0.01)
        gone = [asyncio.create_task(ask(app, f"gone {number}", leaves=True)) for number in range(2)]
        first.append(asyncio.create_task(ask(app, "three")))
        await asyncio.sleep(0.1)
        # All at once: none of them may pass over another's place.
        last = [asyncio.create_task(ask(app, f"last {number}")) for number in range(5)]
        await asyncio.sleep(0.1)
        held.let_go.set()
        return await asyncio.gather(*first, *gone, *last)

    with ThreadPoolExecutor(1) as pool:
        statuses = pool.submit(asyncio.run, together()).result()
    assert statuses[:5] == [200, 200, 200, 499, 499]
    assert sorted(statuses[5:]) == [200, 200, 503, 503, 503]


def test_texts_of_those_who_wait_are_embedded_together(
    sample_home: Home, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(sample_home)
    batches: list[list[str]] = []
    embed, arrived = Encoder.embed_texts, threading.Event()

    def slowly(encoder: Encoder, texts: list[str]) -> Any:
        batches.append(texts)
        arrived.wait(20)
        return embed(encoder, texts)

    async def together() -> list[int]:
        first = [asyncio.create_task(ask(app, text)) for text in ("one", "two")]
        while held.inside < 2:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(Encoder, "embed_texts", slowly)
        waiting = [asyncio.create_task(ask(app, "three"))]
        while not batches:
            await asyncio.sleep(0.01)
        waiting += [asyncio.create_task(ask(app, text)) for text in ("four", "five -six")]
        await asyncio.sleep(0.1)
        arrived.set()
        while len(batches) < 2:
            await asyncio.sleep(0.01)
        held.let_go.set()
        return await asyncio.gather(*first, *waiting)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(asyncio.run, together()).result() == [200] * 5
    # What came while one was in the model is the next batch; the searches themselves had nothing to embed any more.
    assert batches[:2] == [["three"], ["four", "five", "six"]]
    assert sorted(text for batch in batches[2:] for text in batch) == ["one", "two"]
