"""Duplicates over HTTP: groups of copies, and what a person says of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from problem_checks import assert_problem
from support import picture

from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home
from web.app import create_app
from web.documents.duplicates import DUPLICATES_EXAMPLE, DismissalAnswer, DuplicatesAnswer

pytestmark = pytest.mark.usefixtures("loaded_once")

UNKNOWN = "0" * 32
DISMISSALS = "/api/duplicates/dismissals"


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of an index with some pictures, one of them in two files, another saved three times."""
    root = tmp_path_factory.mktemp("duplicates")
    (root / "photos").mkdir()
    for seed in range(8):
        picture(root / "photos" / f"{seed}.jpg", seed, size=(320, 240))
    shutil.copy(root / "photos" / "1.jpg", root / "photos" / "one again.jpg")
    with Image.open(root / "photos" / "2.jpg") as original:
        for quality in (92, 60):
            original.save(root / "photos" / f"two, quality {quality}.jpg", quality=quality)
    run_index(Home(root / "home"), [root / "photos"], IndexOptions(model="starter", captions="off"))
    with TestClient(create_app(Home(root / "home")), base_url="http://localhost") as client:
        yield client


def groups(client: TestClient, **fields: int | str) -> DuplicatesAnswer:
    response = client.get("/api/duplicates", params=fields)
    assert response.status_code == 200
    return DuplicatesAnswer.model_validate(response.json())


def said(client: TestClient, method: str, *photos: str) -> Any:
    return client.request(method, DISMISSALS, json={"photos": photos})


def names(answer: DuplicatesAnswer, kind: str) -> list[list[str]]:
    return [
        sorted(Path(path).name for photo in group.photos for path in photo.paths)
        for group in answer.groups
        if group.kind == kind
    ]


def test_the_example_is_an_answer() -> None:
    DuplicatesAnswer.model_validate(DUPLICATES_EXAMPLE)


def test_exact_and_near_copies_come_in_groups_with_the_best_first(copies: TestClient) -> None:
    answer = groups(copies)
    assert names(answer, "exact") == [["1.jpg", "one again.jpg"]]
    assert names(answer, "near") == [["2.jpg", "two, quality 60.jpg", "two, quality 92.jpg"]]
    assert (answer.total, answer.unhashed) == (2, 0)
    assert answer.reclaimable == sum(group.reclaimable for group in answer.groups)
    assert [group.reclaimable for group in answer.groups] == sorted(
        (group.reclaimable for group in answer.groups), reverse=True
    )
    for group in answer.groups:
        best, *others = group.photos
        assert (group.best, best.bits, best.distance) == (best.id, 0, 0)
        assert all((photo.width, photo.height, photo.format) == (320, 240, "JPEG") for photo in group.photos)
        assert all(photo.bytes <= best.bytes and photo.bits <= 4 and photo.distance <= 0.5 for photo in others)
        known = copies.get(f"/api/photos/{best.id}").json()
        assert best.model_dump(exclude={"bits", "distance", "files"}) == {
            name: known[name] for name in type(best).model_fields if name in known
        }


def test_pages_of_groups_do_not_overlap(copies: TestClient) -> None:
    pages = [groups(copies, limit=1, offset=offset) for offset in range(3)]
    assert [group for page in pages for group in page.groups] == groups(copies).groups
    assert {page.total for page in pages} == {2}


def test_one_kind_alone_is_counted_and_paged_by_itself(copies: TestClient) -> None:
    both = groups(copies)
    for kind, total in (("exact", both.kinds.exact), ("near", both.kinds.near)):
        answer = groups(copies, kind=kind)
        assert answer.groups == [group for group in both.groups if group.kind == kind]
        assert (answer.total, answer.reclaimable) == (total.total, total.reclaimable) != (0, 0)
        assert groups(copies, kind=kind, offset=1).groups == []
    assert both.kinds.exact.reclaimable + both.kinds.near.reclaimable == both.reclaimable
    assert_problem(copies.get("/api/duplicates?kind=some"), 422)


def test_what_is_said_of_a_group_holds_until_it_is_taken_back(copies: TestClient) -> None:
    (before,) = [group for group in groups(copies).groups if group.kind == "near"]
    best, first, second = [photo.id for photo in before.photos]
    assert DismissalAnswer.model_validate(said(copies, "POST", first, second, best).json()).pairs == 3
    assert names(groups(copies), "near") == []
    assert said(copies, "DELETE", best, second).json() == {"pairs": 1}
    assert [photo.id for group in groups(copies).groups if group.kind == "near" for photo in group.photos] == [
        best,
        second,
    ]
    assert said(copies, "DELETE", first, second, best).json() == {"pairs": 2}
    assert before in groups(copies).groups


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_what_cannot_be_said_is_a_sentence(copies: TestClient, method: str) -> None:
    known = groups(copies).groups[0].best
    assert_problem(said(copies, method, known, UNKNOWN), 404)
    assert_problem(said(copies, method, known, "../etc/passwd"), 404)
    assert_problem(said(copies, method, known), 422)
    assert_problem(said(copies, method, *[UNKNOWN] * 101), 422)
    assert_problem(copies.request(method, DISMISSALS, json={"photos": known}), 422)
    assert said(copies, method, known, known).json() == {"pairs": 0}


def test_without_an_index_the_answer_says_what_to_do(tmp_path: Path) -> None:
    with TestClient(create_app(Home(tmp_path)), base_url="http://localhost") as client:
        assert "sightline index" in assert_problem(client.get("/api/duplicates"), 503)["detail"]
        assert "sightline index" in assert_problem(said(client, "POST", UNKNOWN, "1" * 32), 503)["detail"]


def test_a_photo_in_very_many_files_has_an_answer_of_bounded_size(
    copies: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.endpoints.duplicates.MOST_PATHS", 1)
    (exact,) = (group for group in groups(copies).groups if group.kind == "exact")
    assert (exact.copies, len(exact.photos[0].paths), exact.photos[0].files) == (1, 1, 2)
