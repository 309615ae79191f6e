"""A real index over real photos, built once: the sample photographs that installed packages carry."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from indexer.demo import gather_samples
from indexer.progress import Silent
from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home
from web.app import create_app
from web.settings import ServerSettings

HOSTILE_NAME = "<img src=x onerror=alert(1)>.jpg"


@pytest.fixture(scope="session")
def sample_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sample photos, one of them with a name that would be a script if a page took it for HTML."""
    folder = tmp_path_factory.mktemp("photos")
    gather_samples(folder)
    shutil.move(folder / "flower.jpg", folder / HOSTILE_NAME)
    return folder


@pytest.fixture(scope="session")
def sample_home(sample_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose index holds the sample photos, embedded with the starter model."""
    home = Home(tmp_path_factory.mktemp("home"))
    run_index(home, [sample_photos], IndexOptions(model="starter", captions="off"), Silent())
    return home


@pytest.fixture(scope="module")
def home_to_change(sample_home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A copy of `sample_home`, for requests that write whatever comes into their heads."""
    home = Home(tmp_path_factory.mktemp("changed") / "home")
    shutil.copytree(sample_home.path, home.path)
    return home


@pytest.fixture(scope="session")
def client(sample_home: Home) -> Iterator[TestClient]:
    """A client of the app over `sample_home`, under a host name that it answers to."""
    with TestClient(create_app(sample_home, ServerSettings()), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture(scope="session")
def hits(client: TestClient) -> dict[str, dict[str, Any]]:
    """Every photo of the index, by file name."""
    answer = client.get("/api/search", params={"limit": 100}).json()
    return {Path(hit["path"]).name: hit for hit in answer["hits"]}
