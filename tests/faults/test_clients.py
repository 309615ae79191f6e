"""The requests of hostile clients, and what is seen of the answers; tests/web/test_hostile_requests.py sends some."""

from __future__ import annotations

from clients import KINDS, TOKEN, hostile, wrong_with


def test_a_request_of_a_seed_is_always_the_same() -> None:
    ids = ["0" * 32, "1" * 32]
    assert [hostile(1, number, ids) for number in range(50)] == [hostile(1, number, ids) for number in range(50)]
    assert {hostile(1, number, ids)[0] for number in range(50)} == set(KINDS)


def test_what_is_wrong_with_an_answer_is_seen() -> None:
    safe = b"x-content-type-options: nosniff\r\n"
    kind = b"content-type: application/problem+json\r\n"
    for answer, wrong in (
        (b"HTTP/1.1 500 X\r\n" + safe + b"\r\n", "its status is 500"),
        (b"HTTP/1.1 503 X\r\n" + safe + b"\r\n", "its status is 503"),
        (b"HTTP/1.1 503 X\r\nRetry-After: 1\r\n" + safe + b"\r\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\n", "a 200 has no security headers"),
        (b"HTTP/1.1 404 X\r\n" + safe + b"\r\nno", "a 404 is no problem document"),
        (b"HTTP/1.1 404 X\r\n" + safe + kind + b'\r\n{"status": 400}', "a 404 is no problem document"),
        (b"HTTP/1.1 404 X\r\n" + safe + kind + b'\r\n{"status": 404}', None),
        (b"HTTP/1.1 200 OK\r\n" + safe + b"\r\n" + TOKEN.encode(), "it holds the token"),
        (b"nonsense", "it is no answer"),
        (b"", None),
    ):
        assert wrong_with(answer) == wrong
