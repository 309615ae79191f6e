"""Several photos in one zip file, sent while it is made."""

from __future__ import annotations

import contextlib
import io
import socket
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from problem_checks import assert_problem
from serving import running_server, server_process

from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home
from web.app import create_app
from web.archives import MISSING
from web.endpoints.archive import AT_ONCE, MOST_PHOTOS

pytestmark = pytest.mark.usefixtures("loaded_once")

Hits = dict[str, dict[str, Any]]


def unpacked(response: Any) -> dict[str, bytes]:
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/zip"
    assert int(response.headers["content-length"]) == len(response.content)
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Path]:
    """A home with photos of one name in two folders, and one that no buffer of a connection holds."""
    folder = tmp_path_factory.mktemp("large")
    for number, colour in enumerate(("red", "green")):
        (folder / str(number)).mkdir()
        Image.new("RGB", (64, 64), colour).save(folder / str(number) / f"{'Aa'[number]}.png")
    Image.new("RGB", (4000, 4000), "blue").save(folder / "large.bmp")
    home = Home(tmp_path_factory.mktemp("home"))
    run_index(home, [folder], IndexOptions(model="starter", captions="off"), Silent())
    return home, folder


@pytest.fixture(scope="module")
def ids(large: tuple[Home, Path]) -> dict[str, str]:
    client = TestClient(create_app(large[0]), base_url="http://127.0.0.1")
    return {Path(hit["path"]).name: hit["id"] for hit in client.get("/api/search").json()["hits"]}


def test_the_files_come_as_they_are_each_once(client: TestClient, hits: Hits, sample_photos: Path) -> None:
    names = ["rocket.jpg", "coffee.png", "rocket.jpg"]
    response = client.post("/api/archive", data={"photos": " ".join(hits[name]["id"] for name in names)})
    assert unpacked(response) == {name: (sample_photos / name).read_bytes() for name in names}
    assert response.headers["content-disposition"] == 'attachment; filename="sightline-2-photos.zip"'


def test_names_are_safe_and_no_two_are_one_to_any_file_system(
    client: TestClient, hits: Hits, large: tuple[Home, Path], ids: dict[str, str]
) -> None:
    (hostile,) = [name for name in hits if "<" in name]
    (name,) = unpacked(client.post("/api/archive", data={"photos": hits[hostile]["id"]}))
    assert not set('<>"/\\:') & set(name)
    one = TestClient(create_app(large[0]), base_url="http://127.0.0.1")
    both = unpacked(one.post("/api/archive", data={"photos": f"{ids['A.png']} {ids['a.png']}"}))
    assert list(both) == ["A.png", "a (2).png"]


def test_a_file_that_has_gone_or_changed_is_named_inside(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in (("gone.png", "red"), ("changed.png", "green"), ("here.png", "blue")):
        Image.new("RGB", (64, 64), colour).save(folder / name)
    home = Home(tmp_path / "home")
    run_index(home, [folder], IndexOptions(model="starter", captions="off"), Silent())
    client = TestClient(create_app(home), base_url="http://127.0.0.1")
    ids = {Path(hit["path"]).name: hit["id"] for hit in client.get("/api/search").json()["hits"]}
    (folder / "gone.png").unlink()
    Image.new("RGB", (64, 64), "white").save(folder / "changed.png")
    held = unpacked(client.post("/api/archive", data={"photos": " ".join(sorted(ids.values()))}))
    assert held.keys() == {"here.png", MISSING}
    told = held[MISSING].decode()
    assert str(folder / "gone.png") in told and str(folder / "changed.png") in told and "here.png" not in told
    alone = client.post("/api/archive", data={"photos": ids["gone.png"]})
    assert "sightline index" in assert_problem(alone, 404)["detail"]


def test_a_photo_that_has_left_the_index_is_named_inside(client: TestClient, hits: Hits, sample_photos: Path) -> None:
    held = unpacked(client.post("/api/archive", data={"photos": f"{'f' * 32} {hits['rocket.jpg']['id']}"}))
    assert held.keys() == {"rocket.jpg", MISSING} and "f" * 32 in held[MISSING].decode()


@pytest.mark.parametrize(
    ("photos", "status"),
    [("", 422), ("  ", 422), ("0" * 32, 404), ("../../etc/passwd", 404)],
)
def test_what_cannot_be_sent_is_said_before_anything_is(client: TestClient, photos: str, status: int) -> None:
    assert_problem(client.post("/api/archive", data={"photos": photos}), status)


def test_no_more_than_so_many_and_from_no_other_site(client: TestClient, hits: Hits) -> None:
    many = " ".join(f"{number:032x}" for number in range(MOST_PHOTOS + 1))
    assert f"1 to {MOST_PHOTOS:,}" in assert_problem(client.post("/api/archive", data={"photos": many}), 422)["detail"]
    photo = hits["rocket.jpg"]["id"]
    elsewhere = client.post("/api/archive", data={"photos": photo}, headers={"Origin": "http://elsewhere"})
    assert_problem(elsewhere, 403)


@contextlib.contextmanager
def begun(address: str, photo: str) -> Iterator[None]:
    with httpx.stream("POST", f"{address}api/archive", data={"photos": photo}, timeout=30) as response:
        assert response.status_code == 200
        content = response.iter_bytes()  # kept: without it the connection ends
        next(content)
        yield
        del content


def test_whoever_takes_nothing_any_more_makes_room(large: tuple[Home, Path], ids: dict[str, str]) -> None:
    constants = {"web.connections": {"STALLED_SECONDS": 0.5, "UNSENT_BYTES": 4096}}
    with contextlib.ExitStack() as stack:
        _, address = stack.enter_context(server_process(large[0], constants=constants))
        port = httpx.URL(address).port
        body = f"photos={ids['large.bmp']}"
        head = "POST /api/archive HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        for _ in range(AT_ONCE):
            stalled = stack.enter_context(socket.socket())
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(("127.0.0.1", port))
            stalled.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            assert stalled.recv(12) == b"HTTP/1.1 200"

        def ask() -> httpx.Response:
            return httpx.post(f"{address}api/archive", data={"photos": ids["a.png"]}, timeout=30)

        deadline = time.monotonic() + 20
        while (response := ask()).status_code == 503 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(unpacked(response)) == ["a.png"]


def test_few_are_sent_at_once_and_whoever_hangs_up_makes_room(large: tuple[Home, Path], ids: dict[str, str]) -> None:
    with running_server(large[0]) as address:

        def ask() -> httpx.Response:
            return httpx.post(f"{address}api/archive", data={"photos": ids["a.png"]}, timeout=30)

        with contextlib.ExitStack() as stack:
            for _ in range(AT_ONCE):
                stack.enter_context(begun(address, ids["large.bmp"]))
            refused = ask()
            assert_problem(refused, 503)
            assert int(refused.headers["retry-after"]) > 0
        deadline = time.monotonic() + 10
        while (response := ask()).status_code == 503 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(unpacked(response)) == ["a.png"]
