"""Pictures that are sent: bounded in bytes and in pixels, and never trusted."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import UploadFile
from fastapi.testclient import TestClient
from PIL import Image
from problem_checks import assert_problem

from search.home import Home
from web.app import create_app
from web.guards import FORM_OVERHEAD, SMALL_BODY
from web.settings import ServerSettings
from web.uploads import Decoder

pytestmark = pytest.mark.usefixtures("loaded_once")

BOUNDARY = "limit"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture(scope="module")
def small(sample_home: Home) -> Iterator[TestClient]:
    """A server that takes 100 kB and a million pixels."""
    settings = ServerSettings(max_upload_bytes=100_000, max_upload_pixels=1_000_000)
    with TestClient(create_app(sample_home, settings), base_url="http://localhost") as client:
        yield client


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, kind)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims to be enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_pictures_of_every_kind_are_taken(small: TestClient, kind: str) -> None:
    answer = small.post("/api/search", files={"image": picture(120, 80, kind)})
    assert answer.status_code == 200
    assert answer.json()["hits"]


def test_a_declared_length_beyond_the_limit_is_refused_unread(small: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    response = small.post(
        "/api/search", content=endless(), headers={**HEADERS, "Content-Length": str(100_000 + FORM_OVERHEAD + 1)}
    )
    assert "smaller" in assert_problem(response, 413)["detail"]
    assert response.headers["connection"] == "close"


def test_a_stream_beyond_the_limit_is_cut_off(small: TestClient) -> None:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'.encode()

    def stream() -> Iterator[bytes]:
        yield head
        for _ in range(100):
            yield bytes(10_000)

    assert_problem(small.post("/api/search", content=stream(), headers=HEADERS), 413)


def test_a_file_between_the_two_limits_is_refused(small: TestClient) -> None:
    assert_problem(small.post("/api/search", files={"image": bytes(100_001)}), 413)


def test_too_many_pixels_are_refused_before_they_are_decoded(small: TestClient) -> None:
    document = assert_problem(small.post("/api/search", files={"image": bomb(60_000, 60_000)}), 422)
    assert "pixels" in document["detail"]
    assert_problem(small.post("/api/search", files={"image": bomb(1_001, 1_000)}), 422)


@pytest.mark.parametrize(("size", "kept"), [((4096, 2048), (2048, 1024)), ((24000, 700), (12000, 350))])
def test_a_large_picture_is_kept_no_larger_than_a_model_sees(size: tuple[int, int], kept: tuple[int, int]) -> None:
    decoder = Decoder(ServerSettings())
    upload = UploadFile(io.BytesIO(picture(*size)))
    try:
        with ThreadPoolExecutor(1) as pool:  # where no event loop runs yet
            assert pool.submit(asyncio.run, decoder.query_image(upload)).result().size == kept
    finally:
        decoder.decoders.close()


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/api/searches", "json"),
        ("PUT", "/api/photos/00000000000000000000000000000000/caption", "json"),
        ("POST", "/api/duplicates/dismissals", "json"),
        ("POST", "/api/jobs", "json"),
        ("POST", "/api/archive", "x-www-form-urlencoded"),
        ("POST", "/api/search", "x-www-form-urlencoded"),
    ],
)
def test_only_pictures_may_be_large(small: TestClient, method: str, path: str, kind: str) -> None:
    # 22 MB of JSON kept a server busy for two minutes.
    headers = {"Content-Type": f"application/{kind}"}
    document = assert_problem(small.request(method, path, content=b"[" * (SMALL_BODY + 1), headers=headers), 413)
    assert "64 KiB" in document["detail"]
    stream = iter([b"a" * 1000] * 66)
    assert_problem(small.request(method, path, content=stream, headers=headers), 413)


def test_uploads_beyond_what_the_server_holds_are_asked_to_come_again(
    small: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.guards.MOST_HELD", 5_000)
    response = small.post("/api/search", files={"image": bytes(6_000)})
    assert "try again" in assert_problem(response, 503)["detail"] and response.headers["retry-after"] == "5"
    # What was held is given back.
    for _ in range(3):
        assert small.post("/api/search", files={"image": picture(120, 80)}).status_code == 200


@pytest.mark.parametrize("body", [b"[" * 50_000, b'{"name":' * 8_000, b'{"name": NaN}', b'{"name": "\xc0\xaf"}'])
def test_json_that_is_none_is_the_client_s_fault(small: TestClient, body: bytes) -> None:
    response = small.post("/api/searches", content=body, headers={"Content-Type": "application/json"})
    assert_problem(response, response.status_code)
    assert response.status_code in (400, 422)


JPEG = picture(90, 90, "JPEG")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\xff\xd8\xff",
        picture(90, 90, "JPEG")[:400],
    ],
)
def test_what_is_no_picture_is_refused_with_a_sentence(small: TestClient, content: bytes) -> None:
    document = assert_problem(small.post("/api/search", files={"image": ("a.jpg", content)}), 422)
    assert document["detail"].startswith("The picture cannot be searched by: ")


FIELD = b'--limit\r\nContent-Disposition: form-data; name="q"\r\n\r\n%s\r\n--limit--\r\n'


def charset(name: str) -> dict[str, str]:
    return {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}; charset={name}"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", HEADERS),
        (b"nonsense", HEADERS),
        (b"nonsense", {"Content-Type": "multipart/form-data"}),
        (b"--limit\r\n\r\n\r\n--limit--", HEADERS),
        (FIELD % b"x", charset("hex")),
        (FIELD % b"x", charset("a\0b")),
        (FIELD % b"\xff\xd8", charset("utf-16")),
        (FIELD % b"+2AA-", charset("utf-7")),
        (b'{"q": 1}', {"Content-Type": "application/json"}),
        (b"\xff\xfe", {"Content-Type": "application/x-www-form-urlencoded"}),
    ],
)
def test_malformed_forms_are_the_client_s_fault(small: TestClient, body: bytes, headers: dict[str, str]) -> None:
    response = small.post("/api/search", content=body, headers=headers)
    assert response.status_code < 500
    if response.status_code != 200:
        assert_problem(response, response.status_code)


def test_text_where_a_file_belongs_is_a_422(small: TestClient) -> None:
    assert_problem(small.post("/api/search", data={"image": "text"}), 422)


def test_a_length_that_is_no_number_is_refused(small: TestClient) -> None:
    assert_problem(small.post("/api/search", content=b"x", headers={"Content-Length": "-1"}), 400)
