"""One photo over HTTP: its document, its thumbnails and its file, and nothing but these."""

from __future__ import annotations

import io
import os
import shutil
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
from web.app import create_app
from web.documents.photos import PhotoDocument
from web.endpoints.pictures import MEDIA_TYPES
from web.photo_files import safe_name

pytestmark = pytest.mark.usefixtures("loaded_once")

Hits = dict[str, dict[str, Any]]


def test_a_photo_tells_what_is_known(client: TestClient, hits: Hits, sample_photos: Path) -> None:
    photo = PhotoDocument.model_validate(client.get(f"/api/photos/{hits['rocket.jpg']['id']}").json())
    assert photo.paths == [str(sample_photos / "rocket.jpg")]
    assert (photo.width, photo.height, photo.format) == (640, 427, "JPEG")
    assert photo.bytes == (sample_photos / "rocket.jpg").stat().st_size
    assert photo.kind == "photo"
    assert "building" in {tag.tag for tag in photo.tags}
    assert [tag.score for tag in photo.tags] == sorted((tag.score for tag in photo.tags), reverse=True)
    assert all(0 < tag.score <= 1 for tag in photo.tags)
    for url in (
        photo.urls.thumb,
        photo.urls.medium,
        photo.urls.large,
        photo.urls.picture,
        photo.urls.file,
        photo.urls.similar,
    ):
        assert client.get(url).status_code == 200


@pytest.mark.parametrize(("size", "longest"), [("small", 320), ("large", 640)])
def test_thumbnails_keep_the_proportions(client: TestClient, hits: Hits, size: str, longest: int) -> None:
    response = client.get(f"/api/photos/{hits['rocket.jpg']['id']}/thumb", params={"size": size})
    assert response.headers["content-type"] == "image/webp"
    image = Image.open(io.BytesIO(response.content))
    assert image.format == "WEBP"
    assert max(image.size) == longest
    assert image.width / image.height == pytest.approx(640 / 427, rel=0.01)


