"""A picture that kills what decodes it costs one answer, be it sent or in the library; the server goes on."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile_tasks as hostile
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from problem_checks import assert_problem
from support import picture

from indexer.decoding.pool import Pool
from indexer.decoding.settings import DecodingSettings
from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home
from web.app import create_app

HARMS = {"crash": hostile.SEGFAULT, "endless": hostile.ENDLESS, "greedy": hostile.GREEDY}
SENTENCES = {"crash": "crashed (SIGSEGV)", "endless": "takes longer than 0.5 s", "greedy": "needs more memory"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with sound photos and harmful ones, of which its decoders are the first to take harm."""
    photos = tmp_path_factory.mktemp("photos")
    for number, (name, harm) in enumerate({"sound": b"", **HARMS}.items()):
        picture(photos / f"{name}.jpg", number, (400, 300))
        Image.open(photos / f"{name}.jpg").save(photos / f"{name}.tif")
        for file in (photos / f"{name}.jpg", photos / f"{name}.tif"):
            file.write_bytes(file.read_bytes() + harm)
    home = Home(tmp_path_factory.mktemp("home"))
    run_index(home, [photos], IndexOptions(model="starter", captions="off"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(hostile.__file__).parent))
        pool = Pool(2, DecodingSettings(seconds=0.5), tasks="hostile_tasks")
        patch.setattr("indexer.decoding.decoders.pool_of_process", lambda size, settings: pool)
        with TestClient(create_app(home), base_url="http://localhost") as client:
            yield client
        pool.close()


@pytest.fixture(scope="module")
def ids(client: TestClient) -> dict[str, str]:
    return {
        Path(hit["path"]).name: hit["id"] for hit in client.get("/api/search", params={"limit": 100}).json()["hits"]
    }


@pytest.mark.parametrize("name", HARMS)
def test_a_harmful_upload_is_a_422_and_the_next_one_is_answered(client: TestClient, name: str) -> None:
    content = io.BytesIO()
    Image.new("RGB", (90, 60), "teal").save(content, "JPEG")
    harmful = client.post("/api/search", files={"image": content.getvalue() + HARMS[name]})
    assert SENTENCES[name] in assert_problem(harmful, 422)["detail"]
    assert client.post("/api/search", files={"image": content.getvalue()}).json()["hits"]


@pytest.mark.parametrize("name", HARMS)
def test_a_harmful_photo_of_the_library_is_a_404_wherever_it_is_asked_for(
    client: TestClient, ids: dict[str, str], name: str
) -> None:
    jpeg, tiff = ids[f"{name}.jpg"], ids[f"{name}.tif"]
    answers = [
        client.get(f"/api/photos/{jpeg}/thumb"),
        client.get(f"/api/photos/{tiff}/picture"),
        client.get(f"/api/photos/{jpeg}/why", params={"q": "a dog"}),
        client.post("/api/search", data={"like": f"{jpeg}@0,0,0.5,0.5"}),
    ]
    assert all(SENTENCES[name] in assert_problem(answer, 404)["detail"] for answer in answers)
    assert client.get(f"/api/photos/{jpeg}/file").status_code == 200


def test_sound_photos_are_shown_while_others_do_harm(client: TestClient, ids: dict[str, str]) -> None:
    paths = [f"/api/photos/{ids[f'{name}.jpg']}/thumb?size=medium" for name in ("crash", "sound", "endless")]
    paths += [f"/api/photos/{ids['sound.tif']}/picture", f"/api/photos/{ids['sound.jpg']}/why?q=a%20dog", "/healthz"]
    with ThreadPoolExecutor(len(paths)) as threads:
        assert [answer.status_code for answer in threads.map(client.get, paths)] == [404, 200, 404, 200, 200, 200]
