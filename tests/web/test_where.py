"""Where in a photo something was seen, over HTTP."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from problem_checks import assert_problem

from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home
from search.models.encoder import Encoder
from web.app import create_app
from web.documents.photos import SIMILARITY_MAP_EXAMPLE, SimilarityMap
from web.endpoints.why import MOST_WAITING

pytestmark = pytest.mark.usefixtures("loaded_once")

Hits = dict[str, dict[str, Any]]


def why(client: TestClient, photo: str, q: str) -> Any:
    return client.get(f"/api/photos/{photo}/why", params={"q": q})


def test_a_map_of_the_photo(client: TestClient, hits: Hits) -> None:
    answer = why(client, hits["motorcycle_left.png"]["id"], "a red motorcycle type:png")
    assert answer.status_code == 200
    document = SimilarityMap.model_validate(answer.json())
    assert (document.query, document.model, document.method) == ("a red motorcycle", "starter", "feature map")
    assert document.area.model_dump() == {"left": 0, "top": 0, "width": 1, "height": 1}
    for values in (document.map, document.deviations):
        assert len(values) == document.rows and {len(row) for row in values} == {document.columns}
    assert max(map(max, document.map)) == 1 and min(map(min, document.map)) == 0
    found = client.get("/api/search", params={"q": "a red motorcycle", "mode": "meaning"}).json()["hits"][0]
    assert document.similarity == found["why"][0]["similarity"]


def test_the_example_is_an_answer() -> None:
    example = SimilarityMap.model_validate(SIMILARITY_MAP_EXAMPLE)
    assert len(example.map) == len(example.deviations) == example.rows


@pytest.mark.parametrize("q", ["", "type:png", "-motorcycle", "\x00"])
def test_a_query_without_words_says_what_is_missing(client: TestClient, hits: Hits, q: str) -> None:
    problem = assert_problem(why(client, hits["coffee.png"]["id"], q), 400)
    assert "no words" in problem["detail"]


def test_a_query_that_cannot_be_is_refused(client: TestClient, hits: Hits) -> None:
    photo = hits["coffee.png"]["id"]
    assert "2021-13" in assert_problem(why(client, photo, "cup on:2021-13"), 400)["detail"]
    assert_problem(why(client, photo, "x" * 2001), 422)
    assert_problem(client.get(f"/api/photos/{photo}/why"), 422)


@pytest.fixture
def one_photo(tmp_path: Path) -> Iterator[tuple[TestClient, str, Path]]:
    """A client, the id of the only photo of its index, and its file."""
    file = tmp_path / "photos" / "a.png"
    file.parent.mkdir()
    Image.effect_noise((300, 150), 90).convert("RGB").save(file)
    home = Home(tmp_path / "home")
    run_index(home, [file.parent], IndexOptions(model="starter", captions="off"), Silent())
    with TestClient(create_app(home), base_url="http://127.0.0.1") as client:
        yield client, client.get("/api/search").json()["hits"][0]["id"], file


def test_a_photo_whose_file_is_away_is_looked_into_as_long_as_it_can_be_shown(
    one_photo: tuple[TestClient, str, Path],
) -> None:
    client, photo, file = one_photo
    file.rename(file.with_suffix(".away"))
    assert "sightline index" in assert_problem(why(client, photo, "noise"), 404)["detail"]
    file.with_suffix(".away").rename(file)
    assert why(client, photo, "noise").status_code == 200
    file.unlink()
    assert client.get(f"/api/photos/{photo}/thumb", params={"size": "large"}).status_code == 200
    assert why(client, photo, "noise").status_code == 200


def test_another_picture_in_the_file_is_not_looked_into(one_photo: tuple[TestClient, str, Path]) -> None:
    client, photo, file = one_photo
    content = io.BytesIO()
    Image.new("RGB", (300, 150), "red").save(content, "PNG")
    file.write_bytes(content.getvalue())
    assert_problem(why(client, photo, "noise"), 404)


def test_more_than_a_few_at_once_are_asked_to_come_again(
    one_photo: tuple[TestClient, str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, photo, _ = one_photo
    assert why(client, photo, "noise").status_code == 200
    inside, most, go_on = [], [0], threading.Event()
    real = Encoder.places

    def slow(self: Encoder, image: Image.Image) -> Any:
        inside.append(image)
        most[0] = max(most[0], len(inside))
        go_on.wait(20)
        try:
            return real(self, image)
        finally:
            inside.pop()

    monkeypatch.setattr(Encoder, "places", slow)
    with ThreadPoolExecutor(MOST_WAITING + 4) as pool:
        asked = [pool.submit(why, client, photo, "noise") for _ in range(MOST_WAITING + 4)]
        refused = 0
        while refused < 3:
            refused = sum(each.done() for each in asked)
        assert client.get("/api/search", params={"q": "noise"}).status_code == 200  # searches do not wait
        go_on.set()
        answers = [each.result() for each in asked]
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * (MOST_WAITING + 1) + [503] * 3
    assert most == [1]
    problem = next(answer for answer in answers if answer.status_code == 503)
    assert_problem(problem, 503)
    assert problem.headers["retry-after"] == "2"
