"""The real server on a real socket: where it listens, what it says when it cannot, and raw request lines."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from serving import running_server

from search.errors import SightlineError
from search.home import Home
from web.server import address_of, listen, serve
from web.settings import ServerSettings


def test_a_taken_port_is_an_error_that_names_a_way_out(sample_home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SightlineError, match=f"{port} on 127.0.0.1 is taken.*--port {port + 1}"):
            serve(sample_home, ServerSettings(port=port))


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("no-such-host.invalid", 8000, "cannot be found"),
        ("203.0.113.7", 8000, "not an address of this machine"),
        ("127.0.0.1", 70000, "not a port"),
        ("127.0.0.1", -1, "not a port"),
        ("a" * 300, 8000, "cannot be found"),
    ],
)
def test_an_address_that_cannot_be_listened_on(host: str, port: int, says: str) -> None:
    with pytest.raises(SightlineError, match=says):
        listen(ServerSettings(host=host, port=port)).close()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("0.0.0.0", "http://127.0.0.1:80/"),
        ("::1", "http://[::1]:80/"),
        ("::", "http://127.0.0.1:80/"),
        ("nas.local", "http://nas.local:80/"),
    ],
)
def test_the_address_to_type(host: str, address: str) -> None:
    assert address_of(host, 80) == address


def ask(address: str, target: bytes, *headers: bytes) -> bytes:
    """The status line and headers of the answer to a request line that no client library would send."""
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        lines = [b"GET " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *headers]
        connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        answer = b""
        while block := connection.recv(65536):
            answer += block
    return answer


@pytest.fixture(scope="module")
def address(sample_home: Home) -> Iterator[str]:
    with running_server(sample_home) as address:
        yield address


def test_no_raw_request_line_leads_out(address: str) -> None:
    assert ask(address, b"/healthz").startswith(b"HTTP/1.1 200")
    for target in (
        b"/api/photos/../../etc/passwd",
        b"/api/photos/../../../../../../etc/passwd",
        b"/api/photos/..%2f..%2f..%2fetc%2fpasswd",
        b"/api/photos/%2e%2e/%2e%2e/etc/passwd/file",
        b"/api/photos/....//....//etc/passwd",
        b"/api/photos/..%c0%af..%c0%afetc/passwd",
        b"/static/../../../etc/passwd",
        b"/static/js/../../app.py",
        b"//etc/passwd",
    ):
        answer = ask(address, target)
        assert answer.startswith(b"HTTP/1.1 404"), (target, answer[:200])
        assert b"application/problem+json" in answer and b"root:" not in answer


def test_two_host_headers_are_refused(address: str) -> None:
    assert ask(address, b"/healthz", b"Host: evil.example").startswith(b"HTTP/1.1 400")


def test_on_ready_is_told_once_the_server_answers(address: str) -> None:
    assert address.startswith("http://127.0.0.1:")
    assert b"sightline" in ask(address, b"/").lower()
