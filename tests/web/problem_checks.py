"""What every error must be: a problem document whose detail is a sentence."""

from __future__ import annotations

from typing import Any


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    """`response` is a problem document of this status; returns it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["title"] and document["type"]
    assert document["detail"].strip().endswith((".", "…`.")), document["detail"]
    return document
