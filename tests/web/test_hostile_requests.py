"""A server at its chattiest under hostile requests and a small crowd (`python -m tests.faults.clients` sends any
number): all are answered, each has a line in its log, and nothing that is said opens a door."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from clients import TOKEN, Outcome, attack, served, wrong_in_log

from search.home import Home
from web.guards import COOKIE, cookie_value

SECRETS = {
    "SIGHTLINE_OPENAI_KEY": "sk-of-the-captioner",
    "OPENAI_API_KEY": "sk-of-openai",
    "HF_TOKEN": "hf_of-the-hub",
}


def requests(address: str) -> str:
    """Ask all kinds of things; what was answered, as one text."""
    answers = []
    with httpx.Client(base_url=address, timeout=30) as client:
        answers += [client.get("/", params={"token": given, "q": "zebra"}) for given in ("wrong", "", TOKEN)]
        client.cookies.clear()
        answers += [
            client.get("/api/search", params={"token": TOKEN}),
            client.get(f"/api/photos/{TOKEN}%0A/thumb", headers={"Cookie": f"{COOKIE}={cookie_value(TOKEN)}"}),
            client.get("/api/search", headers={"Authorization": b"Bearer \xff" * 500}),
        ]
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        answers += [
            client.get("/api/search", params={"q": "zebra", "limit": TOKEN}, headers={"X-Request-ID": "r-17"}),
            client.get("/api/search", params={"q": "zebra"}),
            client.put("/api/photos/0/caption", json={"caption": [TOKEN]}),
            client.request("BREW", f"/{TOKEN}"),
            *(client.get(path) for path in ("/metrics", "/openapi.json", "/api/status", "/api/jobs")),
        ]
        with client.stream("GET", "/api/events") as events:
            first = next(events.iter_text())
    assert {answer.status_code for answer in answers} >= {200, 303, 401, 404, 422}
    cookies = re.compile(rf"{COOKIE}=\w+")  # which is how the visitor who gave the token is told from others
    return "".join(cookies.sub("", f"{answer.headers}{answer.text}") for answer in answers) + first


@dataclass
class Said:
    """What a server answered to requests and to an attack, what it wrote to stdout, and its log."""

    answers: str
    outcome: Outcome
    stdout: str
    log: Path


@pytest.fixture(scope="module")
def said(home_to_change: Home, tmp_path_factory: pytest.TempPathFactory) -> Said:
    log = tmp_path_factory.mktemp("log") / "log"
    with served(home_to_change, log, "debug", **SECRETS) as (process, port):
        answers = requests(f"http://127.0.0.1:{port}")
        outcome = attack(process.pid, port, requests=150, seed=7, crowd=150)
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert process.stdout is not None
        return Said(answers, outcome, process.stdout.read(), log)


def test_no_request_costs_more_than_its_own_answer(said: Said) -> None:
    assert said.outcome.wrong == []
    assert sum(tally.tried for tally in said.outcome.tallies.values()) == 300
    answered = {status for tally in said.outcome.tallies.values() for status in tally.statuses}
    assert {"200", "400", "401", "403", "404", "405", "422"} <= answered
    assert said.outcome.peak - said.outcome.before < 300  # MiB
    assert wrong_in_log(said.log) == []


def test_no_secret_is_said_anywhere(said: Said) -> None:
    for secret in (TOKEN, *SECRETS.values(), cookie_value(TOKEN)):
        for text in (said.answers, said.stdout, said.log.read_text()):
            assert secret not in text


def test_each_line_is_an_object(said: Said) -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in said.log.read_text().splitlines()]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["level"] in {"debug", "info", "warning", "error", "critical"} and line["logger"]
        assert "zebra" not in line["message"] or not line["logger"].startswith("sightline")
    assert {"uvicorn.error", "sightline.web.requests"} <= {line["logger"] for line in lines}


def test_each_request_has_a_line_without_its_query(said: Said) -> None:
    lines = [json.loads(line) for line in said.log.read_text().splitlines()]
    told = [line for line in lines if line["logger"] == "sightline.web.requests"]
    (one,) = (line for line in told if line.get("request_id") == "r-17")
    assert (one["method"], one["path"], one["status"], one["client"]) == ("GET", "/api/search", 422, "127.0.0.1")
    assert 0 < one["ms"] < 60_000 and one["message"].startswith("GET /api/search: 422 in ")
    assert not any("zebra" in line["path"] or "?" in line["path"] for line in told)
    assert any(line["path"] == "/api/photos/(secret)\n/thumb" for line in told)
