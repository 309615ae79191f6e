"""Clients that are slow, silent or too many, and what is no HTTP: the server goes on, and they are let go."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from serving import server_process

from search.home import Home
from web.connections import look_after, said_once_a_minute, set_up

CONNECTIONS = 24
TIMES = {
    "web.connections": {
        "HEAD_SECONDS": 1.5,
        "BODY_SECONDS": 0.5,
        "STALLED_SECONDS": 0.5,
        "LINGER_SECONDS": 1.5,
        "LINGER_SILENCE_SECONDS": 0.5,
        "UNSENT_BYTES": 4096,
        "IDLE_SECONDS": 0.3,
    },
    "web.server": {"MOST_CONNECTIONS": CONNECTIONS},
}


class Server:
    """A server with little patience, in a process of its own."""

    def __init__(self, pid: int, port: int, log: Path) -> None:
        self.process = psutil.Process(pid)
        self.port = port
        self.log = log

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def ask(self, request: bytes) -> bytes:
        """All that is answered until the server closes."""
        with self.connect() as connection:
            connection.sendall(request)
            return all_of(connection)

    def is_well(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask(get("/healthz")).startswith(b"HTTP/1.1 200")
        return False

    def refused(self, reason: str) -> float:
        """How many connections the metrics say were refused so."""
        found = re.search(
            rb'connections_refused_total\{reason="%b"\} (\S+)' % reason.encode(), self.ask(get("/metrics"))
        )
        assert found
        return float(found[1])

    def connections(self) -> int:
        return sum(one.status == psutil.CONN_ESTABLISHED for one in self.process.net_connections("tcp"))

    def wait_until_alone(self) -> None:
        until = time.monotonic() + 10
        while self.connections():
            assert time.monotonic() < until, "connections stay open"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def server(sample_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("log") / "log"
    with server_process(sample_home, constants=TIMES, log=log) as (process, address):
        yield Server(process.pid, int(address.rstrip("/").rpartition(":")[2]), log)
    text = log.read_text()
    assert "Traceback" not in text, text


@pytest.fixture(autouse=True)
def nobody_else(server: Server) -> None:
    server.wait_until_alone()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def post(path: str, length: int, kind: str = "application/json") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


def all_of(connection: socket.socket) -> bytes:
    answer = b""
    while block := connection.recv(65536):
        answer += block
    return answer


def assert_problem_answer(answer: bytes, status: int) -> bytes:
    """`answer` is a whole problem document of this status, with the headers that every answer has; gives its head."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    for header in (b"content-type: application/problem+json", b"x-content-type-options: nosniff", b"connection: close"):
        assert header in head.lower()
    assert json.loads(body)["status"] == status
    return head.lower()


def test_who_is_slow_is_given_up_and_others_are_answered_meanwhile(server: Server) -> None:
    begun = {
        "head": b"GET /healthz HTTP/1.1\r\nX: ",
        "body": post("/api/searches", 1000) + b"{",
        "silent": b"",
    }
    before = server.refused("slow")
    slow = {name: [server.connect() for _ in range(5)] for name in begun}
    for name, connections in slow.items():
        for connection in connections:
            connection.sendall(begun[name])
    for _ in range(3):
        assert server.is_well()
        for connection in (*slow["head"], *slow["body"]):
            connection.sendall(b"x")
    for name, connections in slow.items():
        for connection in connections:
            answer = all_of(connection)
            if name == "silent":
                assert answer == b""  # a browser that connects ahead of need would show it as the answer
            else:
                assert_problem_answer(answer, 408)
            connection.close()
    assert server.refused("slow") == before + len(slow["head"]) + len(slow["body"])


def test_a_body_that_comes_steadily_is_taken_however_long_it_takes(server: Server) -> None:
    content = b'{"name": 5' + b" " * 4000 + b"}"
    with server.connect() as connection:
        connection.sendall(post("/api/searches", len(content)))
        for at in range(0, len(content), 200):
            connection.sendall(content[at : at + 200])
            time.sleep(0.08)
        assert_problem_answer(all_of(connection), 422)  # read to its end


def test_a_body_has_its_own_time_however_long_its_headers_took(server: Server) -> None:
    content = b'{"name": 5}'
    with server.connect() as connection:
        time.sleep(0.5)
        head = post("/api/searches", len(content))
        connection.sendall(head[:10])
        time.sleep(0.5)
        connection.sendall(head[10:])
        time.sleep(0.3)
        connection.sendall(content)
        assert_problem_answer(all_of(connection), 422)


def test_a_body_of_which_much_has_come_may_not_end_in_silence(server: Server) -> None:
    with server.connect() as connection:
        begun = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + bytes(1_000_000)
        connection.sendall(post("/api/search", 10_000_000, "multipart/form-data; boundary=x") + begun)
        began = time.monotonic()
        assert_problem_answer(all_of(connection), 408)
        assert time.monotonic() - began < 5


