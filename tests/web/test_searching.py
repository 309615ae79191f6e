"""Searching over HTTP: by text, by picture, by a photo of the index, and by text and picture together."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from problem_checks import assert_problem

from search.home import Home
from web.app import create_app
from web.documents.searching import SUGGESTIONS_EXAMPLE, SearchAnswer, SuggestionsAnswer

pytestmark = pytest.mark.usefixtures("loaded_once")

Hits = dict[str, dict[str, Any]]


def names(answer: dict[str, Any]) -> list[str]:
    return [Path(hit["path"]).name for hit in answer["hits"]]


def test_an_answer_is_as_the_openapi_document_says(client: TestClient) -> None:
    response = client.get("/api/search", params={"q": "a motorcycle"})
    assert response.status_code == 200
    answer = SearchAnswer.model_validate(response.json())
    assert answer.total == len(answer.hits) > 0
    assert any(why.signal == "meaning" for why in answer.hits[0].why)


def test_without_a_query_all_photos_are_listed(client: TestClient) -> None:
    answer = client.get("/api/search").json()
    assert answer["total"] == len(answer["hits"]) == 11
    assert all(hit["score"] is None and hit["why"] == [] for hit in answer["hits"])


def test_pages_do_not_overlap_and_the_total_stays(client: TestClient) -> None:
    pages = [client.get("/api/search", params={"limit": 4, "offset": at}).json() for at in (0, 4, 8)]
    ids = [hit["id"] for page in pages for hit in page["hits"]]
    assert len(ids) == len(set(ids)) == 11
    assert {page["total"] for page in pages} == {11}


def test_further_pages_name_the_listing_of_the_first(client: TestClient, hits: Hits) -> None:
    photo = hits["chelsea.png"]["id"]
    for ask in (
        lambda **fields: client.get("/api/search", params={"q": "a motorcycle", "all": True, **fields}),
        lambda **fields: client.post("/api/search", data={"like": photo, **fields}),
        lambda **fields: client.get(f"/api/photos/{photo}/similar", params=fields),
    ):
        first = ask(limit=4).json()
        second = ask(limit=4, offset=4, listing=first["listing"]).json()
        assert second["listing"] == first["listing"] and second["total"] == first["total"]
        assert ask(limit=4, offset=4).json()["hits"] == second["hits"]
        assert ask(limit=4, offset=4).json()["listing"] != first["listing"]


def test_photos_of_one_moment_collapse_where_that_is_asked(
    sample_home: Home, hits: Hits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_RANKING_COPY_DISTANCE", "100")  # by which all photos are copies of each other
    photo = hits["chelsea.png"]["id"]
    with TestClient(create_app(sample_home), base_url="http://localhost") as client:
        for ask in (
            lambda **fields: client.get("/api/search", params={"q": "a motorcycle", "all": True, **fields}),
            lambda **fields: client.post("/api/search", data={"like": photo, **fields}),
            lambda **fields: client.get(f"/api/photos/{photo}/similar", params=fields),
        ):
            plain = SearchAnswer.model_validate(ask().json())
            answer = SearchAnswer.model_validate(ask(collapse=True).json())
            (hit,) = answer.hits
            assert [hit.id, *hit.others] == [one.id for one in plain.hits]
            assert (answer.total, answer.collapsed) == (1, plain.total - 1)
            assert plain.collapsed == 0 and not any(one.others for one in plain.hits)


def test_words_say_where_they_stand(client: TestClient) -> None:
    answer = client.get("/api/search", params={"q": "motorcycle", "mode": "words"}).json()
    assert names(answer) == ["motorcycle_left.png"]
    (why,) = [why for why in answer["hits"][0]["why"] if why["signal"] == "words"]
    assert why["field"] == "name"
    assert "motorcycle" in [part["text"] for part in why["parts"] if part["marked"]]


def test_a_picture_finds_itself(client: TestClient, sample_photos: Path) -> None:
    with open(sample_photos / "coffee.png", "rb") as file:
        response = client.post("/api/search", files={"image": ("x.png", file)}, data={"limit": "3"})
    assert response.status_code == 200
    answer = SearchAnswer.model_validate(response.json())
    assert Path(answer.hits[0].path).name == "coffee.png"
    assert len(answer.hits) == 3
    assert answer.hits[0].why[0].signal == "image"
    assert (answer.hits[0].why[0].similarity or 0) > 0.98


def test_hits_have_previews_of_their_photos(client: TestClient, sample_photos: Path) -> None:
    for hit in client.get("/api/search", params={"limit": 3}).json()["hits"]:
        preview = np.frombuffer(base64.b64decode(hit["preview"], validate=True), np.uint8)
        with Image.open(sample_photos / Path(hit["path"]).name) as photo:
            means = np.asarray(photo.convert("RGB").resize((4, 3), Image.Resampling.BOX), np.int32).ravel()
        assert np.abs(preview - means).max() < 12


def test_a_picture_and_text_combine(client: TestClient, sample_photos: Path) -> None:
    with open(sample_photos / "coffee.png", "rb") as file:
        answer = client.post("/api/search", files={"image": file}, data={"q": "a motorcycle"}).json()
    assert {why["signal"] for why in answer["hits"][0]["why"]} >= {"image", "meaning"}


def test_like_finds_others_than_the_photo_itself(client: TestClient, hits: Hits) -> None:
    photo = hits["chelsea.png"]["id"]
    posted = client.post("/api/search", data={"like": photo}).json()
    similar = client.get(f"/api/photos/{photo}/similar").json()
    assert posted["hits"] == similar["hits"]
    assert posted["total"] == 10
    assert photo not in [hit["id"] for hit in posted["hits"]]


def test_a_form_whose_file_was_left_empty_searches_by_text(client: TestClient) -> None:
    answer = client.post("/api/search", files={"image": ("", b"")}, data={"q": "motorcycle", "mode": "words"})
    assert names(answer.json()) == ["motorcycle_left.png"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"},
        {"limit": "501"},
        {"limit": "many"},
        {"offset": "-1"},
        {"offset": "10000001"},
        {"offset": "9" * 5000},
        {"mode": "guess"},
        {"sort": "size"},
        {"all": "perhaps"},
        {"collapse": "perhaps"},
        {"listing": "a" * 65},
        {"q": "a" * 2001},
        {"not": "a" * 2001},
    ],
)
def test_a_field_out_of_bounds_is_named(client: TestClient, parameters: dict[str, str]) -> None:
    (name,) = parameters
    document = assert_problem(client.get("/api/search", params=parameters), 422)
    assert [error["field"] for error in document["errors"]] == [f"query.{name}"]
    document = assert_problem(client.post("/api/search", data=parameters), 422)
    assert [error["field"] for error in document["errors"]] == [f"body.{name}"]


@pytest.mark.parametrize("query", ["\0", "a\0b", b"\xed\xa0\x80", '"', "-", '" OR *', "🐈" * 500])
def test_odd_text_is_answered(client: TestClient, query: str | bytes) -> None:
    for mode in ("auto", "words"):
        assert client.get("/api/search", params={"q": query, "not": query, "mode": mode}).status_code == 200


def test_an_impossible_query_is_a_400_with_a_sentence(client: TestClient) -> None:
    assert_problem(client.get("/api/search", params={"q": "after:2021-13-45"}), 400)


@pytest.mark.parametrize("like", ["0" * 32, "x", "../../etc/passwd", "0" * 32 + "\n"])
def test_like_of_an_unknown_photo_is_a_404(client: TestClient, like: str) -> None:
    assert_problem(client.post("/api/search", data={"like": like}), 404)


def test_conditions_say_what_was_understood_and_where_it_stands(client: TestClient) -> None:
    answer = client.get("/api/search", params={"q": 'a 🏍 type:png -"a dog"'}).json()
    assert answer["conditions"] == [
        {"kind": "filter", "value": "png", "key": "type", "negative": False, "start": 4, "end": 12},
        {"kind": "excluded", "value": "a dog", "key": None, "negative": True, "start": 13, "end": 21},
    ]


def test_facets_count_all_hits_whatever_the_page(client: TestClient) -> None:
    everything = client.get("/api/search", params={"limit": 1, "facets": True}).json()
    assert SearchAnswer.model_validate(everything).facets is not None
    facets = everything["facets"]
    assert facets["photos"] == everything["total"] == 11
    assert sum(value["photos"] for value in facets["type"]) == 11
    for value in facets["type"] + facets["orientation"]:
        found = client.get("/api/search", params={"q": value["filter"], "facets": True}).json()
        assert found["total"] == found["facets"]["photos"] == value["photos"]
    asked = {"q": "a motorcycle", "mode": "meaning", "limit": 1, "facets": True}
    found = client.get("/api/search", params=asked).json()
    assert found["facets"]["photos"] == found["total"] < 11
    assert client.get("/api/search", params={**asked, "listing": found["listing"]}).json()["facets"] == found["facets"]
    assert "facets" not in client.get("/api/search").json()


def test_the_last_word_of_a_query_is_completed(client: TestClient) -> None:
    answer = client.get("/api/suggest", params={"q": "a dog type:p"}).json()
    assert SuggestionsAnswer.model_validate(answer).suggestions[0].text == "type:png"
    assert (answer["start"], answer["end"]) == (6, 12)
    assert SuggestionsAnswer.model_validate(SUGGESTIONS_EXAMPLE)
    assert_problem(client.get("/api/suggest", params={"q": "x" * 2001}), 422)


def test_a_part_of_a_photo_is_searched_by_without_that_photo(client: TestClient, hits: Hits) -> None:
    cat = hits["chelsea.png"]["id"]
    found = names(client.post("/api/search", data={"like": f"{cat}@0.1,0,0.6,0.7"}).json())
    assert len(found) == 10 and "chelsea.png" not in found
    whole = client.post("/api/search", data={"like": cat}).json()["hits"]
    part = client.post("/api/search", data={"like": f"{cat}@0.1,0,0.6,0.7"}).json()["hits"]
    assert {hit["id"]: hit["score"] for hit in part} != {hit["id"]: hit["score"] for hit in whole}
    # All of it is the whole photo, embedded anew.
    all_of_it = client.post("/api/search", data={"like": f"{cat}@0,0,1,1"}).json()["hits"]
    assert [hit["id"] for hit in all_of_it][:3] == [hit["id"] for hit in whole][:3]


def test_a_part_is_cut_from_the_original(client: TestClient, hits: Hits, sample_photos: Path) -> None:
    """The same pixels, uploaded, give the same answer, to the last digit: a thumbnail's are not the same."""
    hit = hits["hubble_deep_field.jpg"]
    with Image.open(sample_photos / "hubble_deep_field.jpg") as image:
        left, top, side = 0.25, 0.25, round(0.3 * image.height)
        box = (round(left * image.width), round(top * image.height))
        upload = io.BytesIO()
        image.crop((*box, box[0] + side, box[1] + side)).save(upload, "PNG")
        right, bottom = left + side / image.width, top + side / image.height
    fields = {"like": f"{hit['id']}@{left},{top},{right:.6f},{bottom:.6f}"}
    by_part = client.post("/api/search", data=fields).json()["hits"]
    uploaded = client.post("/api/search", files={"image": upload.getvalue()}).json()["hits"]
    others = {one["id"]: one["score"] for one in uploaded}
    assert [one["score"] for one in by_part] == pytest.approx([others[one["id"]] for one in by_part], abs=2e-6)


@pytest.mark.parametrize(
    ("box", "status"),
    [("0.5,0,0.4,1", 422), ("0,0,1", 422), ("a,b,c,d", 422), ("0,0,2,1", 422), ("0.1,0.1,0.11,0.11", 422), ("", 422)],
)
def test_a_part_that_is_none_is_refused_with_a_sentence(client: TestClient, hits: Hits, box: str, status: int) -> None:
    assert_problem(client.post("/api/search", data={"like": f"{hits['chelsea.png']['id']}@{box}"}), status)


def test_a_part_of_an_unknown_photo_is_a_404(client: TestClient) -> None:
    assert_problem(client.post("/api/search", data={"like": f"{'0' * 32}@0,0,1,1"}), 404)
    assert_problem(client.post("/api/search", data={"like": "../../etc/passwd@0,0,1,1"}), 404)
