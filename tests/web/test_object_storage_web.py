"""A library in S3, spoken to over HTTP: indexed, followed, shown, and missed when it is away."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from indexer.report import IndexOptions, IndexReport
from indexer.run import run_index
from indexer.storage import addresses, remote
from search.answer import Request
from search.engine import Engine
from search.home import Home
from web.app import create_app
from web.settings import ServerSettings

pytest.importorskip("s3fs")
pytestmark = pytest.mark.usefixtures("loaded_once")
ROOT = "s3://holidays/2024 summer"
OPTIONS = IndexOptions(model="starter", captions="off", download=False)


def jpeg(seed: int) -> bytes:
    colours = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(colours).resize((64, 48), Image.Resampling.BICUBIC).save(content, "JPEG")
    return content.getvalue()


class S3:
    """A server of its own, what it is asked, and a client that fills it."""

    def __init__(self, server: Any, client: Any) -> None:
        self.server = server
        self.client = client
        self.asked: list[tuple[str, str]] = []

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket="holidays", Key=f"2024 summer/{name}", Body=content)

    def opened(self) -> list[str]:
        """Objects whose content was asked for since the last time."""
        seen, self.asked = self.asked, []
        return [path for method, path in seen if method == "GET" and path.endswith(".jpg")]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    from botocore.session import get_session
    from moto.server import ThreadedMotoServer
    from werkzeug.serving import WSGIRequestHandler

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOFATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-a-test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    addresses.system_of.cache_clear()
    remote._health.clear()
    made = S3(server, get_session().create_client("s3"))
    log = WSGIRequestHandler.log_request

    def heard(handler: Any, *arguments: Any) -> None:
        made.asked.append((handler.command, handler.path.partition("?")[0]))
        log(handler, *arguments)

    monkeypatch.setattr(WSGIRequestHandler, "log_request", heard)
    made.client.create_bucket(Bucket="holidays")
    try:
        yield made
    finally:
        server.stop()
        addresses.system_of.cache_clear()
        remote._health.clear()


def counts(report: IndexReport) -> dict[str, int]:
    return {name: value for name, value in report.counts().items() if value and name != "tagged"}


def test_photos_in_s3_are_indexed_followed_and_shown(home: Home, s3: S3, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        s3.put(f"{number}.jpg" if number < 3 else f"beach/{number}.jpg", jpeg(number))
    s3.put("beach/", b"")
    s3.put("beach/notes.txt", b"no photo")
    assert counts(run_index(home, [ROOT], OPTIONS)) == {"added": 5, "embedded": 5}
    assert len(set(s3.opened())) == 5
    assert counts(run_index(home)) == {"unchanged": 5} and s3.opened() == []

    s3.put("0.jpg", jpeg(0)[:-2] + b"\xff\xd9")  # the very same: another time, the same photo
    s3.put("1.jpg", jpeg(10))
    s3.put("new.jpg", jpeg(11))
    s3.client.delete_object(Bucket="holidays", Key="2024 summer/beach/4.jpg")
    report = run_index(home)
    assert counts(report) == {"added": 1, "updated": 1, "removed": 1, "unchanged": 3, "embedded": 2}

    with TestClient(create_app(home, ServerSettings()), base_url="http://127.0.0.1:8000") as web:
        hits = {hit["path"]: hit for hit in web.get("/api/search", params={"q": "folder:beach"}).json()["hits"]}
        (hit,) = hits.values()
        assert hit["path"] == f"{ROOT}/beach/3.jpg"
        thumb = web.get(f"/api/photos/{hit['id']}/thumb")
        assert thumb.status_code == 200 and Image.open(io.BytesIO(thumb.content)).size == (64, 48)
        file = web.get(f"/api/photos/{hit['id']}/file")
        assert file.content == jpeg(3) and 'filename="3.jpg"' in file.headers["content-disposition"]
        part = web.get(f"/api/photos/{hit['id']}/file", headers={"range": "bytes=2-5"})
        assert part.status_code == 206 and part.content == jpeg(3)[2:6]
        assert web.head(f"/api/photos/{hit['id']}/file").headers["content-length"] == str(len(jpeg(3)))
        assert web.get(f"/api/photos/{hit['id']}/picture").content == jpeg(3)
        packed = web.post("/api/archive", data={"photos": hit["id"]})
        assert zipfile.ZipFile(io.BytesIO(packed.content)).read("3.jpg") == jpeg(3)

        s3.server.stop()
        began = time.monotonic()
        report = run_index(home)
        assert time.monotonic() - began < 30 and counts(report) == {}
        assert len(report.waits) == 1 and report.waits[0].startswith(f"{ROOT} cannot be listed (")
        assert web.get(f"/api/photos/{hit['id']}/thumb").content == thumb.content  # it was kept
        gone = web.get(f"/api/photos/{hit['id']}/file")
        assert gone.status_code == 404
        assert {hit["offline"] for hit in web.get("/api/search").json()["hits"]} == {True}
    with Engine.open(home) as engine:
        assert len(engine.search(Request()).hits) == 5
    said = capfd.readouterr()
    assert "a-secret-of-a-test" not in said.out + said.err + " ".join(report.waits) + gone.text
    assert b"a-secret-of-a-test" not in home.catalog_path.read_bytes()
    assert "AKIAOFATEST" not in " ".join(report.waits)
