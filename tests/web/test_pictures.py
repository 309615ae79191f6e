"""The whole photo as browsers show it: the file where they do, else a JPEG of it, upright either way."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageCms
from problem_checks import assert_problem

from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home
from web.app import create_app

pytestmark = pytest.mark.usefixtures("loaded_once")

UPRIGHT = (60, 90)


def half_red(width: int, height: int) -> Image.Image:
    """Red above, blue below."""
    image = Image.new("RGB", (width, height), "blue")
    image.paste("red", (0, 0, width, height // 2))
    return image


def with_exif_behind_the_pixels(png: bytes) -> bytes:
    start = png.index(b"eXIf") - 4
    chunk = png[start : start + 12 + int.from_bytes(png[start : start + 4], "big")]
    end = png.index(b"IEND") - 4
    return png[:start] + png[start + len(chunk) : end] + chunk + png[end:]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many formats")
    upright = half_red(*UPRIGHT)
    lying = upright.transpose(Image.Transpose.ROTATE_90)  # which orientation 6 turns back
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("turned.jpg", "turned.png", "turned.webp"):
        lying.save(folder / name, exif=exif, quality=95)
    Image.new("RGB", (8, 8)).save(folder / "late.png", exif=exif)
    lying.save(folder / "late.png", exif=exif, compress_level=3)
    (folder / "late.png").write_bytes(with_exif_behind_the_pixels((folder / "late.png").read_bytes()))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    xmp += b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    camera = Image.Exif()
    camera[0x010F] = "Camera"  # EXIF without an orientation
    lying.save(folder / "by xmp.jpg", exif=camera, xmp=xmp, quality=95)
    upright.convert("CMYK").save(folder / "cmyk.jpg")
    grey = np.zeros((90, 60), np.uint16)
    grey[:45] = 65535
    Image.fromarray(grey).save(folder / "deep.tif")
    Image.new("RGBA", UPRIGHT, (0, 0, 0, 0)).save(folder / "seen through.png")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pillow_heif.from_pillow(upright).save(folder / "phone.heic", icc_profile=profile, quality=90)
    return folder


@pytest.fixture(scope="module")
def client(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = Home(tmp_path_factory.mktemp("home"))
    run_index(home, [photos], IndexOptions(model="starter", captions="off"), Silent())
    with TestClient(create_app(home), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture(scope="module")
def addresses(client: TestClient) -> dict[str, str]:
    hits = client.get("/api/search", params={"limit": 100}).json()["hits"]
    return {Path(hit["path"]).name: f"/api/photos/{hit['id']}/picture" for hit in hits}


@pytest.mark.parametrize("name", ["cmyk.jpg", "turned.jpg", "seen through.png"])
def test_what_browsers_show_is_the_file_itself(
    client: TestClient, addresses: dict[str, str], photos: Path, name: str
) -> None:
    response = client.get(addresses[name])
    assert response.content == (photos / name).read_bytes()
    assert "sandbox" in response.headers["content-security-policy"]
    part = client.get(addresses[name], headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, response.content[2:6])


@pytest.mark.parametrize("name", ["deep.tif", "turned.png", "late.png", "turned.webp", "phone.heic", "by xmp.jpg"])
def test_whatever_else_is_an_upright_jpeg_of_full_size(
    client: TestClient, addresses: dict[str, str], name: str
) -> None:
    response = client.get(addresses[name])
    assert response.headers["content-type"] == "image/jpeg"
    assert "sandbox" in response.headers["content-security-policy"]
    image = Image.open(io.BytesIO(response.content))
    assert (image.format, image.size, dict(image.getexif())) == ("JPEG", UPRIGHT, {})
    above, below = (image.convert("RGB").getpixel((30, y)) for y in (20, 70))
    assert isinstance(above, tuple) and isinstance(below, tuple)
    assert above[0] > 240 and below[0] < 15
    assert client.get(addresses[name], headers={"If-None-Match": response.headers["etag"]}).status_code == 304


def test_head_converts_nothing(client: TestClient, addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.endpoints.pictures.full_picture", lambda *_: pytest.fail("converted"))
    response = client.head(addresses["phone.heic"])
    assert (response.status_code, response.headers["content-type"]) == (200, "image/jpeg")
    assert "content-length" not in response.headers and response.headers["etag"].endswith('-picture"')


def test_what_has_too_many_pixels_by_now_is_refused_in_a_sentence(
    client: TestClient, addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.decoding.decoders.default_max_pixels", lambda: 100)
    assert "pixels" in assert_problem(client.get(addresses["deep.tif"]), 404)["detail"]


def test_a_profile_of_colours_is_kept(client: TestClient, addresses: dict[str, str]) -> None:
    image = Image.open(io.BytesIO(client.get(addresses["phone.heic"]).content))
    assert image.info["icc_profile"][16:20] == b"RGB "


def test_a_photo_that_cannot_be_decoded_any_more_is_a_404_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    file = tmp_path / "photos" / "a.tif"
    Image.new("RGB", (32, 32), "red").save(file)
    home = Home(tmp_path / "home")
    run_index(home, [tmp_path / "photos"], IndexOptions(model="starter", captions="off"), Silent())
    client = TestClient(create_app(home), base_url="http://127.0.0.1")
    (hit,) = client.get("/api/search").json()["hits"]
    Image.new("RGB", (32, 32), "blue").save(file)
    assert "sightline index" in assert_problem(client.get(f"/api/photos/{hit['id']}/picture"), 404)["detail"]