@pytest.mark.parametrize("what", ["thumb", "picture", "file"])
def test_a_picture_is_not_sent_twice(client: TestClient, hits: Hits, what: str) -> None:
    url = f"/api/photos/{hits['rocket.jpg']['id']}/{what}"
    etag = client.get(url).headers["etag"]
    again = client.get(url, headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    assert client.head(url).status_code == 200


def test_the_file_comes_byte_for_byte(client: TestClient, hits: Hits, sample_photos: Path) -> None:
    response = client.get(f"/api/photos/{hits['rocket.jpg']['id']}/file")
    assert response.content == (sample_photos / "rocket.jpg").read_bytes()
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["content-disposition"] == 'inline; filename="rocket.jpg"'
    assert "sandbox" in response.headers["content-security-policy"]


def test_ranges_of_the_file(client: TestClient, hits: Hits, sample_photos: Path) -> None:
    url = f"/api/photos/{hits['rocket.jpg']['id']}/file"
    content = (sample_photos / "rocket.jpg").read_bytes()
    part = client.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    beyond = client.get(url, headers={"Range": f"bytes={len(content)}-"})
    assert_problem(beyond, 416)
    assert beyond.headers["content-range"] == f"bytes */{len(content)}"
    assert_problem(client.get(url, headers={"Range": "bytes=nonsense"}), 400)


def test_a_hostile_name_stays_a_name(client: TestClient, hits: Hits) -> None:
    (hostile_name,) = [name for name in hits if "<" in name]
    disposition = client.get(f"/api/photos/{hits[hostile_name]['id']}/file").headers["content-disposition"]
    assert disposition.startswith("inline; filename")
    assert not set('<>"') & set(disposition.partition("''")[2])


@pytest.mark.parametrize(
    ("name", "safe"),
    [("a/../b.jpg", "b.jpg"), ('x"; y\r\nz.jpg', "x_; y__z.jpg"), ("\udcff.jpg", "\ufffd.jpg"), ("...", "photo")],
)
def test_names_to_save_under_are_safe(name: str, safe: str) -> None:
    assert safe_name(Path(name)) == safe


@pytest.mark.parametrize("what", ["", "/thumb", "/picture", "/file", "/similar", "/why?q=a+dog"])
@pytest.mark.parametrize("photo", ["0" * 32, "0" * 31, "0" * 33, "G" * 32, "A" * 32, "%00" * 32, "1", "-1", "٣" * 32])
def test_an_id_that_names_no_photo_is_a_404(client: TestClient, photo: str, what: str) -> None:
    assert_problem(client.get(f"/api/photos/{photo}{what}"), 404)


@pytest.mark.parametrize(
    "path",
    [
        "/api/photos/../../etc/passwd",
        "/api/photos/..%2f..%2fetc%2fpasswd",
        "/api/photos/%2e%2e/%2e%2e/etc/passwd",
        "/api/photos/..%252f..%252fetc%252fpasswd/file",
        "/api/photos/%2fetc%2fpasswd/file",
        "/api/photos/..%5c..%5cetc%5cpasswd/thumb",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/%00",
        "/static//etc/passwd",
        "/static/" + "a" * 5000,
        "/api/photos/",
        "/api/photos/a/b/c",
        "/nothing/here",
    ],
)
def test_no_address_leads_out(client: TestClient, path: str) -> None:
    assert_problem(client.get(path), 404)


def test_a_file_that_has_gone_or_changed_is_not_shown(tmp_path: Path, sample_photos: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "same size.bmp")
    for name in ("rocket.jpg", "coffee.png", "chelsea.png"):
        shutil.copy(sample_photos / name, folder)
    home = Home(tmp_path / "home")
    run_index(home, [folder], IndexOptions(model="starter", captions="off"), Silent())
    client = TestClient(create_app(home), base_url="http://127.0.0.1")
    ids = {Path(hit["path"]).name: hit["id"] for hit in client.get("/api/search").json()["hits"]}
    assert client.get(f"/api/photos/{ids['chelsea.png']}/thumb").status_code == 200

    (folder / "rocket.jpg").unlink()
    (folder / "coffee.png").write_bytes(b"something else")
    (folder / "chelsea.png").unlink()
    os.mkfifo(folder / "rocket.jpg")
    Image.new("RGB", (64, 64), "blue").save(folder / "same size.bmp")

    for name in ids:
        assert "sightline index" in assert_problem(client.get(f"/api/photos/{ids[name]}/file"), 404)["detail"]
    for name in ("rocket.jpg", "coffee.png", "same size.bmp"):
        assert_problem(client.get(f"/api/photos/{ids[name]}/thumb"), 404)
    # A thumbnail that was made is shown even while the photo's disk is away.
    assert client.get(f"/api/photos/{ids['chelsea.png']}/thumb").status_code == 200


def test_a_file_that_was_only_touched_is_shown(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "photos" / "a.png")
    home = Home(tmp_path / "home")
    run_index(home, [tmp_path / "photos"], IndexOptions(model="starter", captions="off"), Silent())
    os.utime(tmp_path / "photos" / "a.png", (1, 1))
    client = TestClient(create_app(home), base_url="http://127.0.0.1")
    (hit,) = client.get("/api/search").json()["hits"]
    assert client.get(f"/api/photos/{hit['id']}/file").status_code == 200


def test_no_file_is_shown_as_something_that_runs_script() -> None:
    assert not any("svg" in kind or "html" in kind or "xml" in kind for kind in MEDIA_TYPES.values())


def test_own_caption_is_kept_shown_and_found(client: TestClient, hits: Hits) -> None:
    url = f"/api/photos/{hits['coffee.png']['id']}"
    kept = PhotoDocument.model_validate(client.put(f"{url}/caption", json={"caption": "Our  old kitchen"}).json())
    assert (kept.caption, kept.caption_by, kept.text) == ("Our old kitchen", "you", [])
    found = client.get("/api/search", params={"q": "kitchen", "mode": "words"}).json()["hits"]
    assert [hit["caption"] for hit in found] == ["Our old kitchen"]
    assert client.put(f"{url}/caption", json={"caption": ""}).json()["caption_by"] is None
    assert client.get(url).json()["caption"] is None


def test_caption_is_refused_from_another_site_for_no_photo_and_without_end(client: TestClient, hits: Hits) -> None:
    url = f"/api/photos/{hits['coffee.png']['id']}/caption"
    assert_problem(client.put(url, json={"caption": "x"}, headers={"Origin": "http://elsewhere"}), 403)
    assert_problem(client.put(url, json={"caption": "x" * 2001}), 422)
    assert_problem(client.put(url, json={}), 422)
    assert_problem(client.put(f"/api/photos/{'0' * 32}/caption", json={"caption": "x"}), 404)
    assert_problem(client.put("/api/photos/coffee.png/caption", json={"caption": "x"}), 404)