def test_who_takes_an_answer_slowly_gets_all_of_it(server: Server) -> None:
    with server.connect(receive_buffer=4096) as connection:
        asked = 12
        connection.sendall(asked * b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began, answer = time.monotonic(), b""
        while answer.count(b"HTTP/1.1 200") < asked and (block := connection.recv(8192)):
            answer += block
            time.sleep(0.04)
        assert answer.count(b"HTTP/1.1 200") == asked
        assert time.monotonic() - began > 2  # longer than one who takes nothing may


def test_who_takes_nothing_of_an_answer_is_given_up(server: Server) -> None:
    before = server.refused("stalled")
    with server.connect(receive_buffer=4096) as connection:
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(400):
                connection.send(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until = time.monotonic() + 10
        while not server.connections() and time.monotonic() < until:
            time.sleep(0.01)
        server.wait_until_alone()
        connection.settimeout(10)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while block := connection.recv(65536):
                answer += block
        assert answer.count(b"HTTP/1.1 200") < 400
    assert server.refused("stalled") == before + 1


def test_who_sends_too_much_still_reads_why_it_is_refused(server: Server) -> None:
    for path, length, kind in (("/api/searches", 3_000_000, "application/json"), ("/nowhere", 3_000_000, "text/x")):
        with server.connect() as connection:
            connection.sendall(post(path, length, kind) + bytes(length))
            answer = all_of(connection)
        assert_problem_answer(answer, 413)


def test_what_is_sent_after_an_answer_is_not_taken_for_ever(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        with pytest.raises(OSError):
            while True:
                connection.sendall(b"1000\r\n" + bytes(0x1000) + b"\r\n")
                time.sleep(0.02)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /healthz\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n", 400),
        (b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000, 431),
    ],
)
def test_what_is_no_request_is_a_problem_document(server: Server, request_: bytes, status: int) -> None:
    before = server.refused("malformed")
    assert_problem_answer(server.ask(request_), status)
    assert server.refused("malformed") == before + 1


def test_a_length_and_chunks_at_once_smuggle_nothing(server: Server) -> None:
    hidden = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
    answer = server.ask(head + f"Content-Length: {5 + len(hidden)}\r\n\r\n0\r\n\r\n".encode() + hidden)
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.startswith(b"HTTP/1.1 404")


def test_an_answer_to_head_has_no_body_though_it_is_a_refusal(server: Server) -> None:
    head = b"HEAD / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = server.ask(head + b"ZZZZ\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"\r\n\r\n")


def test_a_connection_that_cannot_be_looked_after_costs_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        looked = given_up = False

        def look(self, now: float) -> None:
            self.looked = True
            raise RuntimeError("odd")

        def give_up(self) -> None:
            self.given_up = True

    odd = [Odd(), Odd()]
    look_after(odd)
    assert all(one.looked and one.given_up for one in odd) and "looked after" in caplog.text


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"5\r\nq=abcXX\r\n", b"3\r\nabc\r\n-1\r\n"])
def test_chunks_that_are_none_are_refused(server: Server, chunks: bytes) -> None:
    head = b"POST /api/searches HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    assert_problem_answer(server.ask(head + b"Content-Type: application/json\r\n\r\n" + chunks), 400)


def test_too_many_connections_are_asked_to_come_again_until_idle_ones_make_room(server: Server) -> None:
    before = server.refused("full")
    silent = [server.connect() for _ in range(CONNECTIONS)]
    refused = assert_problem_answer(server.ask(get("/healthz")), 503)
    assert b"retry-after: 2" in refused
    until = time.monotonic() + 1.8  # before they are given up anyway
    while not server.is_well():
        assert time.monotonic() < until
        time.sleep(0.1)
    for connection in silent:
        connection.close()
    assert server.refused("full") > before


def test_a_storm_of_connections_goes_by(server: Server) -> None:
    storm = []
    with contextlib.suppress(OSError):
        storm = [server.connect() for _ in range(6 * CONNECTIONS)]
    for connection in storm:
        connection.close()
    until = time.monotonic() + 30  # those that have gone before they were accepted are counted, too
    while not server.is_well():
        assert time.monotonic() < until
    # Once at most; not at all where the storm comes so slowly that idle ones make room.
    assert server.log.read_text().count("further ones are asked to come again") <= 1


def test_too_few_open_files_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    handle = said_once_a_minute()
    for _ in range(1000):
        handle(loop, {"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")})
    assert [record.message for record in caplog.records] == [
        "no connection can be accepted just now: Too many open files"
    ]
    handle(loop, {"message": "another fault", "exception": ValueError("one")})
    assert "another fault" in caplog.records[-1].message
    loop.close()


def test_the_body_of_an_answer_does_not_wait_until_its_head_is_acknowledged() -> None:
    """Clients take 40 ms for that; asyncio sees to it only for sockets that were made with a protocol's number."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert not accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            set_up(accepted)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    set_up(None)
