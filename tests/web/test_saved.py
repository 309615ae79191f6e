"""Saved searches over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from fastapi.testclient import TestClient
from problem_checks import assert_problem

from search.catalog import saved_searches
from search.catalog.connection import connect_to_write
from search.home import Home
from web.app import create_app
from web.documents.saved import SavedSearch, SavedSearches
from web.settings import ServerSettings

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.fixture
def client(home: Home) -> Iterator[TestClient]:
    connect_to_write(home).close()
    with TestClient(create_app(home, ServerSettings()), base_url="http://127.0.0.1:8000") as client:
        yield client


def test_searches_are_kept_renamed_and_removed(client: TestClient) -> None:
    like = f"{'0' * 32}@0.1,0.2,0.5,0.6"
    asked = {"name": "  At the\nlake ", "q": "a lake after:2020", "sort": "date", "collapse": True, "like": [like]}
    response = client.post("/api/searches", json=asked)
    assert response.status_code == 201
    first = SavedSearch.model_validate(response.json())
    assert (first.name, first.q, first.sort, first.mode, first.like) == (
        "At the lake", "a lake after:2020", "date", "auto", [like],
    )  # fmt: skip
    client.post("/api/searches", json={"name": "Second", "all": True})
    kept = SavedSearches.model_validate(client.get("/api/searches").json()).searches
    assert [one.name for one in kept] == ["Second", "At the lake"]
    renamed = client.put(f"/api/searches/{first.id}", json={"name": "Lakes"}).json()
    assert renamed == {**response.json(), "name": "Lakes"}
    assert client.delete(f"/api/searches/{first.id}").status_code == 204
    assert [one["name"] for one in client.get("/api/searches").json()["searches"]] == ["Second"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"name": ""}, 422),
        ({"name": " \t"}, 422),
        ({"name": "x" * 201}, 422),
        ({"name": "x", "q": "x" * 2001}, 422),
        ({"name": "x", "sort": "size"}, 422),
        ({"name": "x", "like": ["nonsense"]}, 404),
        ({"name": "x", "like": [f"{'0' * 32}@1,1,0,0"]}, 422),
        ({"name": "x", "unknown": 1}, 422),
    ],
)
def test_what_cannot_be_searched_cannot_be_saved(client: TestClient, fields: dict[str, object], status: int) -> None:
    assert_problem(client.post("/api/searches", json=fields), status)
    assert client.get("/api/searches").json() == {"searches": []}


def test_a_search_that_is_not_there_is_said(client: TestClient) -> None:
    assert_problem(client.delete("/api/searches/7"), 404)
    assert_problem(client.put("/api/searches/7", json={"name": "x"}), 404)
    assert_problem(client.delete(f"/api/searches/{10**30}"), 422)


def test_so_many_are_kept_and_no_more(client: TestClient, home: Home) -> None:
    with closing(connect_to_write(home)) as connection, connection:
        connection.executemany(
            "INSERT INTO searches (name, q, mode, sort, include_all, collapse, liked, saved_at)"
            " VALUES ('x', '', 'auto', 'date', 0, 0, '', '')",
            [()] * saved_searches.MOST,
        )
    problem = assert_problem(client.post("/api/searches", json={"name": "one more"}), 409)
    assert "remove one first" in problem["detail"]


def test_where_nothing_is_indexed_nothing_is_saved(home: Home) -> None:
    with TestClient(create_app(home, ServerSettings()), base_url="http://127.0.0.1:8000") as client:
        assert_problem(client.post("/api/searches", json={"name": "x"}), 503)
        assert_problem(client.delete("/api/searches/1"), 503)
    assert not home.catalog_path.exists()
