"""Who may ask: host names, tokens, origins, and the headers that keep a page in its bounds."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from problem_checks import assert_problem

from search.home import Home
from web.app import create_app
from web.guards import COOKIE, cookie_value, host_of
from web.settings import ServerSettings

TOKEN = "s3cret-töken"


def make(home: Home, **settings: Any) -> TestClient:
    app = create_app(home, ServerSettings(**settings))
    return TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False)


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("LocalHost:8000", "localhost"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("photos.example.", "photos.example"),
        ("", ""),
        ("[::1", ""),
        ("localhost:8000/healthz?", ""),
        ("localhost#", ""),
        ("user@localhost", ""),
        ("localhost:evil.example", ""),
        ("[::1]evil.example", ""),
        ("localhost:\u00b2", ""),
    ],
)
def test_the_host_of_a_header(header: str, host: str) -> None:
    assert host_of(header) == host


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"])
def test_loopback_names_are_ours(client: TestClient, host: str) -> None:
    assert client.get("/api/search", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.168.1.5",
        "",
        "[::1",
        "::2",
        "localhost:8000/healthz?",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/search", "/healthz", "/static/css/base.css"])
def test_other_names_are_refused(client: TestClient, host: str, path: str) -> None:
    assert_problem(client.get(path, headers={"Host": host}), 400)


def test_names_that_were_allowed_are_ours(sample_home: Home) -> None:
    client = make(sample_home, allowed_hosts=("Photos.example:443",))
    assert client.get("/healthz", headers={"Host": "photos.example"}).status_code == 200
    assert_problem(client.get("/healthz", headers={"Host": "other.example"}), 400)


def test_beyond_loopback_any_address_will_do_but_not_any_name(sample_home: Home) -> None:
    client = make(sample_home, host="0.0.0.0")
    assert client.get("/healthz", headers={"Host": "192.168.1.5:8000"}).status_code == 200
    assert client.get("/healthz", headers={"Host": "[fe80::1]:8000"}).status_code == 200
    assert_problem(client.get("/healthz", headers={"Host": "evil.example"}), 400)


@pytest.mark.parametrize("path", ["/", "/api/search", "/metrics", "/docs", "/openapi.json", "/static/css/base.css"])
def test_with_a_token_everything_but_health_asks_for_it(sample_home: Home, path: str) -> None:
    client = make(sample_home, token=TOKEN)
    assert client.get("/healthz").status_code == 200
    response = client.get(path)
    assert_problem(response, 401)
    assert response.headers["www-authenticate"].startswith("Bearer")
    for wrong in (b"Bearer wrong", b"Bearer ", b"Basic " + TOKEN.encode(), b"Bearer \xff\xfe"):
        assert client.get(path, headers=[(b"authorization", wrong)]).status_code == 401


def test_an_ascii_token_opens_as_a_bearer(sample_home: Home) -> None:
    client = make(sample_home, token="abc")
    assert client.get("/api/status", headers={"Authorization": "bearer abc"}).status_code == 200


def test_the_address_with_the_token_leaves_a_cookie_and_no_trace(sample_home: Home) -> None:
    client = make(sample_home, token=TOKEN)
    assert client.get("/", params={"token": "wrong"}).status_code == 401
    assert client.get("/api/search", params={"token": TOKEN}).status_code == 401
    response = client.get("/", params={"token": TOKEN, "q": "a dog"})
    assert (response.status_code, response.headers["location"]) == (303, "/?q=a+dog")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert TOKEN not in cookie
    client.cookies.clear()
    client.cookies.set(COOKIE, cookie_value(TOKEN))
    assert client.get("/api/search").status_code == 200
    client.cookies.clear()
    client.cookies.set(COOKIE, cookie_value("other"))
    assert client.get("/api/search").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://[bad"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_cannot_post(client: TestClient, headers: dict[str, str]) -> None:
    assert_problem(client.post("/api/search", data={"q": "x"}, headers=headers), 403)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://127.0.0.1:8000"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}],
)
def test_the_page_and_programs_can_post(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/api/search", data={"q": "x"}, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/api/search", "/nowhere", "/api/search?limit=0", "/static/js/main.js"])
def test_every_answer_carries_the_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_a_method_that_is_not_taken_is_a_405(client: TestClient) -> None:
    for path in ("/api/search", "/healthz", "/", "/static/css/base.css"):
        response = client.request("DELETE", path)
        assert_problem(response, 405)
        assert response.headers["allow"]


@pytest.mark.parametrize(
    ("path", "mode", "status"),
    [
        ("/api/search", "no-cors", 403),
        ("/api/status", "cors", 403),
        ("/api/status", "navigate", 200),
        ("/", "no-cors", 200),
    ],
)
def test_another_sites_page_cannot_keep_the_server_busy(client: TestClient, path: str, mode: str, status: int) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
    assert client.get(path, headers=headers).status_code == status
    assert client.get(path, headers={**headers, "Sec-Fetch-Site": "same-origin"}).status_code == 200
