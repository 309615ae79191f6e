"""The stream of events: before, while and after there is an index, and however it ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Coroutine, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from listening import listening
from problem_checks import assert_problem
from serving import server_process
from starlette.exceptions import HTTPException

from search.home import Home
from search.ranking_settings import RankingSettings
from web import events as module
from web.access import EngineAccess
from web.documents.jobs import StatusEvent
from web.events import MOST_LISTENERS, Events
from web.jobs import Jobs
from web.watching import Watch


def told(story: Coroutine[Any, Any, Any]) -> Any:
    """Runs it in a thread of its own: the browser of other tests may hold an event loop in this one."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, story).result()


def events_of(home: Home) -> Events:
    return Events(Watch(home, Jobs(EngineAccess(home, RankingSettings.read()))))


def test_a_page_may_listen_before_there_is_an_index_and_to_the_servers_end(sample_home: Home, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with server_process(home) as (process, address), listening(address) as events:
        states = (document for name, document in events if name == "status")
        status = next(states)
        assert StatusEvent.model_validate(status).photos == 0
        assert "There is no index" in status["detail"] and status["missing"] and not home.path.exists()
        shutil.copytree(sample_home.path, home.path)
        status = next(states)
        assert (status["photos"], status["detail"], status["missing"], status["job"]) == (11, None, False, None)
        # Another file in its place, as when a backup is restored.
        shutil.copy(home.catalog_path, home.path / "aside.db")
        home.catalog_path.unlink()
        assert next(states)["photos"] == 0
        (home.path / "aside.db").rename(home.catalog_path)
        assert next(states)["photos"] == 11
        # The server ends at once, though somebody listens, and the stream as it should: with its last chunk.
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert [name for name, _ in events if name == "status"] == []
        assert process.wait(10) == 0
        assert time.monotonic() - began < 3


def test_only_so_many_listen_and_one_who_left_is_forgotten(sample_home: Home) -> None:
    with server_process(sample_home) as (_, address), ExitStack() as streams, ExitStack() as last:
        open_streams = [
            (streams if number else last).enter_context(listening(address)) for number in range(MOST_LISTENERS)
        ]
        assert {next(events)[0] for events in open_streams} == {"status"}
        refused = httpx.get(f"{address}api/events")
        assert "listen to this server already" in assert_problem(refused, 503)["detail"]
        last.close()
        for _ in range(50):
            with httpx.stream("GET", f"{address}api/events") as response:
                if response.status_code == 200:
                    break
            time.sleep(0.1)
        assert response.status_code == 200


class Client:
    """The client's side of a stream in this process; `full` lets it take nothing more."""

    def __init__(self) -> None:
        self.sent = b""
        self.full = False

    async def receive(self) -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self.full:
            await asyncio.Event().wait()
        self.sent += message.get("body", b"")

    async def until(self, expected: bytes) -> None:
        async with asyncio.timeout(10):
            while expected not in self.sent:
                await asyncio.sleep(0.01)


def test_a_silent_stream_says_that_it_lives(sample_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEARTBEAT_SECONDS", 0.05)

    async def story() -> None:
        events, client = events_of(sample_home), Client()
        stream = asyncio.create_task(events.listen()({"type": "http"}, client.receive, client.send))
        await client.until(b"event: status\n")
        await client.until(b"\n\n: still here\n\n: still here\n\n")
        assert client.sent.startswith(b"retry: ")
        events.close()
        await asyncio.wait_for(stream, 1)

    told(story())


def test_who_takes_nothing_is_dropped(sample_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SEND_SECONDS", 0.1)
    monkeypatch.setattr(module, "_HEARTBEAT_SECONDS", 0.05)

    async def story() -> None:
        events, client = events_of(sample_home), Client()
        stream = asyncio.create_task(events.listen()({"type": "http"}, client.receive, client.send))
        await client.until(b"event: status\n")
        client.full = True
        await asyncio.wait_for(stream, 5)
        assert not events._listeners

    told(story())


def test_who_is_slow_is_sent_the_newest_alone() -> None:
    async def story() -> bytes:
        listener = module._Listener()
        for photos in range(1000):
            listener.put("status", {"photos": photos})
        return await listener.take()

    assert told(story()) == b'event: status\ndata: {"photos":999}\n\n'


def test_nobody_listening_costs_nothing(sample_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY_SECONDS", 0.01)
    looks = 0
    look = Watch.look

    def counted(self: Watch) -> Any:
        nonlocal looks
        looks += 1
        return look(self)

    monkeypatch.setattr(Watch, "look", counted)

    async def story() -> None:
        events = events_of(sample_home)
        clients = [Client(), Client()]
        streams = [
            asyncio.create_task(events.listen()({"type": "http"}, client.receive, client.send)) for client in clients
        ]
        for client in clients:
            await client.until(b"event: status\n")
        assert looks < 5  # one look for both
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        await asyncio.sleep(0.1)
        before = looks
        await asyncio.sleep(0.1)
        assert looks == before

    told(story())


def test_the_home_is_left_as_it_was(sample_home: Home) -> None:
    before = sorted(os.listdir(sample_home.path))
    watch = Watch(sample_home, Jobs(EngineAccess(sample_home, RankingSettings.read())))
    assert watch.look().status["photos"] == 11
    watch.close()
    assert sorted(os.listdir(sample_home.path)) == before


def test_a_listener_whose_request_is_refused_midway_leaves(home: Home) -> None:
    events = events_of(home)

    async def receive() -> Any:
        raise HTTPException(413)

    async def send(message: MutableMapping[str, Any]) -> None:
        pass

    async def story() -> None:
        response = events.listen()
        async with asyncio.timeout(5):
            await response({"type": "http"}, receive, send)
        assert not events._listeners

    told(story())
